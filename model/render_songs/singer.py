"""A song's singer: one speaker of the corpus, a few of its lines, and a manner of singing."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from model.render_songs import CorpusError
from model.render_songs.corpus import Corpus
from model.render_songs.sources import Sources
from model.render_songs.voice import Analysis, Manner, Sung, analyse, load, sing

LINES = 4  # utterances of a singer per song
LONGEST_LINE_S = 14.0


@dataclass(frozen=True)
class Speaker:
    """What is known of a voice: lowest pitch (Hz), where its recording's band ends (None: at half
    the sample rate), how likely it sings, whether it is a deep voice of sung notes."""

    floor_hz: float = 70.0
    band_hz: float | None = None
    weight: float = 0.3
    male: bool = False


SPEAKERS = {
    "nathalie": Speaker(90, None, 0.42),
    "kathleen": Speaker(80, None, 0.30),
    "kerstin": Speaker(90, 7500, 0.16),
    "martin": Speaker(60, None, 0.22, male=True),
}


class Singer:
    """One voice for one song: a speaker, a few of its lines, and a manner."""

    def __init__(self, corpus: Corpus, sources: Sources, rng: random.Random) -> None:
        names = sources.among("voice", corpus.voices)
        if not names:
            raise CorpusError(f"{corpus.root / 'voices'}: no voice that this split may use")
        speakers = {name: SPEAKERS.get(name, Speaker()) for name in names}
        self.name = rng.choices(names, [speaker.weight for speaker in speakers.values()])[0]
        sources.use(f"voice/{self.name}")
        speaker = speakers[self.name]
        self.lines = self._lines(corpus, speaker, rng)
        deep = not speaker.male and rng.random() < 0.45  # shifted-down formants: male-sounding
        self.manner = Manner(
            formant=(rng.uniform(0.93, 1.08) if speaker.male else
                     rng.uniform(0.77, 0.88) if deep else rng.uniform(0.94, 1.12)),
            tilt=rng.uniform(0, 2.2), vibrato=rng.uniform(0.1, 0.5),
            breath=rng.choice([0, 0, 0, rng.uniform(0.02, 0.15)]))
        self.centre = rng.uniform(50, 57) if speaker.male or deep else rng.uniform(61, 68)
        self.label = f"{self.name}{' deep' if deep else ''}"

    def _lines(self, corpus: Corpus, speaker: Speaker, rng: random.Random) -> list[Analysis]:
        rows, lines = corpus.voices[self.name], []
        for _ in range(8 * LINES):
            i = rng.randrange(len(rows))
            # a sung note alone is too short for a phrase: five in a row make a line
            parts = [row for row in rows[i:i + (5 if speaker.male else 1)] if row[0] == rows[i][0]]
            if sum(end - start for _, start, end in parts) > LONGEST_LINE_S:
                continue
            line = analyse(load(parts), speaker.floor_hz, speaker.band_hz)
            if len(line.nuclei) >= 3:
                lines.append(line)
            if len(lines) == LINES:
                return lines
        if not lines:
            raise CorpusError(f"{corpus.root / 'voices'}: no utterance of {self.name} has three "
                              f"syllables in {LONGEST_LINE_S:g} s")
        return lines

    def phrase(self, notes: Sequence[Sung], nr: np.random.Generator, line: int, first: int = 0,
               formant: float = 1.0, loose: float = 0.0, breath: float | None = None,
               ) -> tuple[float, np.ndarray, int] | None:
        """`sing` with this voice; formant is a factor on the singer's own."""
        own = self.manner
        manner = Manner(own.formant * formant, own.tilt, own.vibrato, loose,
                        own.breath if breath is None else breath)
        return sing(self.lines[line % len(self.lines)], notes, nr, first, manner)
