"""Scores of a separation, in dB.

uSDR is the Music Demixing Challenge's: one energy ratio over a whole track, then the mean over
tracks. cSDR is BSSEval v4's: the median over 1 s frames, then the median over tracks. Improvement
over the raw mixture flatters a quiet stem (silence alone "gains" what the other stems are louder),
so a score is read beside `best_gain_usdr`.
"""

from __future__ import annotations

import numpy as np
from scipy.signal import stft

# A stem below this mean power (-80 dBFS) counts as absent: a ratio to nothing says nothing.
SILENT_POWER = 1e-8
# What muting leaves is measured in tiles of so many bins and frames of an STFT: small enough to
# follow masks that move, large enough that noise does not pass for the stem.
MUTE_N_FFT, MUTE_FRAMES, MUTE_BANDS = 2048, 8, 24


def usdr(target: np.ndarray, estimate: np.ndarray) -> float:
    """10 log10(sum s^2 / sum (s - e)^2) in dB; NaN where the target is silent."""
    if target.shape != estimate.shape:
        raise ValueError(f"target {target.shape} and estimate {estimate.shape}")
    energy = float(np.sum(np.square(target, dtype=np.float64)))
    if energy < SILENT_POWER * target.size:
        return float("nan")
    error = float(np.sum(np.square(target.astype(np.float64) - estimate)))
    return 10 * float(np.log10(energy / max(error, np.finfo(np.float64).tiny)))


def best_gain_usdr(target: np.ndarray, mixture: np.ndarray) -> float:
    """uSDR of the mixture times the one gain that suits the target best, in dB.

    What a stem scores without any separation; NaN where the target or the mixture is silent.
    """
    power = float(np.sum(np.square(mixture, dtype=np.float64)))
    if power < SILENT_POWER * mixture.size:
        return float("nan")
    gain = float(np.sum(target.astype(np.float64) * mixture)) / power
    return usdr(target, gain * mixture.astype(np.float64))


def csdr(targets: np.ndarray, estimates: np.ndarray, sample_rate: int) -> np.ndarray:
    """One song's cSDR of every stem [stems], in dB; targets, estimates [stems, channels, samples].

    The SDR of museval 0.4.1 in mode v4, without its distortion filters: those divide the error
    between spatial, interference and artefact terms, and SDR is the ratio to the sum of the three,
    which is the error itself. A test holds it to museval's figures. Like there, a frame counts
    where every stem and every estimate sounds; a stem that is silent all the song, which museval
    refuses, is left out and has NaN.
    """
    frame = min(sample_rate, targets.shape[-1])
    count = targets.shape[-1] // frame

    def frames(x: np.ndarray) -> np.ndarray:  # [channels, samples] -> [count, channels, frame]
        return x[:, :count * frame].reshape(len(x), count, frame).swapaxes(0, 1)

    scores = np.full((len(targets), count), np.nan)
    sounding = np.ones(count, bool)
    for row, target, estimate in zip(scores, targets, estimates, strict=True):
        if np.mean(np.square(target, dtype=np.float64)) < SILENT_POWER:
            continue
        true, guess = frames(target), frames(estimate)
        for x in (true, guess):
            sounding &= x.sum(1).any(-1)
        energy, error = (np.square(x, dtype=np.float64).sum((1, 2)) for x in (true, true - guess))
        with np.errstate(divide="ignore", invalid="ignore"):
            row[:] = 10 * np.log10(energy / error)
    return np.array([np.nan if np.isnan(row).all() else np.median(row)
                     for row in scores[:, sounding]])


def muting(target: np.ndarray, estimate: np.ndarray, mixture: np.ndarray) -> tuple[float, float]:
    """What is heard when this stem is muted (the mixture minus its estimate), both in dB:

    attenuation: the stem's energy over what is left of it; higher is better.
    damage: what else is wrong in the rest, over the energy of the rest; lower is better.

    The error target - estimate is divided between the two by its projection on the target in
    tiles of time and frequency, because masks let a stem through here and not there. Signals are
    [channels, samples]; NaN where the stem or the rest is silent.
    """
    powers = [float(np.mean(np.square(x, dtype=np.float64))) for x in (target, mixture - target)]
    if min(powers) < SILENT_POWER:
        return float("nan"), float("nan")
    stem, error = _spectrum(target), _spectrum(target - estimate)
    power = _tiles(np.abs(stem) ** 2)
    across = _tiles(np.conj(stem) * error)
    left = float(np.sum(np.abs(across) ** 2 / np.maximum(power, 1e-20)))
    wrong = max(float(np.sum(np.abs(error) ** 2)) - left, 0.0)
    rest = float(np.sum(np.abs(_spectrum(mixture - target)) ** 2))
    tiny = np.finfo(np.float64).tiny
    return (10 * float(np.log10(np.sum(power) / max(left, tiny))),
            10 * float(np.log10(max(wrong, tiny) / rest)))


def _spectrum(x: np.ndarray) -> np.ndarray:
    """[channels, samples] -> [channels, bins, frames]"""
    n_fft = min(MUTE_N_FFT, x.shape[-1])
    return stft(x, nperseg=n_fft, noverlap=n_fft // 2)[2]


def _tiles(x: np.ndarray) -> np.ndarray:
    """Sums [channels, bins, frames] over tiles: low bands narrow, high bands wide."""
    edges = np.unique(np.geomspace(4, x.shape[1], MUTE_BANDS + 1).astype(int))[:-1]
    summed = np.add.reduceat(x, np.concatenate([[0], edges]), 1)
    return np.add.reduceat(summed, np.arange(0, x.shape[2], MUTE_FRAMES), 2)
