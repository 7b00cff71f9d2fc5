"""Random mixtures of stems across songs, each a pure function of (seed, index).

Luo & Yu, arXiv 2209.15174, section 4.1.2 mix stems of different songs with random gain and silence
some of them. Added here: a share of coherent items (all stems of one place in one song, so that
the network also meets stems that play in time and in tune with each other), swapped channels,
polarity, and a level that ranges from nearly silent to hot, because a live input is not mastered.
With `data.activity`, stems of different songs are taken from where they sound (section 4.1.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from model.data.activity import list_name, read_list
from model.data.songs import DataError, Song
from rt.config import DataSection

# An excerpt quieter than this counts as a rest; a few more places are tried before accepting one.
AUDIBLE_RMS = 3e-3
TRIES = 6


class RandomMixes(Dataset[torch.Tensor]):
    """Items `first` .. `first + items` of the endless seeded sequence of random mixtures.

    Item: the targets, float32 [stems, channels, samples]; the mixture is their sum. The same
    songs, configuration and seed give the same item for an index, whatever was read before, so a
    resumed run continues with the items that the interrupted one would have read.
    """

    def __init__(
        self,
        songs: Sequence[Song],
        stems: Sequence[str],
        config: DataSection,
        samples: int,
        seed: int,
        first: int,
        items: int,
    ) -> None:
        self.stems = tuple(stems)
        self.config = config
        self.samples = samples
        self.seed = seed
        self.first = first
        self.items = items
        self.songs = [song for song in songs if song.samples > samples]
        if not self.songs:
            raise DataError(f"no song is longer than one segment ({samples} samples)")
        self._with = {stem: [s for s in self.songs if stem in s.stems] for stem in self.stems}
        for stem, having in self._with.items():
            if not having:
                raise DataError(f"no song longer than one segment has the stem {stem!r}")
        self._active = None if config.activity is None else self._read_activity(config.activity)
        self._shares = {stem: _shares(having) for stem, having in self._with.items()}
        self._song_shares = _shares(self.songs)

    def __len__(self) -> int:
        return self.items

    def __getitem__(self, index: int) -> torch.Tensor:
        if not 0 <= index < self.items:
            raise IndexError(index)
        rng = np.random.default_rng([self.seed, self.first + index])
        coherent = rng.random() < self.config.coherent
        targets = self._coherent(rng) if coherent else self._across_songs(rng)
        for target in targets:
            self._vary(target, rng)
        return torch.from_numpy(self._set_level(targets, rng))

    def _coherent(self, rng: np.random.Generator) -> np.ndarray:
        song = self.songs[rng.choice(len(self.songs), p=self._song_shares)]
        start = int(rng.integers(song.samples - self.samples))
        return np.stack([song.read(stem, start, start + self.samples) for stem in self.stems])

    def _across_songs(self, rng: np.random.Generator) -> np.ndarray:
        return np.stack([self._excerpt(stem, rng) for stem in self.stems])

    def _excerpt(self, stem: str, rng: np.random.Generator) -> np.ndarray:
        having, shares = self._with[stem], self._shares[stem]
        excerpt = np.zeros(0, np.float32)
        for _ in range(TRIES):
            song = having[rng.choice(len(having), p=shares)]
            start = self._start(song, stem, rng)
            excerpt = song.read(stem, start, start + self.samples)
            if np.sqrt(np.mean(np.square(excerpt))) > AUDIBLE_RMS:
                break
        return excerpt

    def _start(self, song: Song, stem: str, rng: np.random.Generator) -> int:
        last = song.samples - self.samples
        if self._active is None:
            return int(rng.integers(last))
        spans = self._active[stem][song.name]
        start, end = spans[rng.integers(len(spans))]
        # inside the segment where it is the longer one, else around it
        low, high = sorted((start, end - self.samples))
        return int(rng.integers(max(0, min(low, last)), max(0, min(high, last)) + 1))

    def _read_activity(self, folder: Path) -> dict[str, dict[str, list[tuple[int, int]]]]:
        """Segments by stem and song name; songs in which a stem never sounds lose it here."""
        active = {stem: read_list(folder / list_name(stem, "train")) for stem in self.stems}
        for stem, spans in active.items():
            self._with[stem] = [song for song in self._with[stem] if song.name in spans]
            if not self._with[stem]:
                raise DataError(f"{folder / list_name(stem, 'train')}: names no song of the "
                                "training folder that is longer than one segment")
        return active

    def _vary(self, target: np.ndarray, rng: np.random.Generator) -> None:
        """Gain, polarity, channel swap or silence, in place on one target [channels, samples]."""
        silent = rng.random() < self.config.silenced
        gain_db = rng.uniform(-self.config.gain_db, self.config.gain_db)
        gain = 10 ** (gain_db / 20) * rng.choice([-1.0, 1.0])
        if rng.random() < 0.5:
            target[:] = target[::-1].copy()
        target *= np.float32(0.0 if silent else gain)

    def _set_level(self, targets: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Moves some mixtures to a peak drawn from the configured range (dBFS)."""
        varied = rng.random() < self.config.level_varied
        peak_db = rng.uniform(self.config.level_min_db, self.config.level_max_db)
        peak = float(np.abs(targets.sum(0)).max())
        if varied and peak > 0:
            targets *= np.float32(10 ** (peak_db / 20) / peak)
        return targets


def _shares(songs: Sequence[Song]) -> np.ndarray:
    """Probability of each song: its share of all samples."""
    lengths = np.array([song.samples for song in songs], np.float64)
    return lengths / lengths.sum()
