"""Speech and sung notes turned into a sung melody, with the WORLD vocoder.

`analyse` runs once per utterance: pitch, spectral envelope, aperiodicity and the syllable nuclei.
`sing` stretches syllables onto notes: consonants keep their length and come before the beat, the
vowel nucleus is held, and the pitch follows the melody with scoops, drift and late vibrato.
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
FFT_SIZE = 2048
LEAD_IN = 14  # frames before the first note's beat, for its consonant

Sung = tuple[float, float, int]  # time, duration, MIDI number


@dataclass(frozen=True)
class Analysis:
    """One utterance in WORLD's terms. Frames are FRAME_MS apart."""

    x: np.ndarray  # the sound, [samples]
    f0: np.ndarray  # Hz, 0 where unvoiced, [frames]
    envelope: np.ndarray  # log power, float16 [frames, bins]
    aperiodicity: np.ndarray  # float16 [frames, bins]
    nuclei: list[int]  # frames in which syllables are loudest
    voiced_before: np.ndarray  # voiced frames up to each frame
    voiced_after: np.ndarray


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


def analyse(x: np.ndarray, floor_hz: float, band_hz: float | None) -> Analysis:
    f0, times = world.dio(x, SR, f0_floor=floor_hz, f0_ceil=600, frame_period=FRAME_MS)
    f0 = world.stonemask(x, f0, times, SR)
    power = world.cheaptrick(x, f0, times, SR, fft_size=FFT_SIZE)
    aperiodicity = world.d4c(x, f0, times, SR, fft_size=FFT_SIZE)
    envelope = np.log(power + 1e-14)
    if band_hz is not None:
        _extend_band(envelope, aperiodicity, band_hz)
    loudness = smooth(10 * np.log10(power[:, 14:140].mean(1) + 1e-12), 13)
    voiced = f0 > 0
    before, after = np.zeros(len(voiced), int), np.zeros(len(voiced), int)
    for i in range(1, len(voiced)):
        before[i] = before[i - 1] + 1 if voiced[i] else 0
    for i in range(len(voiced) - 2, -1, -1):
        after[i] = after[i + 1] + 1 if voiced[i] else 0
    nuclei = [i for i in range(10, len(loudness) - 10)
              if before[i] > 6 and after[i] > 6
              and loudness[i] == loudness[i - 10:i + 11].max()
              and loudness[i] > loudness.max() - 22]
    return Analysis(x.astype(np.float32), f0.astype(np.float32), envelope.astype(np.float16),
                    aperiodicity.astype(np.float16), nuclei, before, after)


def _extend_band(envelope: np.ndarray, aperiodicity: np.ndarray, band_hz: float) -> None:
    """Continues the envelope of a band-limited recording upwards as breath noise, in place."""
    bins = envelope.shape[1]
    hz = np.arange(bins) * SR / 2 / (bins - 1)
    first = int(band_hz / (SR / 2) * (bins - 1))
    edge = envelope[:, int(first * 0.8):first].mean(1, keepdims=True)
    fall_db = np.interp(hz[first:], [band_hz, 11000, 15000, 19000, 22050], [0, -2, -8, -18, -30])
    mirrored = first - (np.arange(bins - first) % (first // 3)) - 1
    envelope[:, first:] = (edge + fall_db / 10 * np.log(10)
                           + 0.5 * (envelope[:, mirrored] - edge))
    aperiodicity[:, first:] = np.maximum(aperiodicity[:, first:], 0.9)


@dataclass(frozen=True)
class Manner:
    """How a singer sings: formant scale, spectral tilt (dB), vibrato (semitones), looseness of
    the pitch, and breath (0..1)."""

    formant: float = 1.0
    tilt: float = 0.0
    vibrato: float = 0.35
    loose: float = 0.0
    breath: float = 0.0


def sing(u: Analysis, notes: Sequence[Sung], nr: np.random.Generator, first: int,
         manner: Manner) -> tuple[float, np.ndarray, int] | None:
    """Sings consecutive notes with the utterance's syllables from number `first` on.

    Returns the start time (s), mono float32 audio and how many notes were sung (an utterance has
    only so many syllables); None where it has none.
    """
    nuclei = u.nuclei[first % max(len(u.nuclei), 1):]
    notes = notes[: len(nuclei)]
    if not notes:
        return None
    source, pitch, held, sounding = _timeline(u, notes, nuclei, nr, first, manner)
    i = source.astype(int)
    share = (source - i)[:, None]
    envelope = (u.envelope[i].astype(np.float64) * (1 - share)
                + u.envelope[i + 1].astype(np.float64) * share)
    aperiodicity = u.aperiodicity[i].astype(np.float64)
    bins = envelope.shape[1]
    if manner.formant != 1:
        k = np.clip(np.arange(bins) / manner.formant, 0, bins - 1)
        j = np.minimum(k.astype(int), bins - 2)
        envelope = envelope[:, j] * (1 - (k - j)) + envelope[:, j + 1] * (k - j)
    hz = np.arange(bins) * SR / 2 / (bins - 1)
    octaves = np.clip(np.log2(np.maximum(hz, 1) / 800), 0, 3)
    singers_formant = np.exp(-(((hz - 3000) / 700) ** 2))
    envelope += np.log(10) / 10 * manner.tilt * (octaves + singers_formant)
    aperiodicity[held] = np.minimum(aperiodicity[held], 0.6 + 0.4 * (hz / 22050) ** 0.5)
    if manner.breath:
        aperiodicity = aperiodicity + manner.breath * (hz / 22050) ** 0.3
    voiced = ((u.f0[np.round(source).astype(int)] > 0) | held) & (sounding > 0)
    y = world.synthesize(
        np.where(voiced, 440 * 2 ** ((pitch - 69) / 12), 0.0),
        np.ascontiguousarray(np.exp(envelope)),
        np.ascontiguousarray(np.clip(aperiodicity, 1e-3, 1)), SR, FRAME_MS)
    frames = len(pitch)
    dynamics = np.clip(1 + smooth(nr.normal(0, 1, frames), 81) * 1.2, 0.45, 1.6)
    y *= np.interp(np.arange(len(y)) / FRAME_S / SR, np.arange(frames),
                   smooth(sounding, 11) * dynamics)
    y /= np.sqrt((y**2).mean()) + 1e-6
    return notes[0][0] - LEAD_IN * FRAME_S, y.astype(np.float32), len(notes)


def _timeline(u: Analysis, notes: Sequence[Sung], nuclei: list[int], nr: np.random.Generator,
              first: int, manner: Manner,
              ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """For every frame of the phrase: the utterance's frame (fractional), the pitch (MIDI),
    whether a vowel is held, and whether anything sounds (0 or 1)."""
    t0, last_frame, n = notes[0][0], len(u.f0) - 1, len(notes)

    def frame(t: float) -> int:
        return round((t - t0) / FRAME_S)

    frames = frame(notes[-1][0] + notes[-1][1]) + LEAD_IN + 12
    left = max(nuclei[0] - (20 if first == 0 else 14), 0)
    borders = [left, *((a + b) // 2 for a, b in itertools.pairwise(nuclei[:n])),
               min(nuclei[n - 1] + 24, last_frame)]
    starts = [frame(t) + LEAD_IN for t, _, _ in notes]
    ends = [frame(t + d) + LEAD_IN + 6 for t, d, _ in notes]
    ends = [min(end, after) for end, after in zip(ends, [*starts[1:], ends[-1] - 6], strict=True)]
    source, sounding, note = np.zeros(frames), np.zeros(frames), np.zeros(frames)
    held = np.zeros(frames, bool)
    for i, (_, _, midi) in enumerate(notes):
        begin, nucleus, end, on, off = borders[i], nuclei[i], borders[i + 1], starts[i], ends[i]
        onset = min(max(nucleus - begin - 4, 1), 16 if i else 14)
        onset = min(onset, on) if i == 0 else min(onset, max((on - starts[i - 1]) // 3, 1))
        source[on - onset:on] = np.linspace(max(nucleus - 4 - onset, 0), nucleus - 4, onset,
                                            endpoint=False)
        coda = min(max(end - nucleus - 2, 1), 14, max((off - on) // 3, 0))
        vowel = off - on - coda
        if vowel < 3:
            vowel, coda = max(off - on, 1), 0
        reach = max(min(4, u.voiced_before[nucleus] - 2, u.voiced_after[nucleus] - 2), 1)
        spread = nucleus - reach + 2 * reach * np.linspace(0, 1, vowel) ** 0.7
        source[on:on + vowel] = spread[: len(source[on:on + vowel])]
        held[on:on + vowel] = True
        if coda > 0:
            source[on + vowel:off] = np.linspace(
                nucleus + reach, min(nucleus + reach + coda, last_frame), coda)
        note[on - onset:off], sounding[on - onset:off] = midi, 1
    latest = notes[0][2]
    for i in range(frames):
        latest = note[i] = note[i] or latest
    pitch = smooth(note, 15)
    times, vibrato = np.arange(frames) * FRAME_S, np.zeros(frames)
    for on, off in zip(starts, ends, strict=True):
        since = times[on:off] - times[min(on, frames - 1)]
        vibrato[on:off] = np.clip((since - 0.2) / 0.25, 0, 1)
        scoop = min(off - on, 16)
        if scoop > 0:
            pitch[on:on + scoop] -= nr.uniform(0, 0.7) * np.linspace(1, 0, scoop) ** 2
    rate, phase = nr.uniform(4.8, 6.2), nr.uniform(0, 6)
    pitch += vibrato * manner.vibrato * np.sin(2 * np.pi * rate * times + phase)
    pitch += smooth(nr.normal(0, 1, frames), 61) * 0.35 * (1 + manner.loose)
    pitch += nr.normal(0, 0.03, frames) + manner.loose * nr.normal(0, 0.06)
    return np.clip(source, 0, last_frame - 1), pitch, held, sounding
