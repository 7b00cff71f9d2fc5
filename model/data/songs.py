"""Songs in the MUSDB18-HQ layout, memory-mapped.

A song is a folder with one WAV file per stem (`vocals.wav`, `drums.wav`, ...), or a folder of them
(`vocals/*.wav`); a stem that the song lacks is a missing file. A `mixture.wav` is not read, because
the mixture is the sum of the stems. 16-bit PCM is required: such files can be mapped as they are,
so a training item costs two page reads instead of a WAV parse. It is apart from `mixes` so that
validation reads songs without any augmentation.
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TypeVar

import numpy as np
from scipy.io import wavfile

from model.metrics import SILENT_POWER
from rt.spec import CHANNELS

FULL_SCALE = 32768.0
# What tells a stem that sounds from a silent one looks at every so-many-th block first.
BLOCK, STRIDE = 4096, 64  # samples, blocks

Source = TypeVar("Source")


class DataError(ValueError):
    """A dataset that cannot be used; the message names the path and what is wrong with it."""


class Wav:
    """A mapped 16-bit PCM file: `samples` is int16 [samples, channels].

    It travels to a loader process by its path, not by its samples.
    """

    def __init__(self, path: Path) -> None:
        """Raises DataError."""
        self.path = path
        try:
            with warnings.catch_warnings():  # about chunks that are not sound
                warnings.simplefilter("ignore", wavfile.WavFileWarning)
                self.sample_rate, samples = wavfile.read(path, mmap=True)
        except (ValueError, OSError, struct.error) as error:
            raise DataError(f"{path}: not a WAV file that can be mapped: {error}") from error
        if samples.dtype != np.int16:
            raise DataError(f"{path}: samples are {samples.dtype}, must be 16-bit PCM; python -m "
                            "model.prepare_dataset --songs converts songs")
        self.samples = samples.reshape(len(samples), -1)  # a mono file has one dimension

    def __reduce__(self) -> tuple[type[Wav], tuple[Path]]:
        return Wav, (self.path,)

    def is_silent(self) -> bool:
        """Whether its mean power is below SILENT_POWER. As good as always a few blocks tell."""
        energy, silent = 0.0, SILENT_POWER * FULL_SCALE**2 * self.samples.size
        blocks = range(0, len(self.samples), BLOCK)
        for start in chain.from_iterable(blocks[first::STRIDE] for first in range(STRIDE)):
            block = self.samples[start:start + BLOCK]
            energy += float(np.sum(np.square(block, dtype=np.float64)))
            if energy > silent:
                return False
        return True


@dataclass(frozen=True)
class Song:
    """One song: `stems` maps a stem to the files whose sum it is, without the silent ones."""

    name: str
    stems: dict[str, tuple[Wav, ...]] = field(repr=False)
    samples: int
    sample_rate: int
    silent: tuple[str, ...] = ()  # stems that have files, with nothing in them

    def read(self, stem: str, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Samples start..stop of a stem as float32 [channels, samples], full scale 1.

        A stem that the song lacks reads as silence.
        """
        stop = self.samples if stop is None else min(stop, self.samples)
        total = np.zeros((CHANNELS, stop - start), np.float32)
        for wav in self.stems.get(stem, ()):
            total += wav.samples[start:stop].T
        total /= np.float32(FULL_SCALE)
        return total


def open_song(folder: Path, stems: Sequence[str], stem_map: Mapping[str, str],
              sample_rate: int) -> Song:
    """Opens a song's folder; what is silent throughout is left out.

    `stem_map` (source -> stem) adds sources that are not stems themselves. Raises DataError where
    no file is named after a stem, all are silent, or one is broken, not 16-bit stereo, empty, or of
    another sample rate or length than it should be.
    """
    files = by_stem(stems, stem_map, lambda source: source_files(folder, source, (".wav",)))
    if not files:
        raise DataError(f"{folder}: none of its files is {', '.join(f'{s}.wav' for s in stems)}")
    wavs = {stem: tuple(map(Wav, paths)) for stem, paths in files.items()}
    for wav in (every := list(chain.from_iterable(wavs.values()))):
        if wav.sample_rate != sample_rate:
            raise DataError(f"{wav.path}: sample rate is {wav.sample_rate} Hz, must be "
                            f"{sample_rate} Hz")
        if wav.samples.shape[1] != CHANNELS:
            raise DataError(f"{wav.path}: {wav.samples.shape[1]} channel(s), must be {CHANNELS}")
    lengths = {wav.path.name: len(wav.samples) for wav in every}
    samples = len(every[0].samples)
    if not samples or any(len(wav.samples) != samples for wav in every):
        raise DataError(f"{folder}: its stems are empty or differ in length: {lengths} samples")
    sounding = {stem: kept for stem, group in wavs.items()
                if (kept := tuple(wav for wav in group if not wav.is_silent()))}
    if not sounding:
        raise DataError(f"{folder}: all its stems are silent")
    silent = tuple(stem for stem in wavs if stem not in sounding)
    return Song(folder.name, sounding, samples, sample_rate, silent)


def by_stem(stems: Sequence[str], stem_map: Mapping[str, str],
            find: Callable[[str], Sequence[Source]]) -> dict[str, list[Source]]:
    """What `find` has for each source, grouped by the stem that the source is or is part of."""
    found: dict[str, list[Source]] = {}
    for source in dict.fromkeys((*stems, *stem_map)):
        stem = source if source in stems else stem_map[source]
        if stem in stems and (parts := find(source)):
            found.setdefault(stem, []).extend(parts)
    return found


def source_files(folder: Path, source: str, suffixes: Sequence[str]) -> list[Path]:
    """The file of a source's name, or else the files in a folder of its name."""
    files = [folder / f"{source}{suffix}" for suffix in suffixes]
    if (file := next(filter(Path.is_file, files), None)) is not None:
        return [file]
    return [file for file in sorted((folder / source).glob("*"))
            if file.suffix.lower() in suffixes and not file.name.startswith(".")]
