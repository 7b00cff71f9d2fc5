"""Meters: a stem's channel strip and the input's bar, as Textual widgets.

Apart from rt.screen because they know how a level looks and nothing of keys, desks or engines.
They draw whole lines themselves and only when what they show has changed: a screen that costs a
core's share takes it from the separation.
"""

from __future__ import annotations

import time
from functools import cache
from itertools import pairwise

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip as Line
from textual.widget import Widget

from rt.commands import Strip
from rt.report import dbfs

# dB -> share of the meter's height, the law of programme meters (IEC 60268-18): the top 20 dB,
# where music lives, take half of it
SCALE = ((-60.0, 0.0), (-40.0, 0.15), (-30.0, 0.30), (-20.0, 0.50), (-10.0, 0.75), (0.0, 1.0))
MARKS = (0, -10, -20, -30, -40)
HOT_DB = -3.0
FALL_DB_PER_S = 40.0
HOLD_S = 1.5
EIGHTHS = " ▁▂▃▄▅▆▇█"
SIDE_EIGHTHS = " ▏▎▍▌▋▊▉█"
PEAK = "▁"
NARROW = 13  # a strip below this many cells shows neither scale nor readings

ACCENTS = ("#f0827d", "#f2b84b", "#8fa5f5", "#5ccfa6", "#c98af0", "#62bfe8", "#b3cf62", "#f29a5c",
           "#b9c2cd")
WELL = "#1d252e"  # what a bar rises in
INPUT, HOT, FADED = "#9fb4cc", "#ef5f5f", "#46525f"
SCALE_STYLE = Style(color="#4b5765")
READING = Style(color="#8793a3")
CHANGED = Style(color="#e6ebf2", bold=True)
MUTED = Style(color="#14181d", bgcolor="#ef6b6b", bold=True)
SOLOED = Style(color="#14181d", bgcolor="#f2c94c", bold=True)
UNLIT = Style(color="#5d6977", bgcolor="#222b35")


def share(db: float) -> float:
    """dB below full scale -> 0..1 of a meter's height."""
    for (low, bottom), (high, top) in pairwise(SCALE):
        if db < high:
            return max(0.0, bottom + (top - bottom) * (db - low) / (high - low))
    return 1.0


class Needle:
    """A level as a person reads it: rises at once, falls slowly, its peak held for a moment."""

    def __init__(self) -> None:
        self.db = self.peak_db = -200.0
        self._at = self._held_at = 0.0

    def follow(self, level: float, now: float) -> None:
        """level: linear; now: seconds on any steady clock."""
        fallen = self.db - FALL_DB_PER_S * (now - self._at)
        self.db = max(dbfs(level), fallen, -200.0)
        self._at = now
        if self.db >= self.peak_db or now - self._held_at > HOLD_S:
            self.peak_db, self._held_at = self.db, now

    def reading(self) -> str:
        return f"{self.peak_db:.0f}" if self.peak_db > -99 else "-\N{INFINITY}"


class Drawn(Widget):
    """Lines kept as they were drawn; `_redraw` marks only those that are new."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: list[tuple[Segment, ...]] = []

    def _redraw(self, lines: list[tuple[Segment, ...]]) -> None:
        if len(lines) != len(self._lines):
            self.refresh()
        elif lines != self._lines:
            self.refresh(*(Region(0, y, self.size.width, 1)
                           for y, line in enumerate(lines) if line != self._lines[y]))
        self._lines = lines

    def render_line(self, y: int) -> Line:
        if y >= len(self._lines):
            return Line.blank(self.size.width, self.rich_style)
        return Line(self._lines[y]).apply_style(self.rich_style)


class StemStrip(Drawn):
    """One stem: its key and name, level and peak, gain, lamps."""

    def __init__(self, number: int, stem: str) -> None:
        super().__init__()
        self._number = number
        self._accent = ACCENTS[(number - 1) % len(ACCENTS)]
        self._needle = Needle()

    def show(self, strip: Strip, level: float, silent: bool, selected: bool) -> None:
        """level: linear, after the gain; silent: muted, bypassed, or another stem is soloed."""
        self._needle.follow(level, time.monotonic())
        self.set_class(selected, "selected")
        width, height = self.size
        rows = height - 4
        if rows < 1:
            return
        level, peak = share(self._needle.db) * rows, share(self._needle.peak_db) * rows
        peak_row = min(rows - 1, int(peak)) if peak > 0 else -1
        lines = [_name_row(self._number, strip.stem, self._accent, selected, width)]
        for row in reversed(range(rows)):  # counted from the bottom
            colour = FADED if silent else HOT if row >= share(HOT_DB) * rows else self._accent
            filled = max(0, min(8, round(8 * (level - row))))
            reading = self._needle.reading() if row == peak_row else ""
            lines.append(_meter_row(row, rows, width, filled, reading, colour))
        blank = (Segment(" " * width),)
        self._redraw([*lines, _gain_row(strip.gain, width), blank,
                      _lamp_row(strip.mute, strip.solo, width)])


class InputMeter(Drawn):
    """The input's level as a horizontal bar, with its peak."""

    def __init__(self) -> None:
        super().__init__()
        self._needle = Needle()

    def show(self, level: float) -> None:
        """level: linear."""
        self._needle.follow(level, time.monotonic())
        label, reading = "INPUT ", f" {self._needle.reading():>3} dB"
        cells = self.size.width - len(label) - len(reading)
        if cells < 1:
            return
        full, part = divmod(round(8 * cells * share(self._needle.db)), 8)
        bar = ("█" * full + SIDE_EIGHTHS[part]).ljust(cells)[:cells]
        peak = min(cells - 1, int(share(self._needle.peak_db) * cells))
        if peak > 0 and bar[peak] == " ":
            bar = bar[:peak] + SIDE_EIGHTHS[1] + bar[peak + 1:]
        hot = int(share(HOT_DB) * cells)
        self._redraw([(Segment(label, READING), *_runs(bar[:hot], INPUT), *_runs(bar[hot:], HOT),
                       Segment(reading, READING))])


@cache
def _name_row(number: int, stem: str, colour: str, selected: bool,
              width: int) -> tuple[Segment, ...]:
    text = f"{'▸' if selected and width >= NARROW else ''} {number} {stem}".strip()[:width]
    return (Segment(f"{text:^{width}}", Style(color=colour, bold=True)),)


@cache
def _meter_row(row: int, rows: int, width: int, filled: int, reading: str,
               colour: str) -> tuple[Segment, ...]:
    """One line of a vertical meter: scale, bar (filled: eighths) and the peak's reading."""
    side = 4 if width >= NARROW else 1
    glyph = PEAK if reading and not filled else EIGHTHS[filled]
    scale = next((f"{-db:>3} " for db in MARKS if _row_of(db, rows) == row), "")
    return (
        Segment(f"{scale:{side}}" if side > 1 else " ", SCALE_STYLE),
        _bar(glyph * (width - 2 * side), colour),
        Segment(f" {reading:{side - 1}}" if side > 1 else " ", READING),
    )


def _row_of(db: float, rows: int) -> int:
    """The row, counted from the bottom, whose lower edge is nearest to the mark."""
    return max(0, min(rows - 1, round(share(db) * rows) - (db == 0)))


@cache
def _gain_row(gain: float, width: int) -> tuple[Segment, ...]:
    text = f"{dbfs(gain):.0f} dB" if gain > 0 else "-\N{INFINITY} dB"
    return (Segment(f"{text:^{width}}", READING if gain == 1 else CHANGED),)


@cache
def _lamp_row(mute: bool, solo: bool, width: int) -> tuple[Segment, ...]:
    texts = (" MUTE ", " SOLO ") if width >= NARROW else ("M", "S")
    room = width - sum(map(len, texts)) - 1
    return (
        Segment(" " * (room // 2)),
        Segment(texts[0], MUTED if mute else UNLIT),
        Segment(" "),
        Segment(texts[1], SOLOED if solo else UNLIT),
        Segment(" " * (room - room // 2)),
    )


def _bar(text: str, colour: str) -> Segment:
    """Full cells are painted in the background as well: fonts leave hairlines between blocks."""
    if text.startswith("█"):
        return Segment(text, Style(color=colour, bgcolor=colour))
    return Segment(text, Style(color=colour, bgcolor=WELL))


def _runs(bar: str, colour: str) -> list[Segment]:
    full = len(bar) - len(bar.lstrip("█"))
    return [_bar(run, colour) for run in (bar[:full], bar[full:]) if run]
