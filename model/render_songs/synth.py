"""A synthesiser: basses, pads, plucks, stabs, leads, supersaws, 808s, and sweeps of noise."""

from __future__ import annotations

import functools
import random
from typing import Any

import numpy as np

from model.render_songs import effects as fx
from model.render_songs.corpus import fade_out, put
from model.render_songs.effects import SR, cut
from model.render_songs.parts import Note
from model.render_songs.tones import random_tone, tone

# shape, voices, detune (cents), attack and release (s), cutoff (times the root of the pitch in
# Hz), env (s of extra brightness at the start), sub (level of a sine an octave below), noise,
# resonance (dB), vibrato (semitones) and, for plucked sounds, pluck (s of decay); or, where it
# names an engine, a sound of `tones`
Patch = dict[str, Any]


@functools.cache
def _tables() -> dict[str, list[np.ndarray]]:
    """Band-limited tables [2049], one per shape and octave."""
    k = np.arange(2048) / 2048
    out: dict[str, list[np.ndarray]] = {}
    for shape in ("saw", "square", "triangle", "pulse"):
        rows = []
        for octave in range(11):
            top = 440 * 2 ** ((octave * 12 + 12 - 69) / 12)
            y = np.zeros(2048)
            for h in range(1, min(max(2, int(18000 / top)), 400) + 1):
                level = {"saw": 1 / h, "square": (h % 2) / h,
                         "triangle": (h % 2) * (-1) ** (h // 2) / h**2,
                         "pulse": np.sin(np.pi * h * 0.18) / h}[shape]
                if level:
                    y += level * np.sin(2 * np.pi * h * k)
            rows.append(np.append(y, y[0]).astype(np.float32))
        out[shape] = rows
    return out


def _note(midi: int, dur: float, patch: Patch, nr: np.random.Generator) -> np.ndarray:
    n = int((dur + patch["release"]) * SR)
    t, out = np.arange(n), np.zeros((n, 2), np.float32)
    table = _tables()[patch["shape"]][int(np.clip(midi // 12, 0, 10))]
    wobble = 0.0
    if patch["vibrato"]:
        depth = patch["vibrato"] / 12 * np.log(2) * np.clip((t / SR - 0.2) / 0.3, 0, 1)
        wobble = np.cumsum(depth * np.sin(2 * np.pi * nr.uniform(4.5, 6.5) * t / SR))
    for _ in range(patch["voices"]):
        f = 440 * 2 ** ((midi + nr.normal(0, 1) * patch["detune"] / 100 - 69) / 12)
        ph = ((t + wobble) * (f / SR) + nr.random()) % 1.0 * 2048
        i = ph.astype(np.int32)
        y = table[i] * (1 - (ph - i)) + table[i + 1] * (ph - i)
        p = nr.uniform(0.1, 0.9) if patch["voices"] > 1 else 0.5
        out[:, 0] += y * np.cos(p * np.pi / 2)
        out[:, 1] += y * np.sin(p * np.pi / 2)
    f0 = 440 * 2 ** ((midi - 69) / 12)
    if patch["sub"]:
        out += (patch["sub"] * np.sin(np.pi * f0 * t / SR)).astype(np.float32)[:, None]
    if patch["noise"]:
        out += (patch["noise"] * nr.normal(0, 1, (n, 2))).astype(np.float32)
    corner = float(np.clip(patch["cutoff"] * f0**0.5, 150, 18000))
    dark = cut(out, None, corner, 2)
    if patch["resonance"]:
        dark = fx.filt(dark, fx.peaking(min(corner, 16000), patch["resonance"], 3))
    if patch["env"] > 0:
        e = np.exp(-t / SR / patch["env"]).astype(np.float32)[:, None]
        middle = cut(out, None, min(corner * 3, 18000), 2)
        dark = dark * (1 - e) + (middle * (1 - e) + cut(out, None, 14000, 2) * e) * e
    a, r = max(int(patch["attack"] * SR), 30), max(int(patch["release"] * SR), 200)
    env = np.ones(n, np.float32)
    env[:a] = np.linspace(0, 1, a, dtype=np.float32)[: len(env[:a])]
    env[-r:] *= np.linspace(1, 0, r, dtype=np.float32)[-len(env[-r:]):] ** 2
    if patch["pluck"]:
        env *= np.exp(-t / SR / patch["pluck"]).astype(np.float32)
    return dark * env[:, None] / np.float32(np.sqrt(patch["voices"]))


def random_patch(kind: str, rng: random.Random) -> Patch:
    """A new sound of a kind: bass, pad, pluck, stab, lead, string or brass."""
    if rng.random() < {"bass": 0.2, "pluck": 0.3, "lead": 0.2, "stab": 0.2}.get(kind, 0.0):
        return random_tone(kind, rng)
    p: Patch = dict(
        shape=rng.choice(["saw", "saw", "square", "triangle", "pulse"]), voices=1, detune=0,
        attack=0.004, release=0.08, cutoff=rng.uniform(60, 250), env=0.0, sub=0.0, noise=0.0,
        resonance=rng.choice([0, 0, rng.uniform(3, 12)]), vibrato=0.0, pluck=0.0)
    if rng.random() < 0.15:
        p.update(noise=rng.uniform(0.01, 0.15))
    if kind == "bass":
        p.update(shape=rng.choice(["saw", "square", "triangle", "pulse"]),
                 cutoff=rng.choice([rng.uniform(15, 60), rng.uniform(40, 200)]),
                 env=rng.choice([0, 0.05, 0.12, 0.3]), sub=rng.choice([0, 0.6, 1.0]),
                 voices=rng.choice([1, 1, 2, 3]), detune=rng.uniform(3, 14),
                 pluck=rng.choice([0, 0, rng.uniform(0.12, 0.6)]))
    elif kind in ("pad", "string"):
        p.update(voices=rng.choice([4, 5, 7]), detune=rng.uniform(5, 18),
                 attack=rng.uniform(0.05, 0.5), release=rng.uniform(0.2, 0.8),
                 cutoff=rng.uniform(40, 160))
        if kind == "string":
            p.update(shape="saw", vibrato=rng.uniform(0, 0.25), cutoff=rng.uniform(80, 260),
                     attack=rng.uniform(0.03, 0.25))
    elif kind == "pluck":
        p.update(env=rng.uniform(0.03, 0.15), pluck=rng.uniform(0.12, 0.5),
                 cutoff=rng.uniform(40, 150), voices=rng.choice([1, 3]), detune=8)
    elif kind == "stab":
        p.update(voices=rng.choice([3, 5, 7]), detune=rng.uniform(6, 35),
                 env=rng.uniform(0.05, 0.25), pluck=rng.choice([0, rng.uniform(0.2, 0.8)]))
    elif kind == "brass":
        p.update(shape="saw", voices=rng.choice([2, 3, 4]), detune=rng.uniform(4, 12),
                 attack=rng.uniform(0.01, 0.08), env=rng.uniform(0.05, 0.3))
    elif kind == "lead":
        p.update(voices=rng.choice([1, 2, 3, 7]), detune=rng.uniform(3, 25), attack=0.01,
                 cutoff=rng.uniform(80, 300), env=rng.choice([0, 0.3]),
                 vibrato=rng.choice([0, rng.uniform(0.1, 0.5)]))
    return p


def synth(patch: Patch, events: list[Note], n: int, nr: np.random.Generator) -> np.ndarray:
    """Plays the events with one patch into [n, 2]."""
    b = np.zeros((n, 2), np.float32)
    make = tone if "engine" in patch else _note
    cache: dict[tuple[int, float], np.ndarray] = {}
    for t, d, m, v in events:
        key = (m, round(d, 2))
        if key not in cache:
            cache[key] = make(m, d, patch, nr)
        put(b, t, cache[key] * np.float32(v))
    return b


def sub808(events: list[Note], n: int, glide: bool, drive: float, decay: float) -> np.ndarray:
    """Long sine bass with a pitch drop at the start; some notes slide from the one before."""
    b = np.zeros((n, 2), np.float32)
    for i, (t, d, m, v) in enumerate(events):
        k = int((d + 0.05) * SR)
        tt = np.arange(k) / SR
        f = 440 * 2 ** ((m - 69) / 12) * (1 + (1.2 * np.exp(-tt / 0.02) if glide else 0))
        if i and i % 3 == 0:
            f = f * 2 ** ((events[i - 1][2] - m) / 12 * np.exp(-tt / 0.06))
        y = np.tanh(np.sin(2 * np.pi * np.cumsum(f) / SR) * drive) * np.exp(-tt / decay) * v
        put(b, t, fade_out(np.repeat(y.astype(np.float32)[:, None], 2, 1), 1200))
    return b


def sweep(duration: float, up: bool, tonal: bool, nr: np.random.Generator) -> np.ndarray:
    """A riser (or a fall) of noise or of sliding saws, [samples, 2]."""
    n = int(duration * SR)
    place = np.linspace(0, 1, n) if up else np.linspace(1, 0, n)
    if tonal:
        hz = nr.uniform(80, 300) * 2 ** (place * nr.uniform(1, 4))
        phase = np.cumsum(hz) / SR
        x = np.stack([(phase * k % 1.0) - 0.5 for k in (1.0, 1.006)], 1).astype(np.float32)
    else:
        x = nr.normal(0, 0.3, (n, 2)).astype(np.float32)
    bands = [fx.filt(x, fx.peaking(f, 14, 1.2)) for f in (400, 1800, 7000)]
    bands = [cut(b, f / 3, f * 2, 2) for b, f in zip(bands, (400, 1800, 7000), strict=True)]
    out = np.zeros((n, 2), np.float32)
    for k, b in enumerate(bands):
        out += b * np.clip(1 - np.abs(place * 2 - k), 0, 1)[:, None].astype(np.float32)
    return fade_out(out * (place[:, None] ** 1.5).astype(np.float32), 2000)
