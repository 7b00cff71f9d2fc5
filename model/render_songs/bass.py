"""The bass stem: one player or synthesiser, its amplifier and its compressor."""

from __future__ import annotations

import numpy as np

from model.render_songs import effects as fx
from model.render_songs.parts import Note, bass_part
from model.render_songs.synth import random_patch, sub808, synth
from model.render_songs.take import Take

# How a genre's basses are played: instrument and articulation of the corpus
SAMPLED = {"growly": ("growly", "sustain"), "picked": ("growly", "sustain"),
           "growly_st": ("growly", "staccato"), "upright": ("upright", "pizz")}
PROGRAMS = [32, 33, 34, 35, 36, 37, 38, 39, 87]
LOWEST_STRING = 28


def render(take: Take) -> np.ndarray:
    """[n, 2], at any level."""
    rng, nr, song = take.rng, take.nr, take.song
    style, notes = bass_part(song, take.drums)
    able = [name for name in song.g["bass"] if _able(take, name)]
    kind = rng.choice(able or [name for name in ("gm", "synth") if _able(take, name)])
    take.notes["bass"] = f"{kind}/{style}"
    if not notes:
        return take.empty()
    x = _play(take, kind, notes)
    x = fx.width(fx.random_eq(fx.cut(x, 28), nr, 1.8, 60, 3000), rng.choice([0, 0, 0.3]))
    if rng.random() < 0.7:
        x = fx.compress(x, -rng.uniform(10, 24), rng.uniform(2, 6))
    if rng.random() < 0.15:
        x = fx.chorus(x, nr, wet=rng.uniform(0.15, 0.4))
    if song.genre in ("house", "pop", "hiphop") and rng.random() < 0.5:
        x = fx.pump(x, take.kick_times(), rng.uniform(0.3, 0.8), rng.uniform(0.08, 0.25))
    return x


def _able(take: Take, kind: str) -> bool:
    if kind in SAMPLED:
        return take.has(*SAMPLED[kind])
    return bool(take.programs(PROGRAMS)) if kind == "gm" else True


def _play(take: Take, kind: str, notes: list[Note]) -> np.ndarray:
    rng, nr, n = take.rng, take.nr, take.n
    if kind in SAMPLED:
        key = SAMPLED[kind]
        take.sources.use(f"instrument/{key[0]}")
        if kind == "upright":
            return take.corpus.play(key, notes, n, rng, nr, jitter=0.008)
        notes = [(t, d, m if m >= LOWEST_STRING else m + 12, v) for t, d, m, v in notes]
        x = take.corpus.play(key, notes, n, rng, nr)
        if kind == "picked":
            x = fx.filt(x, fx.peaking(rng.uniform(1500, 3000), rng.uniform(3, 8)))
        if rng.random() < 0.45:
            driven = fx.cut(fx.saturate(x, rng.uniform(1, 5)), None, rng.uniform(2500, 7000))
            x = 0.5 * x + 0.5 * driven
        return x
    if kind == "808":
        return sub808(notes, n, rng.random() < 0.7, rng.uniform(1, 4), rng.uniform(0.4, 1.5))
    if kind == "synth":
        x = synth(random_patch("bass", rng), notes, n, nr)
        return fx.saturate(x, rng.uniform(1, 3)) if rng.random() < 0.3 else x
    number = rng.choice(take.programs(PROGRAMS))
    take.sources.use(f"program/{number}")
    return take.corpus.program(number, notes, n)
