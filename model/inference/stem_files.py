"""Stems on disk: all files of a song written side by side, under their names only when whole.

Apart from the recorder's WavWriter, which keeps a performance readable at every moment: offline a
song that was cut short is better done again, and other formats are asked for.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
import soundfile

PART = ".part"
LARGEST_WAV = 4_200_000_000  # bytes of samples; sizes in a WAV have 32 bits
BYTES = {"FLOAT": 4, "PCM_16": 2, "PCM_24": 3}


class StemFileError(RuntimeError):
    """Stems that cannot be written; the message is one line for the user."""


@dataclass(frozen=True)
class Encoding:
    """How samples are stored: WAV with FLOAT, PCM_16 or PCM_24, FLAC with one of the latter."""

    container: str = "WAV"
    subtype: str = "FLOAT"

    @property
    def suffix(self) -> str:
        return f".{self.container.lower()}"

    def format_for(self, samples: int | None, channels: int) -> str:
        """libsndfile's name for the container. A WAV that could pass 4 GB, or whose length is
        not known beforehand, is an RF64, which is a WAV with 64-bit sizes (EBU Tech 3306)."""
        if self.container == "WAV" and (
                samples is None or samples * channels * BYTES[self.subtype] > LARGEST_WAV):
            return "RF64"
        return self.container


def part_of(path: Path) -> Path:
    """Where a stem is until it is whole."""
    return path.with_name(path.name + PART)


class StemFiles:
    """A context: leaving it gives the files their names, an exception takes them away."""

    def __init__(self, paths: Sequence[Path], sample_rate: int, channels: int,
                 encoding: Encoding, samples: int | None) -> None:
        """samples: how many are expected. Raises StemFileError."""
        self.paths = tuple(paths)
        self.clipped = 0  # values beyond full scale that an integer format could not hold
        self._encoding = encoding
        self._parts = [part_of(path) for path in paths]
        self._files: list[soundfile.SoundFile] = []
        try:
            for part in self._parts:
                part.parent.mkdir(parents=True, exist_ok=True)
                self._files.append(soundfile.SoundFile(
                    str(part), "w", sample_rate, channels, encoding.subtype,
                    format=encoding.format_for(samples, channels)))
        except (OSError, soundfile.LibsndfileError) as error:
            self._discard()
            raise StemFileError(f"{paths[0].parent}: cannot be written to "
                                f"({_reason(error)})") from error

    def __enter__(self) -> StemFiles:
        return self

    def write(self, stems: np.ndarray) -> None:
        """stems [n, files, channels] float32. Raises StemFileError."""
        if self._encoding.subtype != "FLOAT":
            self.clipped += int(np.count_nonzero(np.abs(stems) > 1))
        for path, file, stem in zip(self.paths, self._files, stems.swapaxes(0, 1), strict=True):
            try:
                file.write(np.ascontiguousarray(stem))
            except (OSError, AssertionError, soundfile.LibsndfileError) as error:
                # soundfile asserts that all was written: a short write is a full disk
                raise StemFileError(f"{path}: cannot be written further "
                                    f"({_reason(error)})") from error

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None,
                 trace: TracebackType | None) -> None:
        if kind is not None:
            self._discard()
            return
        try:
            for file in self._files:
                file.close()
            for part, path in zip(self._parts, self.paths, strict=True):
                os.replace(part, path)
        except (OSError, soundfile.LibsndfileError) as error:
            self._discard()
            raise StemFileError(f"{self.paths[0].parent}: cannot be written to "
                                f"({_reason(error)})") from error

    def _discard(self) -> None:
        for file in self._files:
            file.close()
        for part in self._parts:
            if part.exists():
                part.unlink()


def _reason(error: Exception) -> str:
    if isinstance(error, soundfile.LibsndfileError) and "System error" not in error.error_string:
        return error.error_string.rstrip(".")
    # libsndfile keeps the system's reason to itself
    return getattr(error, "strerror", None) or "no permission, or the disk is full"
