"""ConsoleApp: the performer's screen, a Textual application on a Desk.

Apart from rt.console because Textual is large and a headless run needs none of it. What the strips
look like stands in rt.strips.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.text import Text
from textual import events
from textual.app import App, ComposeResult
from textual.containers import Horizontal
from textual.widgets import Static

from rt.commands import Bypass, Gain, Mute, Solo
from rt.console import OVER, Desk, clock
from rt.report import dbfs, rtf
from rt.status import Snapshot
from rt.strips import InputMeter, StemStrip

REFRESH_HZ = 12
NOTICE_S = 12.0
# Fader positions of the arrow keys, in dB; below the first is silence.
LADDER = (*range(-60, -20, 4), *range(-20, 13))
# What a terminal receives for shift+1, shift+2, ... depends on the keyboard's layout.
SHIFTED = {character: index for layout in ("!@#$%^&*(", '!"£$%', '!"§$%')
           for index, character in enumerate(layout)}
DIGITS = "123456789"
LETTERS = "asdfghjkl"  # solo without a modifier, on every layout

BYPASSED = "BYPASS: the dry input, delayed as the stems are"
DIM, WARM, BAD = "#748091", "#f2b84b", "#ef6b6b"


class ConsoleApp(App[None]):
    """Belongs to the main thread; other threads reach it only through the Desk.

    Leaves by itself when the engine is over or the desk's `done` says so.
    """

    ENABLE_COMMAND_PALETTE = False
    CSS = """
    Screen { background: #0f1318; color: #d5dce6; padding: 0 1; }
    Static { height: 1; width: 1fr; text-wrap: nowrap; text-overflow: ellipsis; }
    .row { height: 1; }
    .right { width: auto; margin-left: 2; }
    InputMeter { height: 1; margin-top: 1; }
    #banner { text-align: center; }
    #banner.bypass { background: #f2b84b; color: #0f1318; text-style: bold; }
    #strips { height: 1fr; min-height: 9; align-horizontal: center; }
    StemStrip { height: 100%; width: 1fr; max-width: 32; background: #141a21;
                border: round #2c3541; }
    StemStrip.selected { border: round #7f8da0; }
    """

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk
        self._stems = desk.info.spec.stems
        self._selected = 0
        self._input = InputMeter()
        self._strips = [StemStrip(n, stem) for n, stem in enumerate(self._stems, start=1)]
        self._banner, self._figures, self._status, self._notice = (TextLine() for _ in range(4))
        self._banner.id = "banner"
        self._message = self._newest = ""
        self._newest_until = 0.0

    def compose(self) -> ComposeResult:
        info = self._desk.info
        model = [("Bandsplit Live", "bold"), (f"  {info.spec.tier} · {info.model}", DIM)]
        if not info.spec.trained_on:
            model.append(("  UNTRAINED", f"bold {BAD}"))
        yield from _row(
            Text.assemble(*model),
            Text.assemble(("latency ", DIM), (f"{info.latency_ms:.1f} ms", f"bold {WARM}")))
        yield from _row(
            Text.assemble(("in ", DIM), info.input, ("   out ", DIM), info.output),
            Text(f"{info.sample_rate / 1000:g} kHz · block {info.block}", DIM))
        yield self._input
        yield self._banner
        with Horizontal(id="strips"):
            yield from self._strips
        yield self._figures
        yield self._status
        yield self._notice
        yield Static(_keys(len(self._stems)))

    def on_mount(self) -> None:
        self._show()
        self.set_interval(1 / REFRESH_HZ, self._show)

    def on_key(self, event: events.Key) -> None:
        key, character = event.key, event.character or "\0"
        if key in ("q", "ctrl+c"):
            self.exit()
        elif character == "0":
            self._desk.send(Bypass())
        elif character in DIGITS:
            self._act(Mute, DIGITS.index(character))
        elif character in SHIFTED:
            self._act(Solo, SHIFTED[character])
        elif key.startswith("shift+") and key[-1] in DIGITS:  # from terminals that tell the key
            self._act(Solo, DIGITS.index(key[-1]))
        elif character in LETTERS:
            self._act(Solo, LETTERS.index(character))
        elif key in ("left", "right"):
            step = 1 if key == "right" else -1
            self._selected = (self._selected + step) % len(self._stems)
        elif key in ("up", "down"):
            strip = self._desk.mix().strips[self._selected]
            self._desk.send(Gain(strip.stem, nudged(strip.gain, 1 if key == "up" else -1)))
        else:
            return
        event.stop()
        event.prevent_default()
        self._show()

    def _act(self, command: type[Mute] | type[Solo], index: int) -> None:
        if index < len(self._stems):
            self._desk.send(command(self._stems[index]))

    def _show(self) -> None:
        snapshot, mix = self._desk.snapshot(), self._desk.mix()
        if snapshot.state in OVER or self._desk.done():
            self.exit()
            return
        self._input.show(snapshot.input_level)
        for k, (widget, strip, gain) in enumerate(
                zip(self._strips, mix.strips, mix.gains(), strict=True)):
            silent = mix.bypass or (gain == 0 and strip.gain > 0)
            widget.show(strip, snapshot.stem_levels[k], silent, k == self._selected)
        self._banner.set_class(mix.bypass, "bypass")
        state = "" if snapshot.state == "running" else snapshot.state.upper()
        self._banner.show(Text("   ".join(part for part in (mix.bypass * BYPASSED, state) if part),
                               "" if mix.bypass else f"bold {WARM}"))
        self._figures.show(self._figures_text(snapshot))
        self._status.show(Text("   ".join(text for s in self._desk.status if (text := s())), DIM))
        self._notice.show(Text(self._newest_notice(snapshot), WARM))

    def _figures_text(self, snapshot: Snapshot) -> Text:
        info, step = self._desk.info, snapshot.step_ms
        p50, p99 = rtf(info, step.p50), rtf(info, step.p99)
        parts: list[tuple[str, str]] = [
            ("RTF ", DIM), (f"{p50:.2f}", _judged(p50 > 0.7)),
            (" p99 ", DIM), (f"{p99:.2f}", _judged(p99 > 1)), (f" ({step.p99:.1f} ms)", DIM)]
        for what, count in (("late hops", snapshot.late_hops), ("underruns", snapshot.underruns),
                            ("overruns", snapshot.overruns)):
            parts += [(f"   {what} ", DIM), (str(count), _judged(count > 0))]
        parts.append((f"   {clock(snapshot.seconds)}", ""))
        return Text.assemble(*parts)

    def _newest_notice(self, snapshot: Snapshot) -> str:
        if snapshot.message not in ("", self._message):
            self._desk.notices.append(snapshot.message)
        self._message = snapshot.message
        while self._desk.notices:
            self._newest = self._desk.notices.popleft()
            self._newest_until = time.monotonic() + NOTICE_S
        return self._newest if time.monotonic() < self._newest_until else ""


class TextLine(Static):
    """One line that is redrawn only when it changes."""

    def __init__(self) -> None:
        super().__init__()
        self._shown = Text()

    def show(self, text: Text) -> None:
        if text != self._shown:
            self._shown = text
            self.update(text)


def _row(left: Text, right: Text) -> ComposeResult:
    with Horizontal(classes="row"):
        yield Static(left, classes="left")
        yield Static(right, classes="right")


def _keys(stems: int) -> Text:
    digits = "1" if stems == 1 else f"1-{stems}"
    letters = " ".join(LETTERS[:stems])
    keys = ((digits, " mute  "), (f"shift+{digits}", " or "), (letters, " solo  "),
            ("arrows", " choose, gain  "), ("0", " bypass  "), ("q", " quit"))
    return Text.assemble(*(part for key, does in keys for part in ((key, "bold"), (does, DIM))))


def _judged(bad: bool) -> str:
    return f"bold {BAD}" if bad else ""


def nudged(gain: float, direction: int) -> float:
    """The linear gain one step of the ladder above (1) or below (-1)."""
    now = dbfs(gain)
    if direction > 0:
        above = [db for db in LADDER if db > now + 0.01]
        return 10 ** (above[0] / 20) if above else gain
    below = [db for db in LADDER if db < now - 0.01]
    return 10 ** (below[-1] / 20) if below else 0.0


@contextmanager
def held_stderr() -> Iterator[None]:
    """While the screen is up, what C libraries and child processes write to standard error goes
    to a file instead of over the picture, and is shown afterwards.

    Textual draws through sys.__stderr__ (on Windows through stdout, where nothing has to be done),
    so that gets a descriptor of its own. Start the engine inside, and its output is held as well.
    """
    if os.name == "nt":
        yield
        return
    original = sys.__stderr__
    with tempfile.TemporaryFile() as held, os.fdopen(os.dup(2), "w", encoding="utf-8") as screen:
        os.dup2(held.fileno(), 2)
        sys.__stderr__ = screen
        try:
            yield
        finally:
            sys.__stderr__ = original
            screen.flush()
            os.dup2(screen.fileno(), 2)
            held.seek(0)
            os.write(2, held.read())
