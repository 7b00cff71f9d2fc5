"""What a performer sees and types: keys act on a real MixState, lines and meters tell the truth."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from textual import events

from rt.commands import Command, Gain, MixState, Mute, Solo
from rt.console import Desk, PlainConsole, decibels, line
from rt.screen import ConsoleApp, nudged
from rt.spec import StreamSpec
from rt.status import EngineInfo, LatencyLine, Snapshot, Times
from rt.strips import Needle, StemStrip, share

ROOT = Path(__file__).parent.parent
STEMS = ("vocals", "drums", "bass", "other")


class Fake:
    """A performance that stands still: what it shows can be set, what it is sent it does."""

    def __init__(self, stems: tuple[str, ...] = STEMS, trained_on: str = "songs") -> None:
        self.mix = MixState.of(stems)
        self.quit = False
        self.snapshot = Snapshot(
            seconds=65.0, hops=11_000, late_hops=3, underruns=2, overruns=1,
            step_ms=Times(1.161, 2.322, 3.0), total_step_ms=Times(1.0, 2.0, 9.0), input_level=0.5,
            stem_levels=tuple(0.1 * (k + 1) for k in range(len(stems))), output_level=0.5,
            respawns=0, state="running")
        info = EngineInfo(
            spec=StreamSpec(stems=stems, tier="live", trained_on=trained_on),
            input="JACK: hw:[in]", output="JACK: out", sample_rate=44_100, block=256, slack=0,
            provider="CPUExecutionProvider", provider_reason="", priority="", model="live.onnx",
            latency=(LatencyLine("everything", 512),))
        self.desk = Desk(info, lambda: self.snapshot, lambda: self.mix, self.send,
                         (lambda: "MIDI: nano (JACK)", lambda: ""), done=lambda: self.quit)

    def send(self, command: Command) -> None:
        self.mix = self.mix.apply(command)

    def show(self, **values: object) -> None:
        self.snapshot = dataclasses.replace(self.snapshot, **values)  # type: ignore[arg-type]


def shown(app: ConsoleApp) -> str:
    lines = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip) for strip in lines)


def on_screen(fake: Fake, act: Callable[[ConsoleApp, Callable[[str], Awaitable[None]]],
                                        Awaitable[None]],
              size: tuple[int, int] = (80, 24)) -> ConsoleApp:
    app = ConsoleApp(fake.desk)

    async def performed() -> None:
        async with app.run_test(size=size) as pilot:
            async def press(key: str) -> None:
                if key.isascii():
                    await pilot.press(key)
                else:  # the pilot knows the characters of a US keyboard only
                    app.post_message(events.Key("from another layout", key))
                await pilot.pause()

            await pilot.pause(0.2)
            await act(app, press)

    asyncio.run(asyncio.wait_for(performed(), 30))
    return app


def test_keys_do_what_the_footer_says() -> None:
    fake = Fake()

    async def act(app: ConsoleApp, press: Callable[[str], Awaitable[None]]) -> None:
        assert ("1-4 mute  shift+1-4 or a s d f solo  arrows choose, gain  0 bypass  q quit"
                in shown(app))
        for k in range(4):
            await press(str(k + 1))
            assert fake.mix.strips[k].mute
            await press(str(k + 1))
            assert not fake.mix.strips[k].mute
        await press("0")
        assert fake.mix.bypass
        assert "BYPASS" in shown(app)
        await press("0")
        assert not fake.mix.bypass
        assert "BYPASS" not in shown(app)
        await press("9")  # no such stem
        await press("x")
        assert fake.mix == MixState.of(STEMS)

    on_screen(fake, act)


@pytest.mark.parametrize("keys", ["!@#$", '!"£$', '!"§$', "asdf"])
def test_solo_on_every_layout(keys: str) -> None:
    fake = Fake()

    async def act(app: ConsoleApp, press: Callable[[str], Awaitable[None]]) -> None:
        for k, key in enumerate(keys):
            await press(key)
            assert [s.solo for s in fake.mix.strips] == [i == k for i in range(4)]
            await press(key)

    on_screen(fake, act)


def test_arrows_choose_a_strip_and_move_its_fader() -> None:
    fake = Fake()

    async def act(app: ConsoleApp, press: Callable[[str], Awaitable[None]]) -> None:
        await press("right")
        await press("down")
        await press("down")
        assert decibels(fake.mix.strips[1].gain) == "-2.0"
        assert "-2 dB" in shown(app)
        assert app.query(StemStrip)[1].has_class("selected")
        await press("up")
        await press("up")
        assert fake.mix.strips[1].gain == 1
        await press("left")
        await press("left")  # around the corner
        await press("down")
        assert fake.mix.strips[3].gain < 1
        assert fake.mix.strips[0].gain == 1

    on_screen(fake, act)


def test_the_screen_tells_levels_figures_and_status() -> None:
    fake = Fake(trained_on="")
    fake.show(late_hops=7, input_level=10 ** (-23 / 20), stem_levels=(0.5, 0.1, 0.01, 0.0))
    fake.mix = fake.mix.apply(Mute("drums")).apply(Solo("vocals"))

    async def act(app: ConsoleApp, press: Callable[[str], Awaitable[None]]) -> None:
        text = shown(app)
        for part in ("Bandsplit Live", "live.onnx", "UNTRAINED", "latency 11.6 ms", "hw:[in]",
                     "1 vocals", "4 other", "MUTE", "SOLO", "-23 dB", "RTF 0.20 p99 0.40 (2.3 ms)",
                     "late hops 7", "underruns 2", "overruns 1", "01:05", "MIDI: nano (JACK)"):
            assert part in text, part
        for reading in ("-6", "-20", "-40"):
            assert f" {reading}" in text, reading
        fake.desk.notices.append("MIDI: waiting for a port")
        fake.show(message="late hops: raise the slack", state="respawning")
        await asyncio.sleep(0.3)
        assert "late hops: raise the slack" in shown(app)
        assert "RESPAWNING" in shown(app)

    on_screen(fake, act)


@pytest.mark.parametrize("stems", [1, 2, 9])
@pytest.mark.parametrize("size", [(80, 24), (60, 16), (200, 60), (20, 5)])
def test_any_number_of_stems_in_any_terminal(stems: int, size: tuple[int, int]) -> None:
    fake = Fake(("vocals", "drums", "bass", "other", "guitar", "piano", "pad", "fx", "x")[:stems])

    async def act(app: ConsoleApp, press: Callable[[str], Awaitable[None]]) -> None:
        await press(str(stems))
        assert fake.mix.strips[-1].mute
        widgets = app.query(StemStrip)
        assert len(widgets) == stems
        assert all(len(row) <= size[0] for row in shown(app).splitlines())

    on_screen(fake, act, size)


def test_a_resize_redraws() -> None:
    fake = Fake()

    async def performed() -> None:
        app = ConsoleApp(fake.desk)
        async with app.run_test(size=(80, 24)) as pilot:
            await pilot.resize_terminal(120, 40)
            await pilot.pause(0.3)
            assert len(shown(app).splitlines()) == 40
            await pilot.resize_terminal(50, 20)
            await pilot.pause(0.3)
            assert len(shown(app).splitlines()) == 20
            assert "4 other" in shown(app)

    asyncio.run(asyncio.wait_for(performed(), 30))


@pytest.mark.parametrize("leave", ["q", "ctrl+c", "done", "finished", "failed"])
def test_leaving(leave: str) -> None:
    fake = Fake()

    async def act(app: ConsoleApp, press: Callable[[str], Awaitable[None]]) -> None:
        if leave == "done":
            fake.quit = True
        elif leave in ("finished", "failed"):
            fake.show(state=leave)
        else:
            await press(leave)
        await asyncio.sleep(0.3)
        assert not app.is_running

    on_screen(fake, act)


def test_the_fader_ladder_reaches_silence_and_comes_back() -> None:
    gain, seen = 1.0, []
    while gain > 0:
        gain = nudged(gain, -1)
        seen.append(gain)
    assert seen == sorted(seen, reverse=True)
    assert len(seen) < 40
    for _ in seen:
        gain = nudged(gain, 1)
    assert gain == 1
    for _ in range(20):
        gain = nudged(gain, 1)
    assert gain == nudged(gain, 1) == pytest.approx(10 ** (12 / 20))


def test_meters_rise_at_once_fall_slowly_and_hold_the_peak() -> None:
    needle = Needle()
    needle.follow(0.5, 10.0)
    assert needle.reading() == "-6"
    needle.follow(0.0, 10.5)
    assert needle.db == pytest.approx(-26, abs=0.1)
    assert needle.reading() == "-6"
    needle.follow(0.0, 12.1)
    assert needle.peak_db < -50
    assert share(0) == share(6) == 1
    assert share(-200) == 0
    assert [share(d) for d in range(-60, 1)] == sorted(share(d) for d in range(-60, 1))


def test_a_line_has_every_figure() -> None:
    fake = Fake()
    mix = fake.mix.apply(Mute("drums")).apply(Solo("bass")).apply(Gain("bass", 0.5))
    text = line(fake.desk.info, fake.snapshot, mix)
    for part in ("01:05", "RTF 0.20/0.40", "p99 2.32 ms", "late 3", "under 2", "over 1",
                 "in  -6.0", "vocals -20.0", "drums[M] -14.0", "bass[S] -10.5"):
        assert part in text, part
    assert "BYPASS" not in text
    fake.show(input_level=0.0, state="respawning")
    text = line(fake.desk.info, fake.snapshot, dataclasses.replace(mix, bypass=True))
    assert "in  -inf" in text
    assert "BYPASS" in text
    assert text.endswith("respawning")


def test_the_plain_console_prints_every_second_and_says_things_once() -> None:
    fake, out = Fake(), io.StringIO()
    fake.show(message="no real-time priority")
    fake.desk.notices.append("MIDI: waiting for a port")
    thread = threading.Thread(target=PlainConsole(fake.desk, out).run)
    thread.start()
    time.sleep(2.4)
    fake.quit = True
    thread.join(1)
    assert not thread.is_alive()
    text = out.getvalue()
    assert text.count("RTF") == 2
    assert text.count("no real-time priority") == text.count("MIDI: waiting for a port") == 1


def test_the_plain_console_never_loads_textual() -> None:
    code = "import sys, rt.console, rt.report; sys.exit('textual' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=ROOT).returncode == 0


@pytest.mark.skipif(os.name == "nt", reason="pseudo-terminals are POSIX")
@pytest.mark.parametrize("leave", [b"q", b"\x03", "SIGTERM"])
def test_on_a_real_terminal_noise_is_held_and_the_terminal_is_given_back(
        leave: bytes | str, tmp_path: Path) -> None:
    import pty
    import signal
    import termios

    controller, terminal = pty.openpty()
    before = termios.tcgetattr(terminal)
    code = textwrap.dedent("""
        import os, signal
        from rt.screen import ConsoleApp, held_stderr
        from tests.test_console import Fake
        fake = Fake()
        def end(*_): fake.quit = True
        signal.signal(signal.SIGTERM, end)
        with held_stderr():
            os.write(2, b"some library's noise")
            ConsoleApp(fake.desk).run()
    """)
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=terminal, stdout=terminal, stderr=terminal, cwd=ROOT,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"})
    try:
        drawn = b""
        deadline = time.monotonic() + 20
        while b"quit" not in drawn:
            drawn += os.read(controller, 65_536)
            assert time.monotonic() < deadline
        assert b"noise" not in drawn
        if isinstance(leave, bytes):
            os.write(controller, leave)
        else:
            process.send_signal(signal.SIGTERM)
        after = b""
        while b"some library's noise" not in after:
            after += os.read(controller, 65_536)
            assert time.monotonic() < deadline
        assert b"\x1b[?1049l" in after  # the alternate screen was left before the noise came
        assert after.index(b"\x1b[?1049l") < after.index(b"some library's noise")
        assert process.wait(10) == 0
        assert termios.tcgetattr(terminal) == before
    finally:
        process.kill()
        process.wait()
        os.close(controller)
        os.close(terminal)
