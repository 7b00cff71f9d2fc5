"""A song's singer: a voice, recorded or invented, brought into a register, and its manner.

A recorded voice is made another person's: its formants are moved, each region by a factor of its
own, sharpened or blunted, and its timbre is tilted and equalised, anew for every song.
"""

from __future__ import annotations

import functools
import random
from dataclasses import dataclass, replace

import numpy as np

from model.render_songs import CorpusError
from model.render_songs.corpus import Corpus
from model.render_songs.formants import invent
from model.render_songs.singing import NEPER, OCTAVES, Manner
from model.render_songs.sources import Sources
from model.render_songs.voice import BINS, HZ, Line, Syllable, analyse, load, smooth

BUDGET_S = 15.0  # how much of a voice is analysed for one song
TRIES = 40
INVENTED = "invented"


@dataclass(frozen=True)
class Speaker:
    """What is known of a voice: lowest pitch (Hz), where its recording's band ends (None: at half
    the sample rate), how likely it sings, whether it is a man's, and whether it consists of sung
    notes instead of speech."""

    floor_hz: float = 70.0
    band_hz: float | None = None
    weight: float = 0.3
    male: bool = False
    sung: bool = False


SPEAKERS = {
    "nathalie": Speaker(90, None, 0.40),
    "kathleen": Speaker(80, None, 0.30),
    "kerstin": Speaker(90, 6200, 0.22),
    "martin": Speaker(60, None, 0.26, male=True, sung=True),
    # of synthetic_speakers.py, where a corpus has them
    "m001": Speaker(60, None, 0.25, male=True),
    **{f"mei_{mood}": Speaker(90, None, 0.07)
       for mood in ("normal", "happy", "sad", "angry", "bashful")},
    "rms": Speaker(55, 7400, 0.15, male=True),
    "awb": Speaker(60, 7400, 0.12, male=True),
    "slt": Speaker(90, 7400, 0.12),
}


@dataclass(frozen=True)
class Register:
    """Where a singer's melodies lie (MIDI) and how the formants of a woman's or a man's speech
    must be scaled to suit; invented singers use the table `vowels` of formants.py."""

    centre: tuple[float, float]
    female: tuple[float, float]
    male: tuple[float, float]
    vowels: str
    weight: float


REGISTERS = {
    "bass": Register((43, 48), (0.73, 0.80), (0.88, 0.97), "bass", 0.14),
    "baritone": Register((48, 53), (0.77, 0.86), (0.93, 1.03), "bass", 0.24),
    "tenor": Register((53, 59), (0.82, 0.92), (0.97, 1.09), "tenor", 0.22),
    "alto": Register((57, 63), (0.92, 1.04), (1.08, 1.17), "alto", 0.24),
    "soprano": Register((62, 69), (0.98, 1.13), (1.12, 1.22), "alto", 0.16),
}


class Singer:
    """One voice for one song.

    `syllables` are what it sings, `lines` its recordings (none where it is invented) and
    `centre` the middle of its range."""

    def __init__(self, corpus: Corpus, sources: Sources, rng: random.Random,
                 nr: np.random.Generator) -> None:
        names = sources.among("voice", corpus.voices)
        if not names:
            raise CorpusError(f"{corpus.root / 'voices'}: no voice that this split may use")
        speakers = {name: SPEAKERS.get(name, Speaker()) for name in names}
        self.register = rng.choices(list(REGISTERS), [r.weight for r in REGISTERS.values()])[0]
        register = REGISTERS[self.register]
        self.centre = rng.uniform(*register.centre)
        self.manner = _manner(rng)
        self.name = rng.choices(names, [speaker.weight for speaker in speakers.values()])[0]
        self.lines: list[Line] = []
        # Invented voices fill in for registers that recordings lack, but judge no network.
        if not sources.held_out and rng.random() < 0.12:
            self.name = INVENTED
            self.syllables = invent(register.vowels, 24, nr)
        else:
            sources.use(f"voice/{self.name}")
            speaker = speakers[self.name]
            self.lines = _lines(corpus, self.name, speaker, rng)
            scale = rng.uniform(*(register.male if speaker.male else register.female))
            change = functools.partial(_changed, warp=_warp(scale, rng), tone=_tone(rng, nr),
                                       contrast=rng.uniform(0.95, 1.35 if scale < 0.9 else 1.2))
            self.syllables = [change(s) for line in self.lines for s in line.syllables]
            if speaker.sung:
                self.syllables = _with_consonants(self.syllables, corpus, sources, rng)
        self.label = f"{self.name} {self.register}"

    def words(self, first: int, count: int) -> list[Syllable]:
        """`count` syllables in a row, from any number on."""
        return [self.syllables[(first + i) % len(self.syllables)] for i in range(count)]


def _manner(rng: random.Random) -> Manner:
    manner = Manner(
        vibrato=rng.choice([0.03, rng.uniform(0.05, 0.25), rng.uniform(0.2, 0.6)]),
        drift=rng.uniform(0.5, 1.6), glide=rng.uniform(0.05, 0.14),
        melisma=rng.choice([0.05, 0.15, 0.4]), effort=rng.uniform(-0.5, 3.0),
        ring=rng.choice([0, 0, rng.uniform(2, 9)]),
        air=rng.choice([0, 0, 0, rng.uniform(0.05, 0.35)]),
        rough=rng.choice([0, 0, 0, 0, rng.uniform(0.05, 0.4)]),
        breath=rng.choice([0.1, 0.5, 0.9]))
    if rng.random() < 0.14:
        return replace(manner, tuned=True, glide=0.02, rough=0.0)
    return manner


def _lines(corpus: Corpus, name: str, speaker: Speaker, rng: random.Random) -> list[Line]:
    rows, lines, spent = corpus.voices[name], [], 0.0
    for _ in range(TRIES):
        row = rows[rng.randrange(len(rows))]
        length = row[2] - row[1]
        if length > BUDGET_S:
            continue
        line = _line(row, speaker.floor_hz, speaker.band_hz)
        spent += length
        if line.syllables:
            lines.append(line)
        if lines and spent > BUDGET_S:
            return lines
    if not lines:
        raise CorpusError(f"{corpus.root / 'voices'}: no utterance of {name} has a syllable in "
                          f"{BUDGET_S:g} s")
    return lines


@functools.lru_cache(maxsize=32)
def _line(row: tuple[str, float, float], floor_hz: float, band_hz: float | None) -> Line:
    return analyse(load([row]), floor_hz, band_hz)


def _warp(scale: float, rng: random.Random) -> np.ndarray:
    """For every bin, the bin its log power comes from: formants scaled by about `scale`."""
    anchors = np.array([0, 600, 1500, 2800, 4500, 22050.0])
    factors = scale * np.array([rng.gauss(1, 0.035) for _ in anchors])
    factors[-1] = (1 + factors[-1]) / 2  # the uppermost octave says little of the mouth
    moved = np.maximum.accumulate(anchors * factors + np.arange(len(anchors)))
    return np.interp(HZ, moved, anchors) / HZ[1]


def _tone(rng: random.Random, nr: np.random.Generator) -> np.ndarray:
    """A timbre of the voice's own, log power [bins]."""
    bumps = np.interp(np.log(HZ + 50), np.linspace(np.log(50), np.log(22100), 12),
                      nr.normal(0, 1.6, 12))
    return NEPER * (bumps + rng.uniform(-1.5, 1.0) * OCTAVES)


def _changed(syllable: Syllable, warp: np.ndarray, tone: np.ndarray, contrast: float) -> Syllable:
    k = np.minimum(warp.astype(int), BINS - 2)
    share = np.clip(warp - k, 0, 1).astype(np.float32)
    x = syllable.envelope
    x = x[:, k] * (1 - share) + x[:, k + 1] * share
    nucleus = x[syllable.vowel[1]]
    broad = smooth(nucleus, 75)
    x = x + ((contrast - 1) * (nucleus - broad) + tone).astype(np.float32)
    return replace(syllable, envelope=x.astype(np.float32))


def _with_consonants(sung: list[Syllable], corpus: Corpus, sources: Sources,
                     rng: random.Random) -> list[Syllable]:
    """Sung notes have no words: most get a consonant of a speaker's in front."""
    others = [name for name in sources.among("voice", corpus.voices)
              if not SPEAKERS.get(name, Speaker()).sung]
    if not others:
        return sung
    name = rng.choice(others)
    sources.use(f"voice/{name}")
    speaker = SPEAKERS.get(name, Speaker())
    rows = corpus.voices[name]
    row = min((rows[rng.randrange(len(rows))] for _ in range(4)), key=lambda r: r[2] - r[1])
    warp = _warp(rng.uniform(0.8, 0.9), rng)
    spoken = [_changed(s, warp, np.zeros(BINS), 1.0)
              for s in _line(row, speaker.floor_hz, speaker.band_hz).syllables]
    out = []
    for note in sung:
        first, nucleus, last = note.vowel
        if not spoken or rng.random() < 0.25:
            out.append(note)
            continue
        s = rng.choice(spoken)
        keep = s.vowel[0]
        envelope, aperiodicity, pitch, voiced = (
            np.concatenate([a[:keep], b[first:]])
            for a, b in ((s.envelope, note.envelope), (s.aperiodicity, note.aperiodicity),
                         (s.pitch, note.pitch), (s.voiced, note.voiced)))
        for i in range(min(4, keep)):  # the mouth opens into the vowel
            w, at = (i + 1) / 5, keep - min(4, keep) + i
            envelope[at] = envelope[at] * (1 - w) + note.envelope[first] * w
        out.append(Syllable(envelope, aperiodicity, pitch, voiced,
                            (keep, keep + nucleus - first, keep + last - first)))
    return out
