"""What a person sees where there is no screen to draw on: one line per second, plain text.

`Desk` is what both consoles are connected to: callables and plain values, nothing of the engine.
Apart from rt.screen so that a headless run never imports Textual.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TextIO

from rt.commands import Command, MixState, Strip
from rt.report import dbfs, rtf
from rt.status import EngineInfo, Snapshot

OVER = ("finished", "failed")  # states of a snapshot after which nothing more comes
LINE_S = 1.0
CHECK_S = 0.05


@dataclass(frozen=True)
class Desk:
    """The callables are called from the console's thread and must not wait. Any thread may append
    a line to `notices`; the console takes them out and shows them."""

    info: EngineInfo
    snapshot: Callable[[], Snapshot]
    mix: Callable[[], MixState]
    send: Callable[[Command], None]
    status: Sequence[Callable[[], str]] = ()  # one line each, "" where there is nothing to say
    notices: deque[str] = field(default_factory=deque)
    done: Callable[[], bool] = lambda: False  # asked many times a second: is it time to leave?


class PlainConsole:
    """Belongs to one thread."""

    def __init__(self, desk: Desk, out: TextIO | None = None) -> None:
        self._desk = desk
        self._out = out if out is not None else sys.stdout
        self._message = ""

    def run(self) -> None:
        """A line every second until the engine is over, `done` says so, or ctrl+c."""
        due = time.monotonic() + LINE_S
        try:
            while not self._desk.done() and self._desk.snapshot().state not in OVER:
                time.sleep(CHECK_S)
                if time.monotonic() >= due:
                    due += LINE_S
                    self.print_line()
        except KeyboardInterrupt:
            return

    def print_line(self) -> None:
        snapshot = self._desk.snapshot()
        print(line(self._desk.info, snapshot, self._desk.mix()), file=self._out)
        if snapshot.message not in ("", self._message):
            self._desk.notices.append(snapshot.message)
        self._message = snapshot.message
        while self._desk.notices:
            print(f"  {self._desk.notices.popleft()}", file=self._out)
        self._out.flush()


def line(info: EngineInfo, snapshot: Snapshot, mix: MixState) -> str:
    """One second of a performance in one line."""
    step = snapshot.step_ms
    heard = mix.gains()
    stems = "  ".join(
        f"{strip.stem}{_marks(strip)} {decibels(level):>5}"
        for strip, level in zip(mix.strips, snapshot.stem_levels, strict=True))
    silent = "  all silent" if not any(heard) and not mix.bypass else ""
    return (
        f"{clock(snapshot.seconds)}  RTF {rtf(info, step.p50):.2f}/{rtf(info, step.p99):.2f}  "
        f"p99 {step.p99:.2f} ms  late {snapshot.late_hops}  under {snapshot.underruns}  "
        f"over {snapshot.overruns}  in {decibels(snapshot.input_level):>5}  {stems}"
        f"{'  BYPASS' if mix.bypass else ''}{silent}"
        f"{'' if snapshot.state == 'running' else '  ' + snapshot.state}")


def _marks(strip: Strip) -> str:
    marks = "M" * strip.mute + "S" * strip.solo
    return f"[{marks}]" if marks else ""


def clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes:02d}:{rest:02d}"


def decibels(level: float) -> str:
    """Linear -> "-12.3", "-inf" below -99.9 dB."""
    value = dbfs(level)
    return f"{value:.1f}" if value > -99.9 else "-inf"
