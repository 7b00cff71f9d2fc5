"""A song on paper: genre, tempo, form, chords and melody. Nothing here makes sound.

Times are seconds, pitches MIDI numbers, velocities 0..1. The parts of drums, bass and
accompaniment are written by `parts`, from the form that stands here.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from model.render_songs.styles import GENRES, MODES, PROGRESSIONS

# How many steps the notes of a melody last
WORDY: Sequence[int] = (1, 1, 2, 2, 2, 2, 3, 4)
FLOWING: Sequence[int] = (2, 2, 2, 2, 3, 4, 4, 6)
LONG: Sequence[int] = (2, 4, 4, 6, 8, 8, 12)
# How likely a part plays in a section, and how loudly a section is played
DENSE = {"intro": 0.55, "verse": 0.75, "chorus": 1.0, "bridge": 0.6, "outro": 0.7, "solo": 0.85,
         "break": 0.5, "acappella": 0.4}
LOUD = {"intro": 0.7, "chorus": 1.0, "bridge": 0.75, "solo": 0.95, "break": 0.9}
SHORT = ("intro", "outro", "break", "acappella")
Motif = list[list[tuple[int, int, int]]]  # per bar: (step, steps, scale degree)


class Song:
    """Everything that follows from a seed and a length, before any sound is chosen.

    `section` holds one dict per bar: its section's name, id, length `n` and level, the bar's place
    `at` in it, and which of drums, bass, other and vocals play there.
    """

    section: list[dict[str, Any]]

    def __init__(self, seed: int, seconds: float) -> None:
        self.rng = rng = random.Random(seed)
        self.genre = rng.choices(list(GENRES), [g["p"] for g in GENRES.values()])[0]
        g = self.g = GENRES[self.genre]
        self.bpm = rng.uniform(*g["bpm"])
        self.beat = 60 / self.bpm
        self.swing, self.swing8 = rng.choice(g["swing"]), self.genre == "jazz"
        self.bars = max(4, round(seconds / (4 * self.beat)))
        self.seconds = self.bars * 4 * self.beat
        self.mode = rng.choice(["major", "minor", "minor", "dorian", "mixolydian"])
        self.key = rng.randrange(12)
        self.scale = MODES[self.mode]
        self.seventh = rng.random() < {
            "funk": 0.8,
            "house": 0.5,
            "hiphop": 0.5,
            "jazz": 1,
            "ballad": 0.4,
            "latin": 0.5,
        }.get(self.genre, 0.12)
        self.progs = {s: rng.choice(PROGRESSIONS) for s in ("verse", "chorus", "bridge")}
        self.rate = rng.choice([1, 1, 1, 2]) if self.bpm > 100 else 1  # bars a chord
        self.section = self._form()
        self.phrases = self._melody()

    def t(self, bar: int, step: float) -> float:
        """Start of a sixteenth (fractional steps allowed) with swing."""
        late = 0.0
        k = int(step)
        if self.swing8:
            late = self.swing * 2 if k % 4 == 2 else self.swing if k % 4 in (1, 3) else 0
        elif k % 2:
            late = self.swing * 2
        return (bar * 16 + step + late) * self.beat / 4

    def deg(self, d: int, octave: int) -> int:
        """MIDI number of a scale degree (0 is the tonic; any integer) in an octave."""
        return self.key + self.scale[d % 7] + 12 * (octave + 1 + d // 7)

    def chord(self, bar: int) -> int:
        """Scale degree of the chord in a bar."""
        s = self.section[bar]
        return self.progs[
            "chorus" if s["name"] == "chorus" else "bridge" if s["name"] == "bridge" else "verse"
        ][(s["at"] // self.rate) % 4]

    def tones(self, bar: int, octave: int, n: int | None = None) -> list[int]:
        """MIDI numbers of the chord in a bar, three or four, or the first n of them."""
        c = self.chord(bar)
        steps = [0, 2, 4, 6] if self.seventh else [0, 2, 4]
        return [self.deg(c + x, octave) for x in steps][: n or 4]

    def _form(self) -> list[dict[str, Any]]:
        rng = self.rng
        out: list[dict[str, Any]] = []
        plan = rng.choice(
            [
                ["intro", "verse", "chorus", "verse", "chorus", "bridge", "chorus", "outro"],
                ["verse", "chorus", "verse", "chorus"],
                ["intro", "verse", "verse", "chorus", "bridge", "chorus"],
                ["chorus", "verse", "chorus", "bridge", "chorus"],
                ["intro", "verse", "chorus", "solo", "verse", "break", "chorus", "outro"],
                ["verse", "acappella", "chorus", "break", "chorus", "solo"],
                ["intro", "solo", "verse", "chorus", "acappella", "chorus"],
            ]
        )
        size = 4 if self.bars < 22 else rng.choice([4, 8])
        i = 0
        while len(out) < self.bars:
            name = plan[i % len(plan)]
            n = max(2, size // 2) if name in SHORT else size
            on = DENSE[name]
            sec = dict(
                name=name,
                n=n,
                level=LOUD.get(name, 0.8),
                drums=name == "chorus" or rng.random() < 0.9,
                bass=name == "chorus" or rng.random() < on + 0.15,
                vocals=name in ("verse", "chorus", "acappella")
                or (name == "bridge" and rng.random() < 0.5),
                other=True,
                dense=on,
                id=i,
            )
            if name == "intro":
                sec["drums"] = rng.random() < 0.6
            elif name == "acappella":
                sec.update(bass=False, other=rng.random() < 0.3, drums=rng.random() < 0.2)
            elif name == "break":  # drums alone, or drums and bass
                sec.update(drums=True, bass=rng.random() < 0.4, other=rng.random() < 0.2)
            out += [dict(sec, at=k) for k in range(n)]
            i += 1
        section = out[: self.bars]
        for k in ("drums", "bass", "other", "vocals"):  # nobody sits out a whole song
            if not any(s[k] for s in section):
                for s in section:
                    s[k] = True

        return section

    def motif(self, bars: int, sizes: Sequence[int] = (2, 2, 2, 3, 4, 4, 6, 8)) -> Motif:
        """A random melodic figure with a rhythm of its own, of notes `sizes` steps long."""
        rng, m = self.rng, self.rng.choice([0, 2, 4])
        out: Motif = []
        for _ in range(bars):
            k = rng.choice([0, 0, 2, 4])
            line: list[tuple[int, int, int]] = []
            while k < 15:
                n = min(rng.choice(sizes), 16 - k)
                m = max(-3, min(9, m + rng.choice([-2, -1, -1, 0, 1, 1, 2, 3])))
                if rng.random() < 0.85:
                    line.append((k, n, m))
                k += n
            out.append(line)
        return out

    def _melody(self) -> list[dict[str, Any]]:
        """Phrases with notes (t, duration, degree); the singer's range is applied later."""
        rng = self.rng
        phrases: list[dict[str, Any]] = []
        # words come at much the same pace in slow songs and in fast ones
        paces = [WORDY, WORDY, FLOWING] if self.bpm < 110 else [WORDY, FLOWING, FLOWING, LONG]
        sizes = {s: rng.choice(paces) for s in ("verse", "chorus", "bridge")}
        style = {s: (self.motif(2, n), self.motif(2, n)) for s, n in sizes.items()}
        style["acappella"] = style["chorus"]
        busy = rng.uniform(0.75, 1)
        for b, s in enumerate(self.section):
            if (
                not s["vocals"]
                or (s["name"] == "verse" and s["at"] % 4 == 3 and rng.random() < 0.5)
                or rng.random() < 0.06
            ):
                continue
            a, c = style.get(s["name"], style["verse"])
            line = (a if s["at"] % 4 < 2 else c)[s["at"] % 2]
            notes = []
            for st, n, dg in line:
                if rng.random() > busy:
                    continue
                if n >= 4 and rng.random() < 0.7:  # long notes on chord tones
                    dg = self.chord(b) + rng.choice([0, 2, 4]) - (7 if self.chord(b) > 3 else 0)
                notes.append((self.t(b, st), n * self.beat / 4 * 0.96, dg))
            if notes:
                phrases.append(
                    dict(
                        section=s["name"],
                        slot=(s["name"], s["at"] % 8),
                        notes=notes,
                        lift=4 if s["name"] == "chorus" else 0,
                    )
                )
        if not phrases:  # very short songs
            line = list(style["verse"][0][0]) or [(0, 8, 0)]
            phrases.append(
                dict(
                    section="verse",
                    slot=("verse", 0),
                    lift=0,
                    notes=[(self.t(0, st), n * self.beat / 4 * 0.96, dg) for st, n, dg in line],
                )
            )
        return phrases
