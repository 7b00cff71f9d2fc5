"""Sound files instead of devices: what plays in, and what is written out.

Both are threads of the control process, so that decoding and disks stay out of the engine, and
both meet the callback only through rings. A machine without a sound card needs nothing else.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from rt.rings import UNKNOWN, SharedBlock, ring_get, ring_put
from rt.settings import DEMO, NULL
from rt.spec import CHANNELS
from rt.wav import WavWriter

ASSETS = Path(__file__).parent / "assets"
AHEAD_S = 1.5  # how far the feeder stays ahead of the callback
READY_S = 0.5  # how far before the performance may begin
_PIECE = 8192
_NAP_S = 0.05


class SourceError(RuntimeError):
    """A file that cannot be read or written; the message is one line for the user."""


def demo_path() -> Path:
    """The packaged demo song. Raises SourceError."""
    found = sorted(ASSETS.glob("demo.*"))
    if not found:
        raise SourceError(f"the demo song is not in {ASSETS}: install the package again")
    return found[0]


def is_file(name: str | int | None) -> bool:
    """A sound file rather than a device: it exists, or is called like one."""
    if not isinstance(name, str) or name in (NULL, DEMO):
        return False
    suffix = Path(name).suffix[1:].upper()
    return Path(name).is_file() or suffix in soundfile.available_formats() or suffix == "AIF"


@dataclass(frozen=True)
class SoundFile:
    """A file that could be opened."""

    path: Path
    sample_rate: int
    channels: int
    samples: int

    @classmethod
    def check(cls, path: Path) -> SoundFile:
        """Raises SourceError."""
        if not path.is_file():
            raise SourceError(f"{path}: no such sound file")
        try:
            info = soundfile.info(str(path))
        except soundfile.LibsndfileError as error:
            raise SourceError(f"{path}: not a sound file that can be read "
                              f"({error.error_string})") from error
        if info.frames == 0:
            raise SourceError(f"{path}: the sound file is empty")
        return cls(path, info.samplerate, info.channels, info.frames)


class Feeder:
    """Streams a file into the source ring, at the stream's rate, ahead of the callback.

    `start`, `wait_ready` and `stop` belong to the control thread; `say` is called from the
    feeder's own thread, which alone writes the source ring, `source_end` and `length`.
    """

    def __init__(self, block: SharedBlock, file: SoundFile, sample_rate: int, *,
                 pair: tuple[int, int] = (0, 1), loop: bool = False, limit: int | None = None,
                 say: Callable[[str], None] = lambda line: None) -> None:
        """pair: channels of the file, counted from 0; limit: samples of input at most."""
        self._block, self._file, self._rate = block, file, sample_rate
        self._pair = [min(channel, file.channels - 1) for channel in pair]
        self._loop, self._limit, self._say = loop, limit, say
        self._stop, self._ready = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="feeder", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wait_ready(self, timeout_s: float = 10.0) -> bool:
        """Enough is in the ring to begin."""
        return self._ready.wait(timeout_s)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            with soundfile.SoundFile(str(self._file.path)) as file:
                ended = self._stream(file)
        except (soundfile.LibsndfileError, OSError) as error:
            self._say(f"{self._file.path}: cannot be read further ({error})")
            ended = True
        if ended:
            end = self._block.get("source_end")
            self._block.set("length", end if self._limit is None else min(end, self._limit))
        self._ready.set()

    def _stream(self, file: soundfile.SoundFile) -> bool:
        """True when the end was reached, False when stopped."""
        same = file.samplerate == self._rate
        resampler = None if same else soxr.ResampleStream(file.samplerate, self._rate, CHANNELS)
        while not self._stop.is_set():
            samples = file.read(_PIECE, dtype="float32", always_2d=True)
            last = len(samples) == 0
            if last and self._loop:
                file.seek(0)
                continue
            stereo = np.ascontiguousarray(samples[:, self._pair])
            if resampler is not None:
                stereo = resampler.resample_chunk(stereo, last)
            if not self._put(stereo):
                return False
            if last or (self._limit is not None and self._block.get("source_end") >= self._limit):
                return True
        return False

    def _put(self, samples: np.ndarray) -> bool:
        """Waits for room; False when stopped meanwhile."""
        block, at = self._block, 0
        while at < len(samples):
            end = block.get("source_end")
            ahead = end - block.get("played")
            if ahead >= READY_S * self._rate:
                self._ready.set()
            room = round(AHEAD_S * self._rate) - ahead
            if room <= 0:
                if self._stop.wait(_NAP_S):
                    return False
                continue
            n = min(room, len(samples) - at)
            ring_put(block.source, end, samples[at:at + n])
            block.set("source_end", end + n)
            at += n
        return True


class FileSink:
    """Writes the output ring to a float WAV, in time with the input: what the latency puts before
    it is left out. The file has its name only when it is whole.

    `start` and `stop` belong to the control thread; `say` is called from the sink's own.
    """

    def __init__(self, path: Path) -> None:
        """Raises SourceError."""
        if path.suffix.lower() != ".wav":
            raise SourceError(f"{path}: output files are float WAV, give a name that ends in .wav")
        self.path = path
        self._part = path.with_name(path.name + ".part")
        try:
            self._part.unlink(missing_ok=True)
            self._file = WavWriter(self._part, CHANNELS)
        except OSError as error:
            raise SourceError(f"{path}: cannot be written ({error.strerror})") from error
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._next = UNKNOWN
        self.lost = 0

    def start(self, block: SharedBlock, sample_rate: int, say: Callable[[str], None]) -> None:
        self._file.begin(sample_rate)
        self._thread = threading.Thread(target=self._run, args=(block, say), name="file sink",
                                        daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Writes what is left; where nothing was played, leaves no file. Raises OSError."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self._file.close()
        if self._file.samples:
            os.replace(self._part, self.path)
        else:
            self._part.unlink()

    def _run(self, block: SharedBlock, say: Callable[[str], None]) -> None:
        try:
            while True:
                stopping = self._stop.is_set()
                self._drain(block)
                if stopping:
                    return
                self._stop.wait(_NAP_S)
        except OSError as error:
            say(f"{self.path}: cannot be written further ({error.strerror}); the sound goes on")

    def _drain(self, block: SharedBlock) -> None:
        queue = block.get("queue")
        if queue == UNKNOWN:
            return
        if self._next == UNKNOWN:
            self._next = queue + block.get("alignment")
        samples = np.empty((_PIECE, CHANNELS), np.float32)
        while (n := min(_PIECE, block.get("played") - self._next)) > 0:
            overwritten = block.get("played") - block.capacity + 2 * _PIECE - self._next
            if overwritten > 0:
                self.lost += overwritten
                self._next += overwritten
                samples[:] = 0
                for at in range(0, overwritten, _PIECE):
                    self._file.write(samples[:min(_PIECE, overwritten - at)])
                continue
            ring_get(block.outputs, self._next, samples[:n])
            self._file.write(samples[:n])
            self._next += n
