"""Songs in the MUSDB18-HQ layout, memory-mapped.

A song is a folder with one WAV file per stem (`vocals.wav`, `drums.wav`, ...). A stem that the
song lacks is a missing file; a `mixture.wav` is not read, because the mixture is the sum of the
stems. 16-bit PCM is required: such files can be mapped as they are, so a training item costs two
page reads instead of a WAV parse. It is apart from `mixes` so that evaluation reads songs without
any augmentation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scipy.io import wavfile

FULL_SCALE = 32768.0


class DataError(ValueError):
    """A dataset that cannot be used; the message names the path and what is wrong with it."""


@dataclass(frozen=True)
class Song:
    """One song: `stems` maps a stem name to int16 samples [samples, channels]."""

    name: str
    stems: dict[str, np.ndarray] = field(repr=False)
    samples: int

    def read(self, stem: str, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Samples start..stop of a stem as float32 [channels, samples] in -1..1.

        A stem that the song lacks reads as silence.
        """
        stop = self.samples if stop is None else min(stop, self.samples)
        if stem not in self.stems:
            channels = next(iter(self.stems.values())).shape[1]
            return np.zeros((channels, stop - start), np.float32)
        return self.stems[stem][start:stop].T.astype(np.float32) / np.float32(FULL_SCALE)


def open_songs(root: Path, stems: Sequence[str], sample_rate: int, channels: int = 2) -> list[Song]:
    """Opens every song below `root`, sorted by name.

    Raises DataError where the folder is missing or holds no song, and where a file is broken, has
    another sample rate, sample format or channel count, or another length than its song.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; it should hold one folder per song")
    songs = [_open_song(path, stems, sample_rate, channels) for path in sorted(root.iterdir())]
    found = [song for song in songs if song is not None]
    if not found:
        names = ", ".join(f"{stem}.wav" for stem in stems)
        raise DataError(f"{root}: no song in it; a song is a folder with some of {names}")
    return found


def _open_song(path: Path, stems: Sequence[str], sample_rate: int, channels: int) -> Song | None:
    files = {stem: path / f"{stem}.wav" for stem in stems if (path / f"{stem}.wav").is_file()}
    if not files:
        return None
    opened = {stem: _map(file, sample_rate, channels) for stem, file in files.items()}
    lengths = {stem: len(samples) for stem, samples in opened.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"{path}: its stems differ in length: {lengths} samples")
    return Song(path.name, opened, next(iter(lengths.values())))


def _map(file: Path, sample_rate: int, channels: int) -> np.ndarray:
    try:
        rate, samples = wavfile.read(file, mmap=True)
    except (ValueError, OSError) as error:
        raise DataError(f"{file}: not a WAV file that can be mapped: {error}") from error
    if rate != sample_rate:
        raise DataError(f"{file}: sample rate is {rate} Hz, the model's is {sample_rate} Hz")
    if samples.dtype != np.int16:
        raise DataError(f"{file}: samples are {samples.dtype}; convert the file to 16-bit PCM")
    have = samples[:1].size  # of one sample: a mono file has one dimension only
    if have != channels:
        raise DataError(f"{file}: {have} channel(s), must be {channels}")
    return samples
