"""Which of all that can vary does so in an item, and how much: everything drawn is drawn here.

Apart from `mixes`, which chooses songs and places, and from `pace` and `degradations`, which do
what is drawn and draw nothing but noise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from model.data import degradations
from model.data.pace import Pace
from model.data.songs import DataError
from rt.sections import DataSection

PITCHLESS = "drums"  # drums at another pitch are other drums: their tempo changes only
REST = "other"  # the stem that noise belongs to, being what is neither voice, drums nor bass
FADE_S = 0.005


class Variations:
    """Draws from `config` for items of these stems; holds no state, so that an item depends on its
    random generator alone. Raises DataError where the rate cannot be coded."""

    def __init__(self, config: DataSection, stems: Sequence[str], sample_rate: int) -> None:
        self.config = config
        self.stems = tuple(stems)
        self.sample_rate = sample_rate
        if config.coded and sample_rate not in degradations.MP3_RATES:
            raise DataError(f"data.coded = {config.coded:g}: there is no MP3 of {sample_rate} Hz; "
                            "set it to 0")

    def furthest(self, samples: int) -> int:
        """Samples that the fastest item needs."""
        config = self.config
        speed = 2 ** (config.speed_semitones / 12) if config.speed_varied else 1.0
        stretched = config.stretched > 0
        tempo = 1 + config.tempo if stretched else 1.0
        return Pace(speed, stretched, tempo).reach(samples, self.sample_rate)

    def pace(self, rng: np.random.Generator) -> Pace:
        config, pace = self.config, Pace()
        if rng.random() < config.speed_varied:
            semitones = rng.uniform(-config.speed_semitones, config.speed_semitones)
            pace = pace._replace(speed=2 ** (semitones / 12))
        if rng.random() < config.stretched:
            pace = pace._replace(
                stretched=True, tempo=1 + rng.uniform(-config.tempo, config.tempo),
                semitones=rng.uniform(-config.pitch_semitones, config.pitch_semitones))
        return pace

    def pace_of(self, stem: str, pace: Pace) -> Pace:
        return pace._replace(semitones=0.0) if stem == PITCHLESS else pace

    def silence(self, target: np.ndarray, rng: np.random.Generator) -> None:
        """Leaves some stems out of their item, in place on one target [channels, samples]."""
        if rng.random() < self.config.silenced:
            target[:] = 0

    def vary_stem(self, target: np.ndarray, rng: np.random.Generator) -> None:
        """Timbre, gain, polarity or channel swap, in place on one target [channels, samples]."""
        if rng.random() < self.config.equalised:
            gains_db = rng.normal(0, self.config.equaliser_db, len(degradations.OCTAVE_HZ))
            target[:] = degradations.equalise(target, self.sample_rate, gains_db)
        gain_db = rng.uniform(-self.config.gain_db, self.config.gain_db)
        gain = 10 ** (gain_db / 20) * rng.choice([-1.0, 1.0])
        if rng.random() < 0.5:
            target[:] = target[::-1].copy()
        target *= np.float32(gain)

    def degrade(self, targets: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """What happens to all stems [stems, channels, samples] alike on their way to the input."""
        config, rate, samples = self.config, self.sample_rate, targets.shape[-1]
        if rng.random() < config.paused:
            start, stop = sorted(int(place) for place in rng.integers(0, samples + 1, 2))
            targets = degradations.pause(targets, start, stop, math.ceil(FADE_S * rate))
        if rng.random() < config.band_limited:
            targets = degradations.band_limit(targets, rate, _between(rng, config.high_pass_hz),
                                              _between(rng, config.low_pass_hz))
        if rng.random() < config.coded:
            targets = degradations.coded(targets, rate, rng.uniform(*config.coded_level))
        if rng.random() < config.room:
            response = degradations.room_response(
                rate, rng.uniform(*config.reverb_s), rng.uniform(*config.direct_db),
                _between(rng, config.high_pass_hz), rng)
            targets = degradations.in_room(targets, response)
        if rng.random() < config.noisy and REST in self.stems:
            targets[self.stems.index(REST)] += degradations.background(
                samples, rate, rng.uniform(*config.noise_db), slope=rng.uniform(0, 2),
                hum=rng.uniform() ** 2, hum_hz=rng.choice([50.0, 60.0]), rng=rng)
        if rng.random() < config.mono:
            targets = degradations.mono(targets, rng.choice(["both", "both", "left", "right"]))
        if rng.random() < config.clipped:
            targets = degradations.clip(targets, rng.uniform(0, config.clip_db))
        return self._set_level(targets, rng)

    def _set_level(self, targets: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Moves some mixtures to a peak drawn from the configured range (dBFS)."""
        varied = rng.random() < self.config.level_varied
        peak_db = rng.uniform(self.config.level_min_db, self.config.level_max_db)
        if varied and (peak := float(np.abs(targets.sum(0)).max())) > 0:
            targets *= np.float32(10 ** (peak_db / 20) / peak)
        return targets


def _between(rng: np.random.Generator, span: tuple[float, float]) -> float:
    """A frequency; every octave is as likely."""
    return float(math.exp(rng.uniform(math.log(span[0]), math.log(span[1]))))
