"""Recorded voices cut into syllables, in the terms of the WORLD vocoder.

`analyse` runs once per utterance: pitch, spectral envelope, aperiodicity, and the syllables with
their vowels. What is sung with them is up to `singing`; voices without a recording come from
`formants`.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import soundfile
from pyworld import pyworld as world  # pyright: ignore[reportAttributeAccessIssue] (compiled)
from scipy.signal import resample_poly

from model.render_songs import CorpusError
from model.render_songs.corpus import Utterance
from model.render_songs.effects import SR

FRAME_MS = 5.0  # WORLD's frame period
FRAME_S = FRAME_MS / 1000
FFT_SIZE = 2048  # of the analysis; a pitch of 70 Hz needs it
BINS = FFT_SIZE // 4 + 1  # every other bin is kept: envelopes are smooth, and resynthesis is dear
HZ = np.arange(BINS) * SR / 2 / (BINS - 1)
SPARSE = 3  # aperiodicity is the dear part of the analysis and moves slowly: every third frame
LOUD = slice(7, 70)  # bins that loudness is read from: 300 Hz to 3 kHz
VOWEL_DB = 8.0  # how far below its nucleus a vowel begins and ends


@dataclass(frozen=True)
class Syllable:
    """A syllable in WORLD's terms; frames are FRAME_MS apart, its nucleus has log power 0."""

    envelope: np.ndarray  # log power, float32 [frames, bins]
    aperiodicity: np.ndarray  # float32 [frames, bins]
    pitch: np.ndarray  # MIDI number, also where unvoiced, [frames]
    voiced: np.ndarray  # bool [frames]
    vowel: tuple[int, int, int]  # first frame, nucleus, last frame


@dataclass(frozen=True)
class Line:
    """One utterance: its sound [samples] and its syllables with their nuclei in seconds."""

    x: np.ndarray
    syllables: list[Syllable]
    nuclei_s: list[float]


def load(parts: Sequence[Utterance]) -> np.ndarray:
    """Joins parts of one speaker to mono float64 at 44.1 kHz. Raises CorpusError."""
    xs, rate = [], SR
    for file, start, end in parts:
        try:
            with soundfile.SoundFile(file) as f:
                rate = f.samplerate
                f.seek(int(start * rate))
                xs.append(f.read(int((end - start) * rate), dtype="float64",
                                 always_2d=True).mean(1))
        except (OSError, soundfile.LibsndfileError) as error:
            raise CorpusError(f"{file}: cannot be read ({error})") from error
    x = np.concatenate(xs)
    if rate == SR:
        return x
    common = int(np.gcd(rate, SR))
    return resample_poly(x, SR // common, rate // common)


def smooth(x: np.ndarray, n: int) -> np.ndarray:
    """Moving average under a Hann window of n values."""
    kernel = np.hanning(n + 2)[1:-1]
    padded = np.pad(x, n // 2, "edge")
    return np.convolve(padded, kernel / kernel.sum(), "valid")[: len(x)]


def midi_of(hz: np.ndarray | float) -> np.ndarray:
    return 69 + 12 * np.log2(np.maximum(hz, 1.0) / 440)


def analyse(x: np.ndarray, floor_hz: float, band_hz: float | None) -> Line:
    f0, times = world.dio(x, SR, f0_floor=floor_hz, f0_ceil=600, frame_period=FRAME_MS)
    f0 = world.stonemask(x, f0, times, SR)
    power = world.cheaptrick(x, f0, times, SR, fft_size=FFT_SIZE)
    envelope = np.log(power[:, ::2] + 1e-14)
    sparse = world.d4c(x, f0[::SPARSE].copy(), times[::SPARSE].copy(), SR, fft_size=FFT_SIZE)
    aperiodicity = np.repeat(sparse[:, ::2], SPARSE, 0)[: len(f0)]
    if band_hz is not None:
        _extend_band(envelope, aperiodicity, band_hz)
    voiced = f0 > 0
    loudness = smooth(10 * np.log10(np.exp(envelope[:, LOUD]).mean(1) + 1e-12), 13)
    nuclei = _nuclei(voiced, loudness)
    if not nuclei:
        return Line(x.astype(np.float32), [], [])
    frames = np.arange(len(f0))
    pitch = np.interp(frames, frames[voiced], midi_of(f0[voiced]))
    borders = [max(nuclei[0] - 40, 0)]
    borders += [a + int(np.argmin(loudness[a:b])) for a, b in itertools.pairwise(nuclei)]
    borders.append(min(nuclei[-1] + 45, len(f0)))
    syllables = []
    for at, begin, end in zip(nuclei, borders, borders[1:], strict=False):
        low = loudness[at] - VOWEL_DB
        first, last = at, at
        while first > begin and voiced[first - 1] and loudness[first - 1] > low:
            first -= 1
        while last < end - 1 and voiced[last + 1] and loudness[last + 1] > low:
            last += 1
        part = slice(begin, end)
        level = loudness[at] * np.log(10) / 10
        syllables.append(Syllable(
            (envelope[part] - level).astype(np.float32), aperiodicity[part].astype(np.float32),
            pitch[part], voiced[part], (first - begin, at - begin, last - begin)))
    return Line(x.astype(np.float32), syllables, [at * FRAME_S for at in nuclei])


def _nuclei(voiced: np.ndarray, loudness: np.ndarray) -> list[int]:
    """Frames well inside voiced sound in which syllables are loudest."""
    inside = np.convolve(voiced, np.ones(13), "same") > 12.5
    return [i for i in range(10, len(loudness) - 10)
            if inside[i] and loudness[i] == loudness[i - 10:i + 11].max()
            and loudness[i] > loudness.max() - 22]


def _extend_band(envelope: np.ndarray, aperiodicity: np.ndarray, band_hz: float) -> None:
    """Continues the envelope of a band-limited recording upwards as breath noise, in place."""
    first = int(band_hz / (SR / 2) * (BINS - 1))
    edge = envelope[:, int(first * 0.8):first].mean(1, keepdims=True)
    fall_db = np.interp(HZ[first:], [band_hz, 11000, 15000, 19000, 22050], [0, -2, -8, -18, -30])
    mirrored = first - (np.arange(BINS - first) % (first // 3)) - 1
    envelope[:, first:] = (edge + fall_db / 10 * np.log(10)
                           + 0.5 * (envelope[:, mirrored] - edge))
    aperiodicity[:, first:] = np.maximum(aperiodicity[:, first:], 0.9)
