"""Guitars: sampled or computed strings, mutes and bends, amplifier and cabinet."""

from __future__ import annotations

import numpy as np
from scipy.signal import lfilter

from model.render_songs import effects as fx
from model.render_songs.corpus import fade_out, put
from model.render_songs.effects import SR
from model.render_songs.parts import Note
from model.render_songs.take import Take

EMILY = ("emily", "pluck")
LOWEST_STRING = 40


def play(take: Take, kind: str, notes: list[Note]) -> np.ndarray:
    """A part of kind strum, clean, dist or lead_gtr, [n, 2]."""
    rng, nr = take.rng, take.nr
    notes = [(t, d, m if m >= LOWEST_STRING else m + 12, v) for t, d, m, v in notes]
    if kind == "dist":
        gain, muted, tone = rng.uniform(2, 40), rng.random() < 0.5, cabinet(nr)
        out = take.empty()
        for side in rng.choice([(0.03, 0.97), (0.1, 0.9), (0.25, 0.75), (0.4,)]):
            if rng.random() < 0.3:
                tone = cabinet(nr)
            x = strings(take, notes, muted)
            out += fx.pan(amplify(x, gain, tone, nr), side)
        return out
    if kind == "lead_gtr":
        x = strings(take, notes, False, bends=True)
        return amplify(x, rng.choice([rng.uniform(1, 4), rng.uniform(4, 40)]), cabinet(nr), nr)
    x = strings(take, notes, rng.random() < 0.15)
    if kind == "strum":  # an acoustic body, or an electric one
        body = np.concatenate([fx.peaking(rng.uniform(90, 130), rng.uniform(0, 7), 2),
                               fx.peaking(rng.uniform(180, 260), rng.uniform(0, 6), 2),
                               fx.shelf(rng.uniform(2500, 6000), rng.uniform(0, 9), True)])
        x = fx.filt(x, body)
    elif rng.random() < 0.75:
        x = amplify(x, rng.choice([0.3, 0.8, rng.uniform(1, 4)]), cabinet(nr), nr)
    return modulated(take, x)


def strings(take: Take, notes: list[Note], muted: bool, bends: bool = False) -> np.ndarray:
    """The dry strings of one take, [n, 2]."""
    rng, nr, corpus = take.rng, take.nr, take.corpus
    sampled = take.has(*EMILY) and rng.random() < 0.65
    if sampled:
        take.sources.use(f"instrument/{EMILY[0]}")
    body = dict(bright=rng.uniform(0.25, 0.95), decay=rng.uniform(0.7, 3.5),
                at=rng.uniform(0.08, 0.4))
    out, damped, cache = take.empty(), take.empty(), {}
    for t, duration, midi, velocity in notes:
        short = muted and velocity < 0.82
        if sampled:
            y = corpus.note(EMILY, midi, duration, velocity, rng)
        else:
            key = (midi, round(duration, 1))
            if key not in cache:
                cache[key] = [pluck(midi, duration + 0.1, nr, **body) for _ in range(2)]
            y = cache[key][int(nr.integers(2))] * np.float32(velocity)
        if short:
            y = y * np.exp(-np.arange(len(y)) / SR / 0.05).astype(np.float32)[:, None]
        elif bends and duration > 0.15:
            y = bent(y, nr, -float(rng.choice([0, 0, 0, 1, 2, 2])), rng.uniform(0.05, 0.25),
                     rng.choice([0, rng.uniform(0.1, 0.5)]))
        put(damped if short else out, t + nr.normal(0, 0.005), fade_out(y.copy(), 1200))
    return out + fx.cut(damped, None, 1800, 1) if muted else out  # the palm on the bridge


def pluck(midi: float, duration: float, nr: np.random.Generator, bright: float, decay: float,
          at: float) -> np.ndarray:
    """A plucked string by Karplus and Strong (Computer Music Journal 7(2), 1983), [samples, 2].

    `bright` is the pick's hardness (0..1), `decay` the ring (s at 200 Hz), `at` where along the
    string it is picked (0..0.5)."""
    hz = 440 * 2 ** ((midi - 69) / 12)
    period = SR / hz
    size = int(period - 0.5)
    n = max(int(duration * SR), size + 2)
    noise = nr.uniform(-1, 1, size)
    noise = np.asarray(lfilter([bright], [1, bright - 1], noise))
    noise = noise - np.roll(noise, max(int(at * size), 1)) * 0.9
    burst = np.zeros(n)
    burst[:size] = noise / (np.abs(noise).max() + 1e-9)
    part = period - 0.5 - size  # the delay's fraction, by a linear interpolator in the loop
    loss = 10 ** (-3 / (decay * (200 / hz) ** 0.4 * hz))
    loop = loss * np.convolve([0.5, 0.5], [1 - part, part])
    den = np.zeros(size + 3)
    den[0], den[size:size + 3] = 1, -loop
    y = 0.3 * np.asarray(lfilter([1.0], den, burst))
    return np.repeat(y.astype(np.float32)[:, None], 2, 1)


def bent(y: np.ndarray, nr: np.random.Generator, by: float, over_s: float,
         vibrato: float = 0.0) -> np.ndarray:
    """A note that starts `by` semitones off and slides home, and is then shaken by the finger."""
    n, t = len(y), np.arange(len(y)) / SR
    semitones = by * np.clip(1 - t / over_s, 0, 1)
    if vibrato:
        semitones = semitones + (vibrato * np.clip((t - nr.uniform(0.1, 0.3)) / 0.2, 0, 1)
                                 * np.sin(2 * np.pi * nr.uniform(4.5, 6.5) * t))
    place = np.cumsum(2 ** (semitones / 12))
    return np.stack([np.interp(place, np.arange(n), y[:, c]) for c in (0, 1)], 1).astype(
        np.float32)


def cabinet(nr: np.random.Generator) -> np.ndarray:
    """A loudspeaker and its microphone as second-order sections."""
    top = nr.uniform(3600, 6500)
    return np.concatenate([
        fx.peaking(nr.uniform(90, 160), nr.uniform(0, 6), 1.4),
        fx.peaking(nr.uniform(300, 700), nr.uniform(-6, 2), 1.0),
        fx.peaking(nr.uniform(1200, 2200), nr.uniform(-4, 4), 1.2),
        fx.peaking(nr.uniform(2400, 3600), nr.uniform(0, 8), 1.5),
        fx.passing(nr.uniform(60, 110), True), fx.passing(top, False), fx.passing(top * 1.1, False),
    ])


def amplify(x: np.ndarray, gain: float, tone: np.ndarray, nr: np.random.Generator) -> np.ndarray:
    """Pre-emphasis, two asymmetric clipping stages, tone stack and cabinet; mono as [n, 2]."""
    mono = fx.filt(x.mean(1, keepdims=True), np.concatenate([
        fx.passing(nr.uniform(70, 180), True),
        fx.shelf(nr.uniform(700, 1800), nr.uniform(0, 8), True)]))
    mono = mono / (np.percentile(np.abs(mono[::8]), 99.5) + 1e-7)
    bias = nr.uniform(0, 0.3)
    y = np.tanh(mono * gain + bias) - np.tanh(bias)
    y = fx.filt(y, np.concatenate([
        fx.passing(30, True), fx.peaking(nr.uniform(450, 1000), nr.uniform(-7, 5), 0.8)]))
    y = np.tanh(y * nr.uniform(0.8, 2.2))
    return np.repeat(fx.filt(y, tone), 2, 1)


def modulated(take: Take, x: np.ndarray) -> np.ndarray:
    """Chorus, tremolo or a wah, or none."""
    rng, nr = take.rng, take.nr
    which = rng.choice(["", "", "chorus", "tremolo", "wah"])
    if which == "chorus":
        return fx.chorus(x, nr, wet=rng.uniform(0.3, 0.8), rate=rng.uniform(0.3, 1.5))
    if which == "tremolo":
        return fx.tremolo(x, rng.choice([1, 2, 3, 4]) / take.song.beat / 2, rng.uniform(0.2, 0.7),
                          rng.random() < 0.5)
    if which == "wah":
        return fx.swept(x, nr, rng.uniform(0.15, 0.6) / take.song.beat * 2)
    return x
