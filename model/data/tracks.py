"""Songs as datasets come: folders of sound files or `.stem.mp4` files, in any sample format.

Apart from `songs`, which maps 16-bit WAV for training and takes nothing else: here a stem is
decoded as a whole, several sources may add up to one, and a song that cannot be used is left out
by name instead of ending the run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from model.data.songs import DataError, by_stem, source_files
from model.metrics import SILENT_POWER
from model.sound import Sound, SoundError
from rt.spec import CHANNELS

STEM_FILE = ".stem.mp4"
# Sound streams of a MUSDB18 file (Native Instruments' stem format); the first is the mixture.
STREAMS = {"drums": 1, "bass": 2, "other": 3, "vocals": 4}
SUFFIXES = (".wav", ".flac")
# A compressed stream's length is announced and decoded with a frame or two more or less.
FRAME_SLACK = 4096  # samples


@dataclass(frozen=True)
class Track:
    """One song: `sounds` maps a stem to the sources whose sum it is."""

    name: str
    path: Path
    sounds: dict[str, tuple[Sound, ...]] = field(repr=False)
    samples: int

    def read(self, stem: str) -> np.ndarray:
        """A stem as float32 [channels, samples]; one that the song lacks is silence.

        Raises DataError where a source cannot be decoded or breaks off.
        """
        total = np.zeros((CHANNELS, self.samples), np.float32)
        for sound in self.sounds.get(stem, ()):
            try:
                decoded = np.concatenate(list(sound.blocks())).T[:, :self.samples]
            except SoundError as error:
                raise DataError(str(error)) from error
            missing = self.samples - decoded.shape[1]
            if missing > (FRAME_SLACK if sound.through_ffmpeg else 0):
                raise DataError(f"{sound.path}: breaks off {missing} samples before its end")
            total[:, :decoded.shape[1]] += decoded
        return total


def open_track(path: Path, stems: Sequence[str], stem_map: Mapping[str, str],
               sample_rate: int) -> Track:
    """Opens a song's folder or `.stem.mp4`; the mixture in it is not read.

    A stem's source is the file of its name, or else the files in a folder of its name; so is every
    source that `stem_map` (source -> stem) adds to it. Raises DataError where none is there,
    and where one is broken, not stereo, or of another sample rate or length than it should be.
    """
    found = by_stem(stems, stem_map, lambda source: _sources(path, source))
    sounds = {stem: tuple(parts) for stem, parts in found.items()}
    if not sounds:
        raise DataError(f"{path}: none of its files is named after a stem ({', '.join(stems)})")
    for sound in (every := [sound for group in sounds.values() for sound in group]):
        if sound.sample_rate != sample_rate:
            raise DataError(f"{sound.path}: sample rate is {sound.sample_rate} Hz, must be "
                            f"{sample_rate} Hz")
        if sound.channels != CHANNELS:
            raise DataError(f"{sound.path}: {sound.channels} channel(s), must be {CHANNELS}")
    lengths = {sound.path.name: sound.samples for sound in every}
    samples = every[0].samples
    if not samples or any(sound.samples != samples for sound in every):
        raise DataError(f"{path}: its stems are empty or differ in length: {lengths} samples")
    return Track(track_name(path), path, sounds, samples)


def track_name(path: Path) -> str:
    return path.name.removesuffix(STEM_FILE)


def is_silent(samples: np.ndarray) -> bool:
    return float(np.mean(np.square(samples, dtype=np.float64))) < SILENT_POWER


def _sources(path: Path, source: str) -> list[Sound]:
    try:
        if path.name.endswith(STEM_FILE):
            return [Sound.open(path, STREAMS[source])] if source in STREAMS else []
        return [Sound.open(file) for file in source_files(path, source, SUFFIXES)]
    except SoundError as error:
        raise DataError(str(error)) from error
