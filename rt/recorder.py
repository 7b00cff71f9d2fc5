"""Recorder: mixture and stems to float32 WAV files, aligned to the sample, beside the performance.

Apart because the disk is the slowest thing in the house: it reads a tap of the engine's rings from
its own thread in the control process, and the engine never knows whether it keeps up.
"""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from rt.spec import CHANNELS
from rt.wav import WavWriter

PERIOD_S = 0.05
HEADERS_EVERY_S = 1.0  # what a crash leaves is readable up to here
CATCH_UP_S = 10  # more than the engine's rings hold
BLOCK = 8192  # samples per read, and per write of silence
MIXTURE = "mixture"
UNFINISHED = ".wav.part"


class RecorderError(RuntimeError):
    """No recording can be made there; the message is one line for the user."""


class Tap(Protocol):
    """What the engine offers to read. Positions count samples of the stream."""

    def read(self, max_samples: int) -> tuple[int, np.ndarray, np.ndarray]:
        """-> position of the first sample, mixture [n, 2], stems [n, stems, 2], n <= max_samples.

        Never waits; n is 0 where nothing is new. A position past the end of the last read means
        that the samples between are lost.
        """
        ...


class Recorder:
    """mixture.wav and one {stem}.wav of equal length in `directory`.

    `start`, `stop` and `status` belong to the control thread. Everything else runs on the
    recorder's own thread; `say` is called from there, and from `stop`, with one line for the
    player.

    Nothing is overwritten: a directory that holds a recording keeps it, and the new one goes to
    take-2 (take-3, ...) inside it. Until `stop` the files are called *.wav.part, so that a crash
    leaves nothing that looks finished; their headers are brought up to date every second, so
    dropping ".part" recovers them. Past 4 GB a file becomes RF64 (same suffix, read by every
    common editor). Lost samples are written as silence, counted and said. A write error ends the
    recording, not the music, and keeps what was written.
    """

    def __init__(self, directory: str | Path, stems: Sequence[str],
                 say: Callable[[str], None] = lambda line: None) -> None:
        """Creates the folder and the files. Raises RecorderError where that cannot be."""
        self._names = (MIXTURE, *stems)
        for name in self._names:
            if self._names.count(name) > 1 or Path(name).name != name:
                raise RecorderError(f"recording: a stem called {name!r} cannot be a file name here")
        self._say = say
        self.folder, self._files = _new_take(Path(directory), self._names)
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._end: int | None = None  # stream position after the last sample written
        self._rate = 0
        self.lost = 0
        self.failure = ""

    def start(self, tap: Tap, sample_rate: int) -> None:
        self._rate = sample_rate
        for file in self._files:
            file.begin(sample_rate)
        self._thread = threading.Thread(target=self._run, args=(tap,), name="recorder", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Writes what the tap still holds, finishes the files and gives them their names. A
        recorder that was never started leaves no files."""
        self._stop.set()
        if self._thread is None:
            for file in self._files:
                file.discard()
            return
        self._thread.join()
        length = min(file.samples for file in self._files)
        for file in self._files:
            self._finish(file, length)
        if self.lost:
            self._say(f"recording: {self.lost} samples were lost and are silence")

    def status(self) -> str:
        """One line for a console."""
        if self.failure:
            return self.failure
        if not self._rate:
            return ""
        minutes, seconds = divmod(self._files[0].samples // self._rate, 60)
        return f"REC {minutes:02d}:{seconds:02d} {self.folder}" + (
            f", {self.lost} samples lost" if self.lost else "")

    def _run(self, tap: Tap) -> None:
        headers_due = time.monotonic()
        try:
            while True:
                stopping = self._stop.is_set()  # before the drain, so the drain reaches the end
                self._catch_up(tap)
                if stopping:
                    return
                if time.monotonic() >= headers_due:
                    headers_due = time.monotonic() + HEADERS_EVERY_S
                    for file in self._files:
                        file.update_header()
                self._stop.wait(PERIOD_S)
        except OSError as error:
            self._fail(error)

    def _catch_up(self, tap: Tap) -> None:
        """Reads until nothing is new, but not for ever: the engine may outrun a slow disk."""
        left = CATCH_UP_S * self._rate
        while left > 0 and (n := self._drain(tap)):
            left -= n

    def _drain(self, tap: Tap) -> int:
        position, mixture, stems = tap.read(BLOCK)
        if not len(mixture):
            return 0
        if self._end is None:
            self._end = position
        if position > self._end:
            if not self.lost:
                self._say("recording: samples were lost (a slow disk, or the engine restarted) "
                          "and become silence")
            self.lost += position - self._end
            self._silence(position - self._end)
        self._write(mixture, stems)
        self._end = position + len(mixture)
        return len(mixture)

    def _write(self, mixture: np.ndarray, stems: np.ndarray) -> None:
        self._files[0].write(mixture)
        for k, file in enumerate(self._files[1:]):
            file.write(stems[:, k])

    def _silence(self, samples: int) -> None:
        zeros = np.zeros((min(samples, BLOCK), CHANNELS), np.float32)
        while samples > 0:
            for file in self._files:
                file.write(zeros[:samples])
            samples -= len(zeros)

    def _finish(self, file: WavWriter, length: int) -> None:
        final = file.path.with_name(file.path.name.removesuffix(UNFINISHED) + ".wav")
        try:
            file.truncate(length)
            file.close()
            if final.exists():
                raise FileExistsError(errno.EEXIST, f"{final} has appeared meanwhile")
            file.path.rename(final)
        except OSError as error:
            file.close()
            self._fail(error, f"left as {file.path}")

    def _fail(self, error: OSError, outcome: str = "what was written is kept") -> None:
        seconds = min(file.samples for file in self._files) / max(1, self._rate)
        self.failure = f"recording stopped after {seconds:.1f} s ({error.strerror}); {outcome}"
        self._say(self.failure)


def _new_take(directory: Path, names: Sequence[str]) -> tuple[Path, list[WavWriter]]:
    take = 1
    while True:
        folder = directory if take == 1 else directory / f"take-{take}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            taken = any((folder / f"{name}{suffix}").exists()
                        for name in names for suffix in (".wav", UNFINISHED))
            if not taken:
                return folder, [WavWriter(folder / f"{name}{UNFINISHED}", CHANNELS)
                                for name in names]
        except OSError as error:
            raise RecorderError(f"recording: {folder} cannot be written "
                                f"({error.strerror}); give --record another folder") from error
        take += 1
