"""A JACK server without a sound card, and a client on it that plays and records to the sample.

Apart from the loopback bench because the tests run on the same two: with them a machine without
any sound hardware has a real audio system.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

STARTS_S = 5.0
_PORTS = 64  # the default of 2048 takes more shared memory than a container may have


class JackUnavailable(RuntimeError):
    """No server can be had; the message is one line for the user."""


class JackServer:
    """A jackd with the dummy driver, from `with` to its end, named in this process's environment.

    Children inherit the environment; a process that has imported sounddevice before cannot see
    the server. `kill` and `start` let it die and come back under the same name.
    """

    def __init__(self, rate: int = 44_100, period: int = 256, realtime: bool | None = None) -> None:
        """realtime: None takes it where it is granted."""
        self.rate, self.period = rate, period
        self._realtime = realtime
        self.name = "bandsplit-" + uuid.uuid4().hex[:8]
        self.environment = {"JACK_DEFAULT_SERVER": self.name, "JACK_NO_START_SERVER": "1",
                            "JACK_NO_AUDIO_RESERVATION": "1"}
        self._process: subprocess.Popen[bytes] | None = None
        self._log: Path | None = None
        self._before: dict[str, str | None] = {}

    def __enter__(self) -> JackServer:
        """Raises JackUnavailable."""
        self._before = {key: os.environ.get(key) for key in self.environment}
        os.environ.update(self.environment)
        try:
            self.start()
        except JackUnavailable:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.stop()
        if self._log is not None:
            self._log.unlink(missing_ok=True)
        for key, value_before in self._before.items():
            if value_before is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value_before

    def start(self) -> None:
        """Raises JackUnavailable."""
        if shutil.which("jackd") is None:
            raise JackUnavailable("jackd is not installed (Debian: apt-get install "
                                  "--no-install-recommends jackd2 libportaudio2)")
        handle, path = tempfile.mkstemp(prefix="jackd-", suffix=".log")
        self._log = Path(path)
        with os.fdopen(handle, "wb") as log:
            for realtime in (True, False) if self._realtime is None else (self._realtime,):
                mode = ["-R", "-P", "60"] if realtime else ["--no-realtime"]
                self._process = subprocess.Popen(
                    ["jackd", *mode, "-n", self.name, "-p", str(_PORTS),
                     "-d", "dummy", "-r", str(self.rate), "-p", str(self.period)],
                    stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
                if self._comes_up():
                    return
                self.kill()
        raise JackUnavailable("jackd does not start: " + self._last_line())

    def kill(self) -> None:
        """As when the server crashes."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._sweep()

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(5)
        self.kill()

    def _comes_up(self) -> bool:
        deadline = time.monotonic() + STARTS_S
        while time.monotonic() < deadline and self._process and self._process.poll() is None:
            ports = subprocess.run(["jack_lsp", "system:capture_1"], capture_output=True,
                                   check=False)
            if ports.stdout.strip():
                return True
            time.sleep(0.02)
        return False

    def _sweep(self) -> None:
        """jackd leaves shared memory behind, and refuses to start when there is too much of it."""
        for pattern in (f"jack_sem.*_{self.name}_*", f"jack_{self.name}_*"):
            for leftover in Path("/dev/shm").glob(pattern):
                leftover.unlink(missing_ok=True)

    def _last_line(self) -> str:
        text = self._log.read_text(errors="replace").strip() if self._log else ""
        return text.splitlines()[-1] if text else "it says nothing"


@dataclass
class _Job:
    signal: np.ndarray
    heard: np.ndarray
    at: int = 0
    done: threading.Event = field(default_factory=threading.Event)


class Card:
    """A sound card made of software: PortAudio lists it as a JACK device called `name`.

    Make it before the other side starts PortAudio. What is played comes out of its capture ports;
    what arrives at its playback ports is recorded, at the same positions.
    """

    def __init__(self, name: str = "card", channels: int = 2) -> None:
        """Raises JackUnavailable."""
        try:
            import jack
        except ImportError as error:
            raise JackUnavailable("the Python package JACK-Client is not installed "
                                  "(pip install JACK-Client)") from error
        except OSError as error:
            raise JackUnavailable("the JACK library is not installed") from error
        try:
            self._client = jack.Client(name, no_start_server=True)
        except jack.JackError as error:
            raise JackUnavailable(f"no JACK server answers ({error})") from error
        self.rate: int = self._client.samplerate
        ports = {"is_physical": True, "is_terminal": True}
        self._out: list[Any] = [self._client.outports.register(f"capture_{k + 1}", **ports)
                     for k in range(channels)]
        self._in: list[Any] = [self._client.inports.register(f"playback_{k + 1}", **ports)
                    for k in range(channels)]
        nothing = np.zeros((0, channels), np.float32)
        self._job = _Job(nothing, nothing)  # exchanged as a whole: JACK's thread reads it
        self.xruns = 0  # cycles that the server says it lost, whosever fault
        self._client.set_process_callback(self._process)
        self._client.set_xrun_callback(self._count_xrun)
        self._client.activate()

    def connected(self, timeout_s: float = 20.0) -> bool:
        """Waits until somebody is on one of the capture and one of the playback ports."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if all(any(port.number_of_connections for port in side)
                   for side in (self._out, self._in)):
                return True
            time.sleep(0.02)
        return False

    def play(self, signal: np.ndarray) -> np.ndarray:
        """signal [n, channels] float32 -> what came back meanwhile, [n, channels].

        Raises TimeoutError when the server stands still.
        """
        self._job = job = _Job(np.asarray(signal, np.float32), np.zeros(signal.shape, np.float32))
        if not job.done.wait(5 + 2 * len(signal) / self.rate):
            raise TimeoutError("the JACK server does not run")
        return job.heard

    def close(self) -> None:
        self._client.deactivate(ignore_errors=True)
        self._client.close(ignore_errors=True)

    def _count_xrun(self, _delay_us: float) -> None:
        self.xruns += 1

    def _process(self, frames: int) -> None:
        job = self._job
        at, n = job.at, min(frames, len(job.signal) - job.at)
        for k, (out, heard) in enumerate(zip(self._out, self._in, strict=True)):
            buffer = out.get_array()
            buffer[:n] = job.signal[at:at + n, k]
            buffer[n:] = 0
            job.heard[at:at + n, k] = heard.get_array()[:n]
        job.at += n
        if n < frames:
            job.done.set()


def passthrough_main(device: str, blocksize: int) -> None:
    """Entry of a child process: the device's input straight to its output, until killed."""
    import sounddevice as sd

    def copy(indata: np.ndarray, outdata: np.ndarray, *_: object) -> None:
        outdata[:] = indata

    with sd.Stream(device=device, channels=2, blocksize=blocksize, dtype="float32",
                   latency="low", callback=copy):
        threading.Event().wait()


if __name__ == "__main__":
    passthrough_main(sys.argv[1], int(sys.argv[2]))
