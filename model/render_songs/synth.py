"""A small wavetable synthesiser: basses, pads, plucks, stabs, leads and 808s."""

from __future__ import annotations

import functools
import random
from typing import Any

import numpy as np

from model.render_songs.corpus import fade_out, put
from model.render_songs.effects import SR, cut
from model.render_songs.parts import Note

# shape, voices, detune (cents), attack and release (s), cutoff (times the root of the pitch in
# Hz), env (s of extra brightness at the start), sub (level of a sine an octave below) and, for
# plucked sounds, pluck (s of decay)
Patch = dict[str, Any]


@functools.cache
def _tables() -> dict[str, list[np.ndarray]]:
    """Band-limited tables [2049], one per shape and octave."""
    n, k = 2048, np.arange(2048) / 2048
    out: dict[str, list[np.ndarray]] = {}
    for shape in ("saw", "square", "triangle"):
        rows = []
        for octave in range(11):
            top = 440 * 2 ** ((octave * 12 + 12 - 69) / 12)
            y = np.zeros(n)
            for h in range(1, max(2, int(18000 / top)) + 1):
                if h > 400:
                    break
                if shape == "saw":
                    y += np.sin(2 * np.pi * h * k) / h
                elif h % 2:
                    y += (
                        np.sin(2 * np.pi * h * k) / h
                        if shape == "square"
                        else np.sin(2 * np.pi * h * k) * (-1) ** (h // 2) / h**2
                    )
            rows.append(np.append(y, y[0]).astype(np.float32))
        out[shape] = rows
    return out


def _note(midi: int, dur: float, patch: Patch, nr: np.random.Generator) -> np.ndarray:
    n = int((dur + patch["release"]) * SR)
    t, out = np.arange(n), np.zeros((n, 2), np.float32)
    for _ in range(patch["voices"]):
        f = 440 * 2 ** ((midi + nr.normal(0, 1) * patch["detune"] / 100 - 69) / 12)
        ph = (t * (f / SR) + nr.random()) % 1.0 * 2048
        i = ph.astype(np.int32)
        tab = _tables()[patch["shape"]][int(np.clip(midi // 12, 0, 10))]
        y = tab[i] * (1 - (ph - i)) + tab[i + 1] * (ph - i)
        p = nr.uniform(0.1, 0.9) if patch["voices"] > 1 else 0.5
        out[:, 0] += y * np.cos(p * np.pi / 2)
        out[:, 1] += y * np.sin(p * np.pi / 2)
    if patch["sub"]:
        out += (
            patch["sub"] * np.sin(2 * np.pi * 440 * 2 ** ((midi - 12 - 69) / 12) * t / SR)
        ).astype(np.float32)[:, None]
    f0 = 440 * 2 ** ((midi - 69) / 12)
    dark = cut(out, None, float(np.clip(patch["cutoff"] * f0**0.5, 150, 18000)), 2)
    if patch["env"] > 0:
        e = np.exp(-t / SR / patch["env"]).astype(np.float32)[:, None]
        dark = dark * (1 - e) + cut(out, None, 14000, 2) * e
    a, r = max(int(patch["attack"] * SR), 30), max(int(patch["release"] * SR), 200)
    env = np.ones(n, np.float32)
    env[:a] = np.linspace(0, 1, min(a, n), dtype=np.float32)[: len(env[:a])]
    env[-r:] *= np.linspace(1, 0, r, dtype=np.float32)[-len(env[-r:]) :] ** 2
    if patch.get("pluck"):
        env *= np.exp(-t / SR / patch["pluck"]).astype(np.float32)
    return dark * env[:, None] / np.float32(np.sqrt(patch["voices"]))


def random_patch(kind: str, rng: random.Random) -> Patch:
    """A new sound of a kind: bass, pad, pluck, stab or lead."""
    p: Patch = dict(
        shape=rng.choice(["saw", "saw", "square", "triangle"]),
        voices=1,
        detune=0,
        attack=0.004,
        release=0.08,
        cutoff=rng.uniform(60, 250),
        env=0.0,
        sub=0.0,
    )
    if kind == "bass":
        p.update(
            shape=rng.choice(["saw", "square", "triangle"]),
            cutoff=rng.uniform(25, 110),
            env=rng.choice([0, 0.05, 0.12]),
            sub=rng.choice([0, 0.6, 1.0]),
            voices=rng.choice([1, 1, 2]),
            detune=6,
        )
    elif kind == "pad":
        p.update(
            voices=rng.choice([4, 5, 7]),
            detune=rng.uniform(5, 18),
            attack=rng.uniform(0.05, 0.5),
            release=rng.uniform(0.2, 0.8),
            cutoff=rng.uniform(40, 160),
        )
    elif kind == "pluck":
        p.update(
            env=rng.uniform(0.03, 0.15),
            pluck=rng.uniform(0.12, 0.5),
            cutoff=rng.uniform(40, 150),
            voices=rng.choice([1, 3]),
            detune=8,
        )
    elif kind == "stab":
        p.update(
            voices=rng.choice([3, 5]),
            detune=rng.uniform(6, 20),
            env=rng.uniform(0.05, 0.25),
            pluck=rng.uniform(0.2, 0.8),
        )
    elif kind == "lead":
        p.update(
            voices=rng.choice([1, 2, 3]),
            detune=rng.uniform(3, 12),
            attack=0.01,
            cutoff=rng.uniform(80, 300),
            env=rng.choice([0, 0.3]),
        )
    return p


def synth(patch: Patch, events: list[Note], n: int, nr: np.random.Generator) -> np.ndarray:
    """Plays the events with one patch into [n, 2]."""
    b = np.zeros((n, 2), np.float32)
    cache: dict[tuple[int, float], np.ndarray] = {}
    for t, d, m, v in events:
        key = (m, round(d, 2))
        if key not in cache:
            cache[key] = _note(m, d, patch, nr)
        put(b, t, cache[key] * np.float32(v))
    return b


def sub808(events: list[Note], n: int, glide: bool, drive: float, decay: float) -> np.ndarray:
    """Long sine bass with a pitch drop at the start."""
    b = np.zeros((n, 2), np.float32)
    for t, d, m, v in events:
        k = int((d + 0.05) * SR)
        tt = np.arange(k) / SR
        f = 440 * 2 ** ((m - 69) / 12) * (1 + (1.2 * np.exp(-tt / 0.02) if glide else 0))
        y = np.tanh(np.sin(2 * np.pi * np.cumsum(f) / SR) * drive) * np.exp(-tt / decay) * v
        put(b, t, fade_out(np.repeat(y.astype(np.float32)[:, None], 2, 1), 1200))
    return b
