"""The `other` stem: two to five accompanying and leading parts, each with its own channel strip."""

from __future__ import annotations

import numpy as np

from model.render_songs import effects as fx
from model.render_songs.parts import Note, accompaniment
from model.render_songs.synth import random_patch, synth
from model.render_songs.take import Take, level

# General MIDI programs of the parts that come from the soundfont
PROGRAMS = {
    "piano": [0, 1, 3], "ep": [4, 5, 2], "organ": [16, 17, 18, 19], "clav": [7, 6],
    "strum": [24, 25], "clean": [26, 27, 28], "dist": [29, 30], "lead_gtr": [29, 30, 27],
    "pad": [88, 89, 90, 91, 94, 95, 48], "strings": [48, 49, 50, 44], "pad_synth": [89, 90, 91],
    "brass": [61, 62, 63, 56, 57], "sax": [65, 66, 64, 73, 71], "bell": [9, 10, 11, 14, 108],
    "marimba": [12, 13, 45, 46], "arp": [80, 81, 87, 98, 46], "stab": [81, 90, 63],
    "lead_synth": [80, 81, 84, 87],
}
PATCHES = {"stab": "stab", "pad_synth": "pad", "arp": "pluck", "lead_synth": "lead"}
LEADS = ("lead_gtr", "lead_synth", "sax", "bell")
LEVELS_DB = {"pad": -5, "pad_synth": -4, "strings": -4, "bell": -5, "arp": -3, "lead_gtr": 0,
             "sax": 0, "lead_synth": -1, "dist": 1}
GUITAR, PIANO, SAX = ("emily", "pluck"), ("headroom", "note"), ("alto", "sustain")
LOWEST_STRING = 40


def render(take: Take) -> np.ndarray:
    """[n, 2], at any level."""
    rng, song = take.rng, take.song
    pool = list(dict.fromkeys(song.g["parts"]))
    weights = [song.g["parts"].count(part) for part in pool]
    parts: list[str] = []
    for _ in range(rng.choice([2, 3, 3, 4, 4, 5])):
        part = rng.choices(pool, weights)[0]
        if part not in parts:
            parts.append(part)
    take.notes["parts"] = parts
    dense = {section["id"]: section["dense"] for section in song.section}
    spread, out = rng.uniform(0.1, 0.4), take.empty()
    for k, kind in enumerate(parts):
        on = {i for i in sorted(dense) if k == 0 or rng.random() < dense[i]}
        notes = accompaniment(song, kind, on)
        if notes:
            out += _strip(take, kind, _play(take, kind, notes), spread)
    return fx.width(out, rng.uniform(0.7, 1.4))


def _strip(take: Take, kind: str, x: np.ndarray, spread: float) -> np.ndarray:
    """The part's channel: tone, dynamics, place, room and level."""
    rng, nr = take.rng, take.nr
    treble = rng.choice([None, None, rng.uniform(5000, 14000)])
    x = fx.random_eq(fx.cut(x, rng.uniform(50, 160), treble), nr, 2.5)
    if rng.random() < 0.3:
        x = fx.compress(x, -rng.uniform(8, 20), rng.uniform(2, 5))
    if kind != "dist":
        x = fx.pan(x, 0.5 + rng.choice([-1, 1]) * rng.uniform(0, spread))
    sustained = kind in ("stab", "pad_synth", "pad", "strings")
    if sustained and take.song.genre == "house" and rng.random() < 0.7:
        x = fx.pump(x, take.kick_times(), rng.uniform(0.4, 0.9), rng.uniform(0.15, 0.35))
    wet = rng.uniform(0.03, 0.3) * (0.5 if kind == "dist" else 1)
    x = fx.reverb(x, nr, rng.uniform(0.4, 2.2), wet, bright=rng.uniform(0.2, 0.9))
    return level(x, -20 + LEVELS_DB.get(kind, -1) + nr.normal(0, 2.2))


def _play(take: Take, kind: str, notes: list[Note]) -> np.ndarray:
    rng, nr, corpus, n = take.rng, take.nr, take.corpus, take.n
    fretted = [(t, d, m if m >= LOWEST_STRING else m + 12, v) for t, d, m, v in notes]
    if kind == "dist" and take.has(*GUITAR):
        return _distorted(take, fretted)
    if kind in ("clean", "lead_gtr") and take.has(*GUITAR) and rng.random() < 0.75:
        take.sources.use(f"instrument/{GUITAR[0]}")
        x = corpus.play(GUITAR, fretted, n, rng, nr)
        if kind == "lead_gtr":
            x = fx.amp(x, rng.uniform(2, 20), nr)
        elif rng.random() < 0.4:
            x = fx.chorus(x, nr, wet=rng.uniform(0.3, 0.8), rate=rng.uniform(0.3, 1.5))
    elif kind == "piano" and take.has(*PIANO) and rng.random() < 0.6:
        take.sources.use(f"instrument/{PIANO[0]}")
        x = corpus.play(PIANO, notes, n, rng, nr, 0.005, release=0.25)
    elif kind == "sax" and take.has(*SAX) and rng.random() < 0.6:
        take.sources.use(f"instrument/{SAX[0]}")
        x = corpus.play(SAX, notes, n, rng, nr, 0.01)
    elif (kind in PATCHES and rng.random() < 0.8) or not take.programs(PROGRAMS[kind]):
        x = synth(random_patch(PATCHES.get(kind, "pluck"), rng), notes, n, nr)
    else:
        number = rng.choice(take.programs(PROGRAMS[kind]))
        take.sources.use(f"program/{number}")
        loose = [(t + nr.normal(0, 0.003), d, m, v) for t, d, m, v in notes]
        x = corpus.program(number, loose, n)
        if kind in ("dist", "lead_gtr", "organ") and rng.random() < 0.4:
            x = fx.saturate(x, rng.uniform(1, 4))
        if rng.random() < 0.6:
            x = fx.chorus(x, nr, wet=rng.uniform(0.2, 0.7), rate=rng.uniform(0.3, 2))
    if rng.random() < (0.5 if kind in LEADS else 0.15):
        x = fx.delay(x, take.song.beat * rng.choice([0.5, 0.75, 1, 0.333]), rng.uniform(0.2, 0.5),
                     rng.uniform(0.1, 0.35), rng.random() < 0.7)
    return x


def _distorted(take: Take, notes: list[Note]) -> np.ndarray:
    """A driven guitar, most often played twice and panned apart."""
    rng, nr, corpus = take.rng, take.nr, take.corpus
    take.sources.use(f"instrument/{GUITAR[0]}")
    muted = rng.random() < 0.4
    drive, out = rng.uniform(3, 30), take.empty()
    for side in (0.08, 0.92) if rng.random() < 0.75 else (0.4,):
        x = corpus.play(GUITAR, notes, take.n, rng, nr, 0.006)
        if muted:
            chugs = [(t, 0.06, m, 0.6) for t, _, m, _ in notes]
            x = x + fx.cut(corpus.play(GUITAR, chugs, take.n, rng, nr, 0.006), None, 900)
        mono = fx.amp(x, drive, nr).mean(1, keepdims=True)
        out = out + fx.pan(np.repeat(mono, 2, 1), side)
    return out
