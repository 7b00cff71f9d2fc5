"""Single notes of keyboards and bells that are computed: frequency modulation and drawbars."""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from model.render_songs.effects import SR

Tone = dict[str, Any]
DRAWBARS = np.array([0.5, 1.5, 1, 2, 3, 4, 5, 6, 8])


def random_tone(kind: str, rng: random.Random) -> Tone:
    """A new sound of a kind: ep, organ, bell, mallet, brass, bass, or anything else."""
    if kind == "organ":
        bars = [rng.choice([0, 0.3, 0.6, 1.0]) for _ in DRAWBARS]
        bars[2] = 1.0
        return dict(engine="organ", bars=np.array(bars), click=rng.uniform(0, 0.25))
    ratio, index, fall, ring = {
        "ep": (rng.choice([1, 1, 2]), rng.uniform(0.4, 2.2), rng.uniform(0.15, 0.8),
               rng.uniform(0.8, 3)),
        "bell": (rng.choice([1.41, 2.76, 3.5, 5.4, 7]), rng.uniform(0.5, 3), rng.uniform(0.1, 1.2),
                 rng.uniform(0.5, 3)),
        "mallet": (rng.choice([3.93, 4, 9.2]), rng.uniform(0.4, 1.6), rng.uniform(0.02, 0.08),
                   rng.uniform(0.15, 0.6)),
        "brass": (1, rng.uniform(1, 3.5), rng.uniform(2, 5), 9.0),
        "bass": (rng.choice([0.5, 1, 1, 2, 3]), rng.uniform(0.7, 4), rng.uniform(0.05, 0.5),
                 rng.uniform(0.5, 4)),
    }.get(kind, (rng.choice([0.5, 1, 1.5, 2, 3, 3.01, 7]), rng.uniform(0.3, 4),
                 rng.uniform(0.05, 1.5), rng.uniform(0.2, 4)))
    return dict(engine="fm", ratio=ratio, index=index, fall=fall, ring=ring,
                rise=rng.uniform(0.03, 0.12) if kind == "brass" else 0.003,
                tine=rng.uniform(0, 0.4) if kind in ("ep", "mallet") else 0.0,
                bite=rng.choice([0, 0, rng.uniform(0.5, 2)]), spread=rng.uniform(0, 4))


def tone(midi: float, duration: float, patch: Tone, nr: np.random.Generator) -> np.ndarray:
    """One note, float32 [samples, 2], with a short release after `duration` s."""
    release = int(0.12 * SR)
    n = int(duration * SR) + release
    t = np.arange(n) / SR
    hz = 440 * 2 ** ((midi - 69) / 12)
    if patch["engine"] == "organ":
        y = np.zeros(n)
        for bar, level in zip(DRAWBARS, patch["bars"], strict=True):
            if level and hz * bar < 9000:
                y += level * np.sin(2 * np.pi * hz * bar * t + nr.uniform(0, 6))
        y *= np.minimum(t / 0.006, 1) / (patch["bars"].sum() + 1e-9)
        y[:400] += patch["click"] * nr.normal(0, 0.3, 400)[: len(y[:400])] * np.linspace(1, 0, 400)
        out = np.stack([y, y], 1)
    else:
        index = patch["index"] * min(1.0, (3500 / hz) ** 0.6)
        shape = np.exp(-t / patch["fall"]) * np.minimum(t / patch["rise"], 1)
        sides = []
        for cents in (-patch["spread"], patch["spread"]):
            w = 2 * np.pi * hz * 2 ** (cents / 1200) * t
            mod = index * shape * np.sin(w * patch["ratio"] + patch["bite"] * np.sin(w))
            y = np.sin(w + mod)
            if patch["tine"] and hz * 14 < 18000:
                y += patch["tine"] * np.sin(14 * w) * np.exp(-t / 0.04)
            sides.append(y * np.exp(-t / patch["ring"]) * np.minimum(t / patch["rise"], 1))
        out = np.stack(sides, 1)
    out[n - release:] *= np.linspace(1, 0, release)[:, None] ** 2
    return (0.4 * out).astype(np.float32)
