"""The `other` stem: accompanying and leading parts, each with its own channel, and scenery."""

from __future__ import annotations

import numpy as np

from model.render_songs import effects as fx
from model.render_songs import guitar
from model.render_songs.corpus import put
from model.render_songs.parts import Note, accompaniment
from model.render_songs.synth import random_patch, sweep, synth
from model.render_songs.take import Take, level
from model.render_songs.tones import random_tone

# General MIDI programs of the parts that come from the soundfont
PROGRAMS = {
    "piano": [0, 1, 2, 3], "ep": [4, 5, 2], "organ": [16, 17, 18, 19, 20, 21], "clav": [7, 6],
    "strum": [24, 25], "clean": [26, 27, 28], "dist": [29, 30], "lead_gtr": [29, 30, 27, 31],
    "pad": [88, 89, 90, 91, 92, 93, 94, 95, 48], "strings": [48, 49, 50, 51, 44, 45],
    "pad_synth": [89, 90, 91, 95], "brass": [61, 62, 63, 56, 57, 60],
    "sax": [65, 66, 64, 67, 73, 71], "bell": [9, 10, 11, 14, 108, 98, 8],
    "marimba": [12, 13, 45, 46, 114, 115], "arp": [80, 81, 87, 98, 46, 107], "stab": [81, 90, 63],
    "lead_synth": [80, 81, 84, 87, 82, 83],
    "solo": [40, 41, 42, 56, 57, 58, 59, 68, 69, 70, 71, 72, 73, 74, 75, 22, 21, 78, 79, 110, 111],
    "plucked": [15, 24, 46, 104, 105, 106, 107, 108, 45],
}
# The synthesiser's kinds, and how often it plays a part that the soundfont has too
PATCHES = {"stab": ("stab", 0.8), "pad_synth": ("pad", 0.9), "arp": ("pluck", 0.8),
           "lead_synth": ("lead", 0.85), "pad": ("pad", 0.4), "strings": ("string", 0.3),
           "brass": ("brass", 0.3), "clav": ("pluck", 0.3)}
TONES = {"ep": ("ep", 0.5), "organ": ("organ", 0.5), "bell": ("bell", 0.5),
         "marimba": ("mallet", 0.4)}
GUITARS = {"dist": 0.9, "lead_gtr": 0.85, "clean": 0.85, "strum": 0.6}
LEADS = ("lead_gtr", "lead_synth", "sax", "bell", "solo")
ANYWHERE = ("solo", "plucked", "pad_synth", "strings", "arp", "ep", "lead_synth", "clean")
LEVELS_DB = {"pad": -5, "pad_synth": -4, "strings": -4, "bell": -5, "arp": -3, "lead_gtr": 0,
             "sax": 0, "solo": -1, "plucked": -3, "lead_synth": -1, "dist": 1}
PIANO, SAX = ("headroom", "note"), ("alto", "sustain")


def render(take: Take) -> np.ndarray:
    """[n, 2], at any level."""
    rng, song = take.rng, take.song
    pool = list(dict.fromkeys(song.g["parts"]))
    weights = [song.g["parts"].count(part) for part in pool]
    parts: list[str] = []
    for _ in range(rng.choice([1, 2, 3, 3, 4, 4, 5, 6])):
        part = rng.choices(pool, weights)[0] if rng.random() < 0.8 else rng.choice(ANYWHERE)
        if part not in parts or part in ("dist", "clean", "strum"):  # guitars come in pairs
            parts.append(part)
    take.notes["parts"] = parts
    dense = {section["id"]: section["dense"] for section in song.section if section["other"]}
    spread, out = rng.uniform(0.1, 0.4), take.empty()
    for k, kind in enumerate(parts):
        on = {i for i in sorted(dense) if k == 0 or rng.random() < dense[i]}
        notes = accompaniment(song, kind, on)
        if notes:
            out += _strip(take, kind, _play(take, kind, notes), spread)
    if rng.random() < 0.35:
        out += _scenery(take)
    return fx.width(out, rng.uniform(0.6, 1.4))


def _strip(take: Take, kind: str, x: np.ndarray, spread: float) -> np.ndarray:
    """The part's channel: tone, dynamics, place, room and level."""
    rng, nr = take.rng, take.nr
    treble = rng.choice([None, None, rng.uniform(3000, 14000)])
    x = fx.random_eq(fx.cut(x, rng.uniform(40, 200), treble), nr, 2.8)
    if rng.random() < 0.35:
        x = fx.compress(x, -rng.uniform(8, 24), rng.uniform(2, 6))
    if rng.random() < 0.12:
        x = fx.saturate(x, rng.uniform(0.5, 3))
    if kind != "dist":
        x = fx.pan(x, 0.5 + rng.choice([-1, 1]) * rng.uniform(0, spread))
    sustained = kind in ("stab", "pad_synth", "pad", "strings", "lead_synth")
    if sustained and take.song.genre in ("house", "pop", "hiphop") and rng.random() < 0.5:
        x = fx.pump(x, take.kick_times(), rng.uniform(0.4, 0.9), rng.uniform(0.15, 0.35))
    wet = rng.choice([0, rng.uniform(0.02, 0.12), rng.uniform(0.1, 0.45)])
    if wet:
        wet *= 0.5 if kind == "dist" else 1
        x = fx.reverb(x, nr, rng.uniform(0.3, 3.0), wet, bright=rng.uniform(0.2, 0.9))
    return level(x, -20 + LEVELS_DB.get(kind, -1) + nr.normal(0, 2.5))


def _play(take: Take, kind: str, notes: list[Note]) -> np.ndarray:
    rng, nr, corpus, n = take.rng, take.nr, take.corpus, take.n
    programs = take.programs(PROGRAMS[kind])
    if rng.random() < GUITARS.get(kind, 0):
        x = guitar.play(take, kind, notes)
    elif kind == "piano" and take.has(*PIANO) and rng.random() < 0.6:
        take.sources.use(f"instrument/{PIANO[0]}")
        x = corpus.play(PIANO, notes, n, rng, nr, 0.005, release=0.25)
    elif kind == "sax" and take.has(*SAX) and rng.random() < 0.6:
        take.sources.use(f"instrument/{SAX[0]}")
        x = corpus.play(SAX, notes, n, rng, nr, 0.01)
    elif rng.random() < TONES.get(kind, ("", 0.0))[1]:
        x = _keys(take, kind, synth(random_tone(TONES[kind][0], rng), notes, n, nr))
    elif not programs or rng.random() < PATCHES.get(kind, ("", 0.0))[1]:
        x = synth(random_patch(PATCHES.get(kind, ("pluck", 0))[0], rng), notes, n, nr)
        if rng.random() < 0.25:
            x = rng.choice([guitar.modulated(take, x), fx.saturate(x, rng.uniform(1, 5))])
    else:
        number = rng.choice(programs)
        take.sources.use(f"program/{number}")
        loose = [(t + nr.normal(0, 0.004), d, m, v) for t, d, m, v in notes]
        x = corpus.program(number, loose, n)
        if kind in ("dist", "lead_gtr", "organ") and rng.random() < 0.4:
            x = fx.saturate(x, rng.uniform(1, 4))
        if rng.random() < 0.6:
            x = fx.chorus(x, nr, wet=rng.uniform(0.2, 0.7), rate=rng.uniform(0.3, 2))
    if rng.random() < (0.5 if kind in LEADS else 0.15):
        x = fx.delay(x, take.song.beat * rng.choice([0.5, 0.75, 1, 0.333]), rng.uniform(0.2, 0.5),
                     rng.uniform(0.1, 0.35), rng.random() < 0.7)
    return x


def _keys(take: Take, kind: str, x: np.ndarray) -> np.ndarray:
    """What electric keyboards go through: a rotary loudspeaker, a tremolo, an amplifier."""
    rng, nr = take.rng, take.nr
    if kind == "organ" and rng.random() < 0.7:
        rate = rng.choice([rng.uniform(0.6, 1.2), rng.uniform(5.5, 7.5)])
        x = fx.chorus(fx.tremolo(x, rate, 0.35, True), nr, depth=0.0007, base=0.003, rate=rate,
                      wet=0.7)
    elif kind == "ep":
        x = guitar.modulated(take, x)
    if rng.random() < 0.4:
        x = fx.saturate(x, rng.uniform(0.5, 3))
    return x


def _scenery(take: Take) -> np.ndarray:
    """What is not notes: risers into sections and falls from them, or a bed of noise."""
    rng, nr, song, out = take.rng, take.nr, take.song, take.empty()
    if rng.random() < 0.25:  # tape, vinyl, rain
        low = rng.uniform(100, 3000)
        out = fx.cut(nr.normal(0, 0.02, out.shape).astype(np.float32), low, low * 4, 1)
        crackle = (nr.random(len(out)) < 4e-5)[:, None] * nr.normal(0, 1, out.shape)
        return level(out + fx.cut(crackle.astype(np.float32), 800), rng.uniform(-48, -34))
    duration, tonal = rng.choice([1, 2, 4]) * 4 * song.beat, rng.random() < 0.3
    up, down = sweep(duration, True, tonal, nr), sweep(duration / 2, False, False, nr)
    for bar, section in enumerate(song.section):
        if section["at"] == 0 and bar:
            put(out, song.t(bar, 0) - duration, up)
            if rng.random() < 0.5:
                put(out, song.t(bar, 0), down)
    return level(fx.reverb(out, nr, 1.5, 0.2), rng.uniform(-34, -22))
