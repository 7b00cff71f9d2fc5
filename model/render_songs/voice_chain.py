"""Voices as records treat them: equaliser, compressor, de-esser, saturation, echo and room."""

from __future__ import annotations

import itertools

import numpy as np
from scipy.signal import istft, stft

from model.render_songs import effects as fx
from model.render_songs.effects import SR
from model.render_songs.take import Take

GRAIN = 1024


def bus(take: Take, lead: np.ndarray, back: np.ndarray, mode: str) -> np.ndarray:
    """The whole vocal group of a song, [n, 2]."""
    rng, nr, song = take.rng, take.nr, take.song
    x = fx.cut(lead, rng.uniform(60, 170), None, rng.choice([2, 4]))
    x = fx.random_eq(x, nr, 2.2)
    x = fx.filt(x, fx.shelf(rng.uniform(5000, 11000), rng.uniform(-1, 5), True))  # presence
    x = fx.compress(x, -rng.uniform(10, 30), rng.uniform(2, 8), rng.uniform(0.002, 0.02),
                    rng.uniform(0.05, 0.2))
    if rng.random() < 0.5:
        x = deess(x, rng.uniform(3, 9))
    if rng.random() < 0.3 or mode == "shout" or song.genre == "metal":
        x = 0.5 * x + 0.5 * fx.saturate(x, rng.uniform(1, 6))
    if rng.random() < 0.07:
        x = telephone(x, nr)
    if np.abs(back).max() > 0:
        back = fx.compress(fx.random_eq(fx.cut(back, rng.uniform(100, 250)), nr, 2.5), -18, 4)
        if rng.random() < 0.3:
            back = fx.chorus(back, nr, wet=rng.uniform(0.2, 0.6))
        x = x + back * fx.db(rng.uniform(-7, 2))
    if rng.random() < 0.2:
        x = doubler(x, nr, rng.uniform(0.2, 0.6))
    if rng.random() < 0.25:  # slap
        x = fx.delay(x, rng.uniform(0.06, 0.14), 0.05, rng.uniform(0.08, 0.35), False, 6000)
    if rng.random() < 0.35:
        x = fx.delay(x, song.beat * rng.choice([0.25, 0.5, 0.75, 1]), rng.uniform(0.15, 0.5),
                     rng.uniform(0.05, 0.28), rng.random() < 0.6, rng.uniform(2500, 7000))
    wet = rng.choice([0.0, 0.02, 0.06, 0.12, 0.2, 0.3, 0.45])
    if wet:
        x = fx.reverb(x, nr, rng.choice([rng.uniform(0.25, 0.8), rng.uniform(0.8, 3.2)]), wet,
                      predelay=rng.uniform(0, 0.09), bright=rng.uniform(0.2, 0.95))
    return x


def deess(x: np.ndarray, most_db: float) -> np.ndarray:
    """Turns the band above 5 kHz down by up to `most_db` where it outweighs the rest."""
    high = fx.cut(x, 5000, None, 2)
    share = np.abs(high).max(1) / (np.percentile(np.abs(x[::16]), 98) + 1e-7)
    gain = fx.gain_curve(share, -14, 4, 0.001, 0.04)
    gain = np.maximum(gain, fx.db(-most_db)).astype(np.float32)
    return x + high * (gain - 1)[:, None]


def telephone(x: np.ndarray, nr: np.random.Generator) -> np.ndarray:
    """A narrow, driven band."""
    y = fx.cut(x, nr.uniform(300, 600), nr.uniform(2500, 4500), 4)
    return fx.saturate(y, nr.uniform(1, 5))


def doubler(x: np.ndarray, nr: np.random.Generator, wet: float) -> np.ndarray:
    """Two short delays a few cents apart, left and right, as a pitch shifter makes them."""
    out, t = x.copy(), np.arange(len(x))
    for channel in (0, 1):
        cents, period = nr.uniform(5, 14) * (1, -1)[channel], int(0.06 * SR)
        slope = 2 ** (cents / 1200) - 1
        for half in (0, 1):  # two crossfaded taps slide and wrap out of step
            at = (t + half * period // 2) % period
            window = np.sin(np.pi * at / period) ** 2
            back = 0.022 * SR + slope * (period / 2 - at)
            source = np.interp(t - back, t, x[:, 1 - channel], left=0)
            out[:, channel] += (wet * window * source).astype(np.float32)
    return out


def vocode(speech: np.ndarray, carrier: np.ndarray, nr: np.random.Generator) -> np.ndarray:
    """The carrier's fine structure under the speech's envelope, in about thirty bands."""
    hz, _, s = stft(speech.mean(1), SR, nperseg=GRAIN, noverlap=GRAIN * 3 // 4)
    noisy = carrier.T + nr.normal(0, 2e-3, carrier.T.shape)
    _, _, c = stft(noisy, SR, nperseg=GRAIN, noverlap=GRAIN * 3 // 4)
    edges = np.unique(np.searchsorted(hz, np.geomspace(80, 18000, int(nr.integers(18, 40)))))
    out = np.zeros_like(c)
    for low, high in itertools.pairwise(edges):
        want = np.sqrt((np.abs(s[low:high]) ** 2).mean(0))
        have = np.sqrt((np.abs(c[:, low:high]) ** 2).mean((0, 1))) + 1e-4
        out[:, low:high] = c[:, low:high] * (want / have)
    _, y = istft(out, SR, nperseg=GRAIN, noverlap=GRAIN * 3 // 4)
    y = y.T[: len(speech)]
    return np.pad(y, ((0, len(speech) - len(y)), (0, 0))).astype(np.float32)
