"""Syllables sung to a melody: timing, pitch contour, dynamics and resynthesis with WORLD.

Consonants keep their length and come before the beat, vowels are stretched in slow motion, so
that formants never stand still. The pitch follows the notes like a second-order system (Saitou,
Unoki and Akagi, "Development of an F0 control model ... singing voice synthesis", 2005):
it overshoots, drifts, and vibrates after a while; phrases begin with scoops and breaths.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from pyworld import pyworld as world  # pyright: ignore[reportAttributeAccessIssue] (compiled)
from scipy.signal import lfilter

from model.render_songs.effects import SR
from model.render_songs.voice import BINS, FRAME_MS, FRAME_S, HZ, Syllable, smooth

Sung = tuple[float, float, int]  # time, duration, MIDI number

NEPER = np.log(10) / 10  # log power per decibel
OCTAVES = np.clip(np.log2(np.maximum(HZ, 1) / 800), -1.5, 3.5)
SINGERS_FORMANT = np.exp(-(((HZ - 2900) / 650) ** 2))
CONSONANT = 30  # frames that an onset or a coda may last
BREATH = 90  # frames that a breath before a phrase takes


@dataclass(frozen=True)
class Manner:
    """How something is sung.

    `vibrato` is its depth in semitones, `drift` scales how far the pitch strays, `glide` is the
    time between two notes (s), `melisma` how likely a note carries on the syllable before it,
    `effort` the brightness that loudness brings (dB an octave), `ring` the singer's formant (dB),
    `air` the breathiness and `rough` the hoarseness (0..1). `tuned` snaps the pitch like a
    correction plug-in; `spoken` puts the intonation of speech in place of the notes' pitches.
    """

    vibrato: float = 0.3
    drift: float = 1.0
    glide: float = 0.09
    melisma: float = 0.12
    effort: float = 1.5
    ring: float = 0.0
    air: float = 0.0
    rough: float = 0.0
    breath: float = 0.5
    tuned: bool = False
    spoken: bool = False


@dataclass(frozen=True)
class Performance:
    """A phrase ready for the vocoder, a frame every FRAME_MS from `start` (s) on."""

    start: float
    pitch: np.ndarray  # MIDI, [frames]
    note: np.ndarray  # which of the notes a frame belongs to, [frames]
    voiced: np.ndarray  # bool [frames]
    envelope: np.ndarray  # log power [frames, bins]
    aperiodicity: np.ndarray  # [frames, bins]


def perform(syllables: Sequence[Syllable], notes: Sequence[Sung], nr: np.random.Generator,
            manner: Manner, breath: bool = False) -> tuple[Performance, int]:
    """One breath's notes with the syllables in turn (from the first again where they run out).

    Returns the performance and how many syllables it took."""
    lead = CONSONANT + (BREATH if breath else 0)
    t0 = notes[0][0] - lead * FRAME_S
    starts = [round((t - t0) / FRAME_S) for t, _, _ in notes]
    ends = [round((t + d - t0) / FRAME_S) for t, d, _ in notes]
    frames = ends[-1] + CONSONANT
    note = np.repeat(np.arange(len(notes)), np.diff([0, *starts[1:], frames]))
    groups = _groups(notes, nr, manner)
    position, which, gain = np.zeros(frames), np.full(frames, -1), np.full(frames, -9.0)
    before = 0  # where the sound of the syllable before has ended
    for i, group in enumerate(groups):
        syllable = syllables[i % len(syllables)]
        on, off = starts[group[0]], ends[group[-1]]
        after = starts[groups[i + 1][0]] if i + 1 < len(groups) else frames + CONSONANT
        before = _place(syllable, i, on, min(off, after), after, before, position, which, nr)
        accent = nr.normal(0, 1.2)
        shape = np.linspace(0, 1, max(off - on, 2))
        swell = accent + nr.normal(0, 1.5) * (shape - 0.5) - 3 * np.clip(shape - 0.75, 0, 1)
        gain[max(on - CONSONANT, 0):on] = swell[0]
        gain[on:off] = swell[: max(off - on, 0)]
        gain[off:] = swell[-1]
    sounds = which >= 0
    envelope = np.full((frames, BINS), -25.0, np.float32)
    aperiodicity = np.ones((frames, BINS), np.float32)
    voiced, spoken = np.zeros(frames, bool), np.zeros(frames)
    for i in range(len(groups)):
        syllable, rows = syllables[i % len(syllables)], np.flatnonzero(which == i)
        at = position[rows]
        k = np.minimum(at.astype(int), len(syllable.voiced) - 2)
        share = np.clip(at - k, 0, 1).astype(np.float32)[:, None]
        envelope[rows] = (syllable.envelope[k] * (1 - share) + syllable.envelope[k + 1] * share)
        aperiodicity[rows] = syllable.aperiodicity[k]
        voiced[rows] = syllable.voiced[k]
        spoken[rows] = syllable.pitch[k]
    pitch = _contour(notes, starts, ends, note, nr, manner)
    if manner.spoken and sounds.any():
        level = np.interp(np.arange(frames), np.flatnonzero(sounds), spoken[sounds])
        pitch = np.mean([midi for _, _, midi in notes]) + smooth(level - level[sounds].mean(), 9)
    stray = smooth(nr.normal(0, 1, frames), 81) * 5
    loud_db = smooth(gain + 2 * stray, 9)
    envelope += (loud_db[:, None] * NEPER).astype(np.float32)
    bright = manner.effort * (0.35 + np.clip(loud_db / 6, -1, 1))
    envelope += (NEPER * (bright[:, None] * OCTAVES + manner.ring * SINGERS_FORMANT)
                 ).astype(np.float32)
    if manner.air:
        aperiodicity += (manner.air * (HZ / 22050) ** 0.35).astype(np.float32)
    heard, frame = np.flatnonzero(sounds), np.arange(frames)
    opening, release = nr.integers(2, 12), nr.integers(8, 45)  # frames
    fade = np.clip(np.minimum((frame - heard[0] + 1) / opening, (heard[-1] - frame) / release),
                   1e-5, 1)
    envelope += 2 * np.log(fade[:, None]).astype(np.float32)
    aperiodicity += 0.25 * (1 - fade[:, None]).astype(np.float32)
    if breath and nr.random() < manner.breath:
        _inhale(syllables[0], envelope, int(heard[0]), nr)
    return Performance(t0, pitch, note, voiced, envelope, aperiodicity), len(groups)


def again(take: Performance, shift: np.ndarray, nr: np.random.Generator) -> Performance:
    """The same words once more (a double, or a harmony): `shift` is semitones by note."""
    frames = len(take.pitch)
    pitch = take.pitch + smooth(shift[take.note].astype(float), 13)
    pitch = pitch + smooth(nr.normal(0, 1, frames), 61) * 0.7
    return replace(take, pitch=pitch)


def voice_of(take: Performance, rough: float, nr: np.random.Generator) -> np.ndarray:
    """Mono float32 audio, its loud part at RMS 0.1."""
    pitch = take.pitch
    if rough:  # irregular periods, and every other one weaker
        pitch = pitch + rough * nr.normal(0, 0.8, len(pitch))
    f0 = np.where(take.voiced, 440 * 2 ** ((np.clip(pitch, 24, 96) - 69) / 12), 0.0)
    power = np.exp(np.clip(take.envelope, -27, 12).astype(np.float64))
    y = world.synthesize(f0, power, np.clip(take.aperiodicity, 1e-3, 1).astype(np.float64), SR,
                         FRAME_MS)
    if rough:
        half = np.interp(np.arange(len(y)), np.arange(len(f0)) * FRAME_S * SR,
                         np.cumsum(f0) * FRAME_S / 2)
        y *= 1 - 0.6 * rough * (0.5 + 0.5 * np.cos(2 * np.pi * half))
    blocks = np.sqrt((y[: len(y) // 1024 * 1024].reshape(-1, 1024) ** 2).mean(1) + 1e-12)
    loud = blocks[blocks > blocks.max() * 0.2]
    return (y * (0.1 / (np.sqrt((loud**2).mean()) + 1e-9))).astype(np.float32)


def _groups(notes: Sequence[Sung], nr: np.random.Generator, manner: Manner) -> list[list[int]]:
    """Notes by syllable: most have one of their own, some carry on the one before."""
    groups = [[0]]
    for i in range(1, len(notes)):
        joined = notes[i][0] - notes[i - 1][0] - notes[i - 1][1] < 0.08
        near = 0 < abs(notes[i][2] - notes[i - 1][2]) <= 5
        if joined and near and len(groups[-1]) < 5 and nr.random() < manner.melisma:
            groups[-1].append(i)
        else:
            groups.append([i])
    return groups


def _place(syllable: Syllable, index: int, on: int, off: int, after: int, before: int,
           position: np.ndarray, which: np.ndarray, nr: np.random.Generator) -> int:
    """Lays one syllable onto frames: onset before `on`, vowel from there, coda around `off`.

    The next syllable's vowel begins at `after`; `before` is where the last one's sound ended.
    Returns where this one's sound ends. Writes `position` (frame of the syllable) and `which`."""
    first, nucleus, last = syllable.vowel
    size = len(syllable.voiced)
    onset = min(first, CONSONANT, max((on - before) // 2, 0) if before else CONSONANT)
    position[on - onset:on] = first - onset + np.arange(onset)
    which[on - onset:on] = index
    if before < on - onset and which[before - 1] >= 0 and on - onset - before < 10:
        position[before:on - onset] = position[before - 1]  # legato: no hole between two notes
        which[before:on - onset] = which[before - 1]
    coda = min(size - 1 - last, CONSONANT, max((off - on) // 4, 0))
    room = after - off  # a coda leans into a rest, and otherwise shares the note's time
    stop = off - max(coda - max(room - 8, 0), 0)
    vowel = max(stop - on, 1)
    a, b = nucleus - first, last - nucleus
    rise, fall = min(a, vowel // 4), min(b, vowel // 4)
    points = [0.0, rise, max(vowel - fall, rise + 1), max(vowel, rise + 2)]
    at = np.interp(np.arange(vowel), points,
                   [first, nucleus - 0.3 * a, nucleus + 0.3 * b, last])
    if vowel > 40:  # a held vowel wanders
        at = at + smooth(nr.normal(0, 1, vowel), 41) * 4
    frames = len(position)
    position[on:on + vowel] = np.clip(at, first, last)[: frames - on]
    which[on:on + vowel] = index
    end = min(stop + coda, frames)
    position[stop:end] = last + 1 + np.arange(end - stop)
    which[stop:end] = index
    return end


def _contour(notes: Sequence[Sung], starts: list[int], ends: list[int], note: np.ndarray,
             nr: np.random.Generator, manner: Manner) -> np.ndarray:
    """The pitch of every frame (MIDI)."""
    frames = len(note)
    midi = np.array([m for _, _, m in notes], float)
    ahead = 0 if manner.tuned else round(manner.glide / FRAME_S * 0.7)
    target = midi[np.append(note[ahead:], np.full(ahead, note[-1]))]
    if manner.tuned:
        pitch = smooth(target, 3)
    else:
        if nr.random() < 0.5:  # scoop into the phrase
            scoop = max(round(nr.uniform(0.03, 0.12) / FRAME_S), 1)
            target[: starts[0] + scoop] -= nr.uniform(0.5, 3)
        if nr.random() < 0.25:  # and a fall at its end
            fall = round(nr.uniform(0.05, 0.15) / FRAME_S)
            slope = np.linspace(0, 1, frames - ends[-1] + fall)
            target[ends[-1] - fall:] -= nr.uniform(1, 5) * slope
        for i in range(1, len(notes)):
            if ends[i] - starts[i] > 30 and nr.random() < 0.2:
                target[starts[i]:starts[i] + round(nr.uniform(8, 20))] -= nr.uniform(0.3, 1.2)
        damping, w = nr.uniform(0.55, 0.95), 2.4 / manner.glide * FRAME_S
        den = [1 + 2 * damping * w + w * w, -2 - 2 * damping * w, 1.0]
        start = target[0]
        pitch = np.asarray(lfilter([w * w], den, target - start)) + start
        pitch += manner.drift * (smooth(nr.normal(0, 1, frames), 91) * 0.8
                                 + smooth(nr.normal(0, 1, frames), 9) * 0.07)
    rate = nr.uniform(4.8, 6.4) * (1 + smooth(nr.normal(0, 1, frames), 101) * 0.25)
    wave = np.sin(2 * np.pi * np.cumsum(rate) * FRAME_S + nr.uniform(0, 6))
    depth = np.zeros(frames)
    for on, off in zip(starts, ends, strict=True):
        since = np.arange(max(off - on, 0)) * FRAME_S
        depth[on:off] = (np.clip((since - nr.uniform(0.12, 0.4)) / nr.uniform(0.15, 0.5), 0, 1)
                         * nr.uniform(0.5, 1.3))
    return pitch + wave * smooth(depth, 15) * manner.vibrato * (0.3 if manner.tuned else 1)


def _inhale(syllable: Syllable, envelope: np.ndarray, begin: int,
            nr: np.random.Generator) -> None:
    """An audible breath before the frame `begin`, in the shape of an open mouth, in place."""
    first, _, last = syllable.vowel
    mouth = syllable.envelope[first:last + 1].mean(0)
    mouth = smooth(mouth, 31)
    size = int(min(begin - 4, nr.integers(40, BREATH)))
    if size < 12:
        return
    shape = np.sin(np.pi * np.linspace(0.02, 0.98, size) ** nr.uniform(0.8, 1.6))
    level = -nr.uniform(16, 34) + 20 * np.log10(shape)
    tint = 2.5 * OCTAVES - 14 * (HZ < 400) - 8 * (HZ > 12000)
    stop = begin - int(nr.integers(2, max(begin - size, 3)))
    rows = slice(stop - size, stop)
    envelope[rows] = np.maximum(envelope[rows], NEPER * (level[:, None] + tint) + mouth)
