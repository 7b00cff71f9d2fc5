"""The vocals stem: what the lead does (sings, raps, speaks, shouts, is chopped or vocoded), its
doubles and harmonies, and held backing chords."""

from __future__ import annotations

import itertools
import zlib
from dataclasses import replace

import numpy as np

from model.render_songs import effects as fx
from model.render_songs import voice_chain
from model.render_songs.corpus import fade_out, put, resample
from model.render_songs.effects import SR
from model.render_songs.formants import invent
from model.render_songs.singer import REGISTERS, Singer
from model.render_songs.singing import Performance, Sung, again, perform, voice_of
from model.render_songs.song import Song
from model.render_songs.synth import random_patch, synth
from model.render_songs.take import Take

# How likely the modes are beside singing, by genre
MODES = {
    "hiphop": {"rap": 1.1, "spoken": 0.2, "chops": 0.15},
    "house": {"spoken": 0.2, "chops": 0.25, "vocoder": 0.1, "rap": 0.1},
    "pop": {"rap": 0.12, "spoken": 0.06, "chops": 0.08, "vocoder": 0.05},
    "funk": {"rap": 0.12, "shout": 0.1, "vocoder": 0.06},
    "metal": {"shout": 1.0},
    "rock": {"shout": 0.2, "spoken": 0.05},
}
BREAK_S = 0.15  # a longer rest starts a new breath
LONGEST_BREATH = 16  # notes
RECORDED = ("rap", "spoken", "chops", "vocoder")  # modes that need a speaker's recordings


def render(take: Take) -> np.ndarray:
    """[n, 2], at any level."""
    rng, song = take.rng, take.song
    singer = Singer(take.corpus, take.sources, rng, take.nr)
    modes = {"sung": 1.0, **MODES.get(song.genre, {"spoken": 0.04})}
    mode = rng.choices(list(modes), list(modes.values()))[0]
    if mode in RECORDED and not singer.lines:
        mode = "sung"
    take.notes["singer"], take.notes["vocal_mode"] = singer.label, mode
    lead, back = take.empty(), take.empty()
    if mode == "spoken":
        for i, phrase in enumerate(song.phrases):
            _speak(take, singer, phrase["notes"], i, lead)
    elif mode == "vocoder":
        _vocode(take, singer, lead)
    else:
        _sing(take, singer, mode, lead, back)
    if mode == "sung" and rng.random() < 0.35:
        _choir(take, singer, back)
    return voice_chain.bus(take, lead, back, mode)


def in_range(notes: list[tuple[float, float, int]], song: Song, centre: float,
             lift: float = 0) -> list[Sung]:
    """Scale degrees to MIDI numbers in the singer's range, with the contour of the phrase."""
    pitches = [song.deg(degree, 4) for _, _, degree in notes]
    shift = 12 * round((centre + lift - sum(pitches) / len(pitches)) / 12)
    return [(t, d, int(np.clip(m + shift, centre - 13, centre + 16)))
            for (t, d, _), m in zip(notes, pitches, strict=True)]


def harmony(midi: int, song: Song, steps: int) -> int:
    """The note of the song's scale nearest to `steps` semitones away."""
    scale = {(song.key + step) % 12 for step in song.scale}
    near = sorted(range(-2, 3), key=abs)
    return next((midi + steps + k for k in near if (midi + steps + k) % 12 in scale),
                midi + steps)


def breaths(notes: list[Sung]) -> list[list[Sung]]:
    """Cuts notes where the singer breathes, and after LONGEST_BREATH of them at the latest."""
    out = [[notes[0]]]
    for before, note in itertools.pairwise(notes):
        if note[0] - before[0] - before[1] < BREAK_S and len(out[-1]) < LONGEST_BREATH:
            out[-1].append(note)
        else:
            out.append([note])
    return out


def _sing(take: Take, singer: Singer, mode: str, lead: np.ndarray, back: np.ndarray) -> None:
    rng, nr, song = take.rng, take.nr, take.song
    manner = singer.manner
    if mode == "rap":
        manner = replace(manner, spoken=True, effort=rng.uniform(0, 2.5), breath=0.8)
    elif mode == "shout":
        manner = replace(manner, effort=rng.uniform(3, 5), rough=rng.uniform(0.5, 1),
                         air=rng.uniform(0.1, 0.8), vibrato=0.05, drift=2, tuned=False)
    words_repeat = rng.random() < 0.5  # phrases of a repeated section repeat their words
    stack = _stack(take, mode)
    end = 0.0
    for i, phrase in enumerate(song.phrases):
        first = zlib.crc32(repr(phrase["slot"]).encode()) % 97 if words_repeat else 7 * i
        lift = phrase["lift"] + (5 if mode == "shout" else 0)
        notes = in_range(phrase["notes"], song, singer.centre, lift)
        if mode == "rap":
            notes = _flow(take, notes, singer.centre)
        for sung in breaths(notes):
            if mode == "chops":
                _chop(singer, sung, first, lead)
                continue
            phrased, used = perform(singer.words(first, len(sung)), sung, nr, manner,
                                    breath=sung[0][0] - end > 0.5)
            end = sung[-1][0] + sung[-1][1]
            first += used
            put(lead, phrased.start, _stereo(voice_of(phrased, manner.rough, nr), 1))
            if phrase["section"] == "chorus" or rng.random() < 0.12:
                _back(take, phrased, sung, stack, back)


def _stack(take: Take, mode: str) -> list[tuple[int, float, float]]:
    """The voices behind the lead in choruses: (semitones, place, gain); 0 semitones double it."""
    rng = take.rng
    out: list[tuple[int, float, float]] = []
    if rng.random() < 0.5:
        side = rng.uniform(0.05, 0.35)
        out += [(0, 0.5 - side, 0.5), (0, 0.5 + side, 0.5)]
    if mode == "sung" and rng.random() < 0.5:
        for steps in rng.choice([(4,), (-4,), (7,), (4, -5), (12,), (-12,), (4, 7)]):
            out.append((steps, rng.uniform(0.15, 0.85), 0.5))
    return out


def _back(take: Take, lead: Performance, notes: list[Sung], stack: list[tuple[int, float, float]],
          out: np.ndarray) -> None:
    nr = take.nr
    for steps, place, gain in stack:
        shift = np.array([harmony(m, take.song, steps) - m if steps else 0 for _, _, m in notes])
        y = voice_of(again(lead, shift, nr), 0.0, nr)
        y = resample(_stereo(y, gain), nr.uniform(0.985, 1.015))
        put(out, lead.start + nr.normal(0, 0.014), fx.pan(y, place))


def _flow(take: Take, notes: list[Sung], centre: float) -> list[Sung]:
    """Rap: a syllable on most eighths or sixteenths of the phrase, all near the voice's centre."""
    rng, d = take.rng, take.song.beat / 4
    t0, end = notes[0][0], notes[-1][0] + notes[-1][1]
    pattern = rng.choice([[2], [1, 1, 2], [2, 1, 1], [1], [3, 3, 2], [1, 2, 1, 2, 2]])
    out, t, k = [], t0, 0
    while t < end - 0.5 * d and d > 0:
        size = pattern[k % len(pattern)] * d * (1 if d > 0.11 else 2)
        if rng.random() < 0.9:
            out.append((t, size * 0.97, round(centre + (2 if k == 0 else 0))))
        t, k = t + size, k + 1
    return out or notes


def _stereo(y: np.ndarray, gain: float) -> np.ndarray:
    return np.repeat(y[:, None] * np.float32(gain), 2, 1)


def _speak(take: Take, singer: Singer, notes: list[tuple[float, float, int]], i: int,
           out: np.ndarray) -> None:
    """Recorded speech whose phrases start on the beat and fill the phrase's time."""
    x = singer.lines[i % len(singer.lines)].x
    room = notes[-1][0] + notes[-1][1] - notes[0][0] + take.song.beat
    pace = max(0.85, min(1.2, len(x) / SR / room))
    y = resample(_stereo(x, 1), pace, int(room * SR))
    put(out, notes[0][0], fade_out(y * (0.1 / fx.rms(y)), 3000))


def _chop(singer: Singer, notes: list[Sung], first: int, out: np.ndarray) -> None:
    """One syllable, transposed onto every note like a sampler does."""
    line = singer.lines[first % len(singer.lines)]
    which = first % len(line.syllables)
    s, at = line.syllables[which], line.nuclei_s[which]
    pitch = float(s.pitch[s.vowel[1]])
    x = line.x[max(int((at - 0.06) * SR), 0):int((at + 0.3) * SR)]
    if len(x) <= 2000:
        return
    for t, duration, midi in notes:
        ratio = float(np.clip(2 ** ((midi - pitch) / 12), 0.5, 2))
        y = resample(_stereo(x, 1), ratio, int(duration * SR) + 500)
        put(out, t, fade_out(y * (0.1 / fx.rms(y)), 900))


def _vocode(take: Take, singer: Singer, out: np.ndarray) -> None:
    """Speech in bands that open and close a synthesiser's chords."""
    rng, nr, song = take.rng, take.nr, take.song
    speech, chords = take.empty(), []
    for i, phrase in enumerate(song.phrases):
        _speak(take, singer, phrase["notes"], i, speech)
        for t, d, m in in_range(phrase["notes"], song, 57):
            chords += [(t, d + 0.1, m, 0.8), (t, d + 0.1, harmony(m, song, 7), 0.6),
                       (t, d + 0.1, m - 12, 0.7)]
    patch = random_patch("lead", rng) | dict(shape="saw", cutoff=900.0, env=0.0)
    out += voice_chain.vocode(speech, synth(patch, sorted(chords), take.n, nr), nr)


def _choir(take: Take, singer: Singer, out: np.ndarray) -> None:
    """Oohs and aahs: three voices on the chords of choruses and bridges."""
    rng, nr, song = take.rng, take.nr, take.song
    register = REGISTERS[rng.choice(list(REGISTERS))]
    words = (invent(register.vowels, 4, nr, rng.choice(["u", "a", "oa", "o"]), rng.random() < 0.3)
             if rng.random() < 0.6 else [rng.choice(singer.syllables)])
    manner = replace(singer.manner, air=0.15, effort=0.0, rough=0.0, breath=0.0, melisma=0.0,
                     tuned=False)
    held = [(song.t(bar, 0), 3.7 * song.beat, song.tones(bar, 4, 3))
            for bar, section in enumerate(song.section)
            if section["name"] in ("chorus", "bridge") and bar * 4 * song.beat < song.seconds]
    centre = rng.uniform(55, 66)
    for at in range(0, len(held), 4):
        bars = held[at:at + 4]
        low = [m[0] + 12 * round((centre - m[0]) / 12) for _, _, m in bars]
        notes = [(t, d, m) for (t, d, _), m in zip(bars, low, strict=True)]
        first, _ = perform(words, notes, nr, manner)
        for voice in range(3):
            shift = np.array([m[voice] - m[0] for _, _, m in bars])
            y = _stereo(voice_of(again(first, shift, nr), 0.0, nr), 0.4)
            put(out, first.start + nr.normal(0, 0.02), fx.pan(y, 0.15 + 0.35 * voice))
