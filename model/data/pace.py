"""Excerpts at another speed, tempo or pitch.

Speed is a tape's: pitch and tempo move together, every sound keeps its shape, and it costs one
resampling (soxr). Tempo and pitch apart take a phase vocoder (Signalsmith Stretch), twenty times
as dear and not linear. Both are applied to stems, and the mixture is the sum of what comes out.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import python_stretch
import soxr

EDGE_S = 0.1  # the stretcher's windows are not full at the ends; so much is read more and cut


class Pace(NamedTuple):
    """How an excerpt is played; the defaults leave it as it is."""

    speed: float = 1.0  # of the tape: 2 is an octave up in half the time
    stretched: bool = False  # through the vocoder, which may move tempo and pitch apart:
    tempo: float = 1.0  # 2 takes half the time at the same pitch
    semitones: float = 0.0  # up, in the same time

    def reach(self, samples: int, sample_rate: int) -> int:
        """Samples that must be read to have `samples` of them played."""
        needed = samples
        if self.speed != 1:
            needed = math.ceil(needed * self.speed) + 1
        if self.stretched:
            needed = math.ceil((needed + 2 * _edge(sample_rate)) * self.tempo) + 1
        return needed


def play(excerpt: np.ndarray, pace: Pace, samples: int, sample_rate: int) -> np.ndarray:
    """An excerpt [channels, pace.reach(samples)] as float32 [channels, samples] at that pace."""
    if pace.stretched:
        stretch = python_stretch.Signalsmith.Stretch(0)  # the seed of its random phases
        stretch.preset(len(excerpt), sample_rate, cheaper=True)
        stretch.setTransposeSemitones(pace.semitones)
        stretch.setTimeFactor(pace.tempo)
        stretched = stretch.process(np.ascontiguousarray(excerpt))
        excerpt = np.asarray(stretched)[:, _edge(sample_rate):]
    if pace.speed != 1:
        excerpt = soxr.resample(np.ascontiguousarray(excerpt.T), pace.speed, 1.0).T
    return excerpt[:, :samples]


def _edge(sample_rate: int) -> int:
    return round(EDGE_S * sample_rate)
