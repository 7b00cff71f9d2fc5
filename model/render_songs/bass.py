"""The bass stem: one player or synthesiser, its amplifier and its compressor."""

from __future__ import annotations

import numpy as np

from model.render_songs import effects as fx
from model.render_songs.corpus import fade_out, put
from model.render_songs.guitar import bent, pluck
from model.render_songs.parts import Note, bass_part
from model.render_songs.synth import random_patch, sub808, synth
from model.render_songs.take import Take

# How a genre's basses are played: instrument and articulation of the corpus
SAMPLED = {"growly": ("growly", "sustain"), "picked": ("growly", "sustain"),
           "growly_st": ("growly", "staccato"), "upright": ("upright", "pizz")}
PROGRAMS = [32, 33, 34, 35, 36, 37, 38, 39, 43, 58, 87]
# What stands in, where a sampled bass is not open to the song or only now and then
STRINGS = ("upright", "fretless", "fingered")
ANY = (*SAMPLED, *STRINGS, "808", "synth", "synth", "gm")
LOWEST_STRING = 28


def render(take: Take) -> np.ndarray:
    """[n, 2], at any level."""
    rng, nr, song = take.rng, take.nr, take.song
    style, notes = bass_part(song, take.drums)
    kind = rng.choice(song.g["bass"] if rng.random() < 0.75 else ANY)
    take.notes["bass"] = f"{kind}/{style}"
    if not notes:
        return take.empty()
    x = _play(take, kind, notes)
    x = fx.width(fx.random_eq(fx.cut(x, 28), nr, 2.4, 60, 3500), rng.choice([0, 0, 0, 0.3, 1]))
    if rng.random() < 0.7:
        x = fx.compress(x, -rng.uniform(10, 24), rng.uniform(2, 8))
    if rng.random() < 0.15:
        x = fx.chorus(x, nr, wet=rng.uniform(0.15, 0.4))
    if rng.random() < 0.12:  # a room, or the hall of a live recording
        x = fx.reverb(x, nr, rng.uniform(0.2, 1.2), rng.uniform(0.02, 0.12))
    if song.genre in ("house", "pop", "hiphop") and rng.random() < 0.5:
        x = fx.pump(x, take.kick_times(), rng.uniform(0.3, 0.8), rng.uniform(0.08, 0.25))
    return x


def _play(take: Take, kind: str, notes: list[Note]) -> np.ndarray:
    rng, nr, n = take.rng, take.nr, take.n
    programs = take.programs(PROGRAMS)
    if kind in SAMPLED and take.has(*SAMPLED[kind]):
        key = SAMPLED[kind]
        take.sources.use(f"instrument/{key[0]}")
        upright = kind == "upright"
        fit = [(t, d, m if m >= LOWEST_STRING else m + 12, v) for t, d, m, v in notes]
        x = take.corpus.play(key, notes if upright else fit, n, rng, nr,
                             jitter=0.008 if upright else 0.004)
        if kind == "picked":
            x = fx.filt(x, fx.peaking(rng.uniform(1500, 3000), rng.uniform(3, 8)))
        return x if upright else _amplified(take, x)
    if kind in SAMPLED or kind in STRINGS:
        return _strings(take, kind if kind in STRINGS else rng.choice(STRINGS), notes)
    if kind == "808":
        return sub808(notes, n, rng.random() < 0.7, rng.uniform(0.6, 4), rng.uniform(0.4, 1.5))
    if kind == "synth" or not programs:
        x = synth(random_patch("bass", rng), notes, n, nr)
        if rng.random() < 0.2:  # an octave above, as a second oscillator
            above = [(t, d, m + 12, v * 0.4) for t, d, m, v in notes]
            x = x + synth(random_patch("bass", rng), above, n, nr)
        if rng.random() < 0.15:
            x = fx.swept(x, nr, rng.choice([0.25, 0.5, 1, 2]) / take.song.beat)
        return fx.saturate(x, rng.uniform(0.5, 4)) if rng.random() < 0.4 else x
    number = rng.choice(programs)
    take.sources.use(f"program/{number}")
    x = take.corpus.program(number, notes, n)
    return _amplified(take, x) if rng.random() < 0.4 else x


def _strings(take: Take, kind: str, notes: list[Note]) -> np.ndarray:
    """Plucked bass strings, computed: fingered, fretless (slides, a mwah) or upright (a body)."""
    rng, nr, out = take.rng, take.nr, take.empty()
    bright, decay, at = {
        "upright": (rng.uniform(0.06, 0.2), rng.uniform(0.6, 1.6), rng.uniform(0.2, 0.4)),
        "fretless": (rng.uniform(0.08, 0.3), rng.uniform(1.2, 3), rng.uniform(0.1, 0.25)),
        "fingered": (rng.uniform(0.15, 0.7), rng.uniform(0.8, 4), rng.uniform(0.06, 0.2)),
    }[kind]
    before = notes[0][2]
    for t, d, m, v in notes:
        y = pluck(m, d + 0.1, nr, bright * (0.6 + 0.4 * v), decay, at) * np.float32(v)
        slides = kind != "fingered" and 0 < abs(before - m) <= 7
        if slides and rng.random() < 0.35:
            y = bent(y, nr, float(before - m), rng.uniform(0.04, 0.15))
        if kind == "upright":  # finger on wood
            knock = nr.normal(0, 1, (600, 2)) * np.exp(-np.arange(600) / 120)[:, None]
            y[:600] += (0.02 * v * knock).astype(np.float32)[: len(y)]
        put(out, t + nr.normal(0, 0.006), fade_out(y, 2500))
        before = m
    out = fx.filt(out, fx.shelf(rng.uniform(150, 350), rng.uniform(4, 11), False))
    if kind == "upright":
        return fx.filt(out, np.concatenate([
            fx.peaking(rng.uniform(55, 80), rng.uniform(2, 7), 2),
            fx.peaking(rng.uniform(95, 140), rng.uniform(2, 8), 2),
            fx.peaking(rng.uniform(180, 320), rng.uniform(-3, 6), 2),
            fx.peaking(rng.uniform(600, 1200), rng.uniform(-2, 6), 1),
            fx.passing(rng.uniform(2200, 7000), False)]))
    if kind == "fretless":
        out = fx.filt(out, fx.peaking(rng.uniform(500, 1100), rng.uniform(3, 9), 1.5))
    return _amplified(take, out)


def _amplified(take: Take, x: np.ndarray) -> np.ndarray:
    """The line itself, a driven band of it beside it, or a loudspeaker."""
    rng, nr = take.rng, take.nr
    which = rng.choice(["line", "line", "driven", "cabinet"])
    if which == "driven":
        driven = fx.cut(fx.saturate(x, rng.uniform(1, 8)), None, rng.uniform(2000, 7000))
        return x + rng.uniform(0.3, 1.2) * driven
    if which == "cabinet":
        return fx.filt(x, np.concatenate([
            fx.passing(rng.uniform(35, 60), True), fx.peaking(rng.uniform(70, 130), 4, 1),
            fx.peaking(rng.uniform(300, 600), -rng.uniform(0, 8), 1),
            fx.peaking(nr.uniform(1200, 2500), rng.uniform(-2, 6), 1),
            fx.passing(rng.uniform(2500, 5500), False)]))
    return x
