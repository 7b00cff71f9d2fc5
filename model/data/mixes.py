"""Random mixtures of stems across songs, each a pure function of (seed, index).

Luo & Yu, arXiv 2209.15174, section 4.1.2 mix stems of different songs with random gain and silence
some of them. Added here: a share of coherent items (all stems of one place in one song, so that
the network also meets stems that play in time and in tune with each other), a few of which stay
just as they were mixed, and everything that `variations` draws, because a live input is not
mastered. With `data.activity`, stems of different songs are taken from where they sound (section
4.1.1). A song's own `mixture.wav` is not used: where mastering makes it differ from the sum of the
stems, no stems add up to it, and what mastering does is here as gain, clipping and filters that all
stems share.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from model.data.activity import list_name, read_list
from model.data.pace import Pace, play
from model.data.songs import DataError, Song
from model.data.variations import Variations
from rt.sections import DataSection

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
        self.variations = Variations(config, stems, songs[0].sample_rate)
        self.reach = self.variations.furthest(samples)
        self.songs = [song for song in songs if song.samples >= self.reach]
        if not self.songs:
            raise DataError(f"no song is as long as one segment ({self.reach} samples)")
        self._with = {stem: [s for s in self.songs if stem in s.stems] for stem in self.stems}
        for stem, having in self._with.items():
            if not having:
                raise DataError(f"no song as long as one segment has the stem {stem!r}")
        self._active = None if config.activity is None else self._read_activity(config.activity)
        self._shares = {stem: _shares(having) for stem, having in self._with.items()}
        self._song_shares = _shares(self.songs)

    def __len__(self) -> int:
        return self.items

    def __getitem__(self, index: int) -> torch.Tensor:
        if not 0 <= index < self.items:
            raise IndexError(index)
        rng = np.random.default_rng([self.seed, self.first + index])
        if rng.random() < self.config.coherent:
            as_mixed = rng.random() < self.config.as_mixed
            targets = self._coherent(rng, as_mixed)
        else:
            as_mixed = False
            targets = self._across_songs(rng)
        for target in targets:
            self.variations.silence(target, rng)
        if as_mixed:
            return torch.from_numpy(targets)
        for target in targets:
            self.variations.vary_stem(target, rng)
        return torch.from_numpy(self.variations.degrade(targets, rng))

    def _coherent(self, rng: np.random.Generator, as_mixed: bool) -> np.ndarray:
        song = self.songs[rng.choice(len(self.songs), p=self._song_shares)]
        start = int(rng.integers(song.samples - self.reach + 1))
        pace = Pace() if as_mixed else self.variations.pace(rng)
        paces = [self.variations.pace_of(stem, pace) for stem in self.stems]
        return np.stack([self._play(self._read(song, stem, start, own), own)
                         for stem, own in zip(self.stems, paces, strict=True)])

    def _across_songs(self, rng: np.random.Generator) -> np.ndarray:
        return np.stack([self._excerpt(stem, rng) for stem in self.stems])

    def _excerpt(self, stem: str, rng: np.random.Generator) -> np.ndarray:
        having, shares = self._with[stem], self._shares[stem]
        pace = self.variations.pace_of(stem, self.variations.pace(rng))
        excerpt = np.zeros(0, np.float32)
        for _ in range(TRIES):
            song = having[rng.choice(len(having), p=shares)]
            excerpt = self._read(song, stem, self._start(song, stem, rng), pace)
            if np.vdot(excerpt, excerpt) > AUDIBLE_RMS**2 * excerpt.size:
                break
        return self._play(excerpt, pace)

    def _read(self, song: Song, stem: str, start: int, pace: Pace) -> np.ndarray:
        return song.read(stem, start, start + pace.reach(self.samples, song.sample_rate))

    def _play(self, excerpt: np.ndarray, pace: Pace) -> np.ndarray:
        return play(excerpt, pace, self.samples, self.variations.sample_rate)

    def _start(self, song: Song, stem: str, rng: np.random.Generator) -> int:
        last = song.samples - self.reach
        if self._active is None:
            return int(rng.integers(last + 1))
        spans = self._active[stem][song.name]
        start, end = spans[rng.integers(len(spans))]
        # inside the segment where it is the longer one, else around it
        low, high = sorted((start, end - self.reach))
        return int(rng.integers(max(0, min(low, last)), max(0, min(high, last)) + 1))

    def _read_activity(self, folder: Path) -> dict[str, dict[str, list[tuple[int, int]]]]:
        """Segments by stem and song name; songs in which a stem never sounds lose it here."""
        active = {stem: read_list(folder / list_name(stem, "train")) for stem in self.stems}
        for stem, spans in active.items():
            self._with[stem] = [song for song in self._with[stem] if song.name in spans]
            if not self._with[stem]:
                raise DataError(f"{folder / list_name(stem, 'train')}: names no song of the "
                                "training folder that is as long as one segment")
        return active


def _shares(songs: Sequence[Song]) -> np.ndarray:
    """Probability of each song: its share of all samples."""
    lengths = np.array([song.samples for song in songs], np.float64)
    return lengths / lengths.sum()
