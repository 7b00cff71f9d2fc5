"""What the renderers of the four stems share while one song is made."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from model.render_songs.corpus import Corpus
from model.render_songs.effects import db
from model.render_songs.parts import DrumPart
from model.render_songs.song import Song
from model.render_songs.sources import Sources


@dataclass
class Take:
    """One song being rendered.

    `rng` makes the choices and `nr` the noise and the numbers; every draw comes from one of them
    in a fixed order, so a seed always gives the same samples. `notes` goes into song.json.
    """

    song: Song
    corpus: Corpus
    sources: Sources
    drums: DrumPart
    n: int
    rng: random.Random
    nr: np.random.Generator
    notes: dict[str, Any] = field(default_factory=dict)

    def empty(self) -> np.ndarray:
        """Silence of the song's length, float32 [n, 2]."""
        return np.zeros((self.n, 2), np.float32)

    def kick_times(self) -> list[float]:
        return [self.song.t(bar, step) for bar, step in self.drums.kicks]

    def programs(self, numbers: list[int]) -> list[int]:
        """The soundfont programs among `numbers` that this song may use."""
        if not self.corpus.has_soundfont:
            return []
        return self.sources.among("program", numbers)

    def has(self, instrument: str, articulation: str) -> bool:
        """Whether this song may play a sampled instrument."""
        return ((instrument, articulation) in self.corpus.notes
                and self.sources.open(f"instrument/{instrument}"))


def level(x: np.ndarray, target_db: float) -> np.ndarray:
    """x [n, 2] with the RMS of its sounding part at target_db (dBFS)."""
    blocks = x[: len(x) // 2048 * 2048].reshape(-1, 2048, 2)
    r = np.sqrt((blocks**2).mean((1, 2)) + 1e-12)
    loud = r[r > r.max() * 0.05]
    return (x * (db(target_db) / (np.sqrt((loud**2).mean()) + 1e-9))).astype(np.float32)
