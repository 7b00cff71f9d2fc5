"""The vocals stem: lead, doubles, harmonies and held backing chords by one singer."""

from __future__ import annotations

import itertools
import zlib

import numpy as np

from model.render_songs import effects as fx
from model.render_songs.corpus import fade_out, put, resample
from model.render_songs.effects import SR
from model.render_songs.singer import Singer
from model.render_songs.song import Song
from model.render_songs.take import Take
from model.render_songs.voice import FRAME_S, Sung

SPOKEN_GENRES = ("hiphop", "house", "pop", "metal")
BREAK_S = 0.15  # a longer rest starts a new breath


def render(take: Take) -> np.ndarray:
    """[n, 2], at any level."""
    rng, nr, song = take.rng, take.nr, take.song
    singer = Singer(take.corpus, take.sources, rng)
    mode = "sung"
    if song.genre in SPOKEN_GENRES:
        mode = rng.choices(["sung", "spoken", "chops"], [0.86, 0.09, 0.05])[0]
    take.notes["singer"], take.notes["vocal_mode"] = singer.label, mode
    lead, back = take.empty(), take.empty()
    doubled, harmony, held = rng.random() < 0.45, rng.random() < 0.45, rng.random() < 0.2
    words_repeat = rng.random() < 0.5  # phrases of a repeated section repeat their words
    for i, phrase in enumerate(song.phrases):
        line = zlib.crc32(repr(phrase["slot"]).encode()) % 97 if words_repeat else i
        if mode == "spoken":
            _speak(song, singer, phrase["notes"], i, lead)
            continue
        notes = in_range(phrase["notes"], song, singer.centre, phrase["lift"])
        syllable = 0
        for breath, segment in enumerate(_breaths(notes)):
            if mode == "chops":
                _chop(singer, segment, line, breath, lead)
                continue
            while segment:
                sung = singer.phrase(segment, nr, line, syllable)
                if sung is None:
                    break
                t, y, used = sung
                put(lead, t, _stereo(y, 0.1))
                if phrase["section"] == "chorus":
                    _back(take, singer, segment[:used], line, syllable, doubled, harmony, back)
                syllable += used
                segment = segment[used:]
    if held and mode == "sung":
        _held_chords(take, singer, back)
    return _bus(take, lead, back)


def in_range(notes: list[tuple[float, float, int]], song: Song, centre: float,
             lift: float = 0) -> list[Sung]:
    """Scale degrees to MIDI numbers in the singer's range, with the contour of the phrase."""
    pitches = [song.deg(degree, 4) for _, _, degree in notes]
    shift = 12 * round((centre + lift - sum(pitches) / len(pitches)) / 12)
    return [(t, d, int(np.clip(m + shift, centre - 13, centre + 16)))
            for (t, d, _), m in zip(notes, pitches, strict=True)]


def third(midi: int, song: Song, up: bool) -> int:
    """The diatonic third (or, where the scale has none, the fourth) above or below."""
    scale = {(song.key + step) % 12 for step in song.scale}
    for step in (3, 4, 2) if up else (-3, -4, -5):
        if (midi + step) % 12 in scale:
            return midi + step
    return midi + (5 if up else -2)


def _breaths(notes: list[Sung]) -> list[list[Sung]]:
    """Cuts a phrase where the singer breathes, and after fourteen notes at the latest."""
    out = [[notes[0]]]
    for before, note in itertools.pairwise(notes):
        if note[0] - before[0] - before[1] < BREAK_S and len(out[-1]) < 14:
            out[-1].append(note)
        else:
            out.append([note])
    return out


def _stereo(y: np.ndarray, gain: float) -> np.ndarray:
    return np.repeat(y[:, None] * np.float32(gain), 2, 1)


def _speak(song: Song, singer: Singer, notes: list[tuple[float, float, int]], i: int,
           out: np.ndarray) -> None:
    """Rap-like: real speech whose phrases start on the beat and fill the phrase's time."""
    x = singer.lines[i % len(singer.lines)].x
    room = notes[-1][0] + notes[-1][1] - notes[0][0] + song.beat
    pace = max(0.85, min(1.25, len(x) / SR / room))
    y = resample(np.repeat(x[:, None], 2, 1), pace, int(room * SR))
    put(out, notes[0][0], fade_out(y * (0.1 / fx.rms(y)), 3000))


def _chop(singer: Singer, notes: list[Sung], line: int, which: int, out: np.ndarray) -> None:
    """One syllable, transposed onto every note like a sampler does."""
    u = singer.lines[line % len(singer.lines)]
    at = u.nuclei[which % len(u.nuclei)]
    pitch = float(np.median(u.f0[max(at - 3, 0):at + 4]))
    x = u.x[max(int((at * FRAME_S - 0.06) * SR), 0):int((at * FRAME_S + 0.3) * SR)]
    if pitch <= 50 or len(x) <= 2000:
        return
    for t, duration, midi in notes:
        ratio = float(np.clip(440 * 2 ** ((midi - 69) / 12) / pitch, 0.5, 2))
        y = resample(np.repeat(x[:, None], 2, 1), ratio, int(duration * SR) + 500)
        put(out, t, fade_out(y * (0.1 / fx.rms(y)), 900))


def _back(take: Take, singer: Singer, notes: list[Sung], line: int, syllable: int, doubled: bool,
          harmony: bool, out: np.ndarray) -> None:
    """Doubles left and right, and a harmony, of what the lead sings."""
    rng, nr = take.rng, take.nr
    extra: list[tuple[list[Sung], float, float]] = []
    if doubled:
        extra += [(notes, 0.12, 0.5), (notes, 0.88, 0.5)]
    if harmony:
        up = rng.random() < 0.6
        extra.append(([(t, d, third(m, take.song, up)) for t, d, m in notes],
                      rng.uniform(0.2, 0.8), 0.55))
    for voice, place, gain in extra:
        sung = singer.phrase(voice, nr, line, syllable, formant=rng.uniform(0.96, 1.04), loose=1.0)
        if sung is not None:
            put(out, sung[0] + nr.normal(0, 0.012), fx.pan(_stereo(sung[1], 0.1 * gain), place))


def _held_chords(take: Take, singer: Singer, out: np.ndarray) -> None:
    """Three voices on the chords of choruses and bridges."""
    song = take.song
    held = [(song.t(bar, 0), 3.6 * song.beat, song.tones(bar, 4, 3))
            for bar, section in enumerate(song.section)
            if section["name"] in ("chorus", "bridge")]
    for voice in range(3):
        for at in range(0, len(held), 4):
            notes = [(t, d, m[voice] - 12 * (m[voice] > singer.centre + 9))
                     for t, d, m in held[at:at + 4]]
            sung = singer.phrase(notes, take.nr, 91 + voice, voice, breath=0.1,
                                 formant=take.rng.uniform(0.95, 1.05))
            if sung is not None:
                put(out, sung[0], fx.pan(_stereo(sung[1], 0.035), 0.2 + 0.3 * voice))


def _bus(take: Take, lead: np.ndarray, back: np.ndarray) -> np.ndarray:
    rng, nr, song = take.rng, take.nr, take.song
    x = fx.random_eq(fx.cut(lead, rng.uniform(80, 170), None, 4), nr, 2.2)
    x = fx.compress(x, -rng.uniform(14, 28), rng.uniform(2.5, 6), 0.004, 0.1)
    if rng.random() < 0.25 or song.genre == "metal":
        x = 0.5 * x + 0.5 * fx.saturate(x, rng.uniform(1.5, 6))
    if np.abs(back).max() > 0:
        back = fx.compress(fx.random_eq(fx.cut(back, 150), nr, 2), -18, 4)
        x = x + back * fx.db(rng.uniform(-7, 1))
    if rng.random() < 0.4:
        x = fx.delay(x, song.beat * rng.choice([0.25, 0.5, 0.75, 1]), rng.uniform(0.15, 0.45),
                     rng.uniform(0.06, 0.28), rng.random() < 0.6)
    if rng.random() < 0.1:
        x = fx.chorus(x, nr, wet=rng.uniform(0.2, 0.5))
    return fx.reverb(x, nr, rng.uniform(0.4, 2.5), rng.choice([0.02, 0.08, 0.15, 0.25, 0.35]),
                     predelay=rng.uniform(0.005, 0.04), bright=rng.uniform(0.2, 0.8))
