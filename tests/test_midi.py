"""MIDI: the mapping as a pure function, then real messages from another process through JACK."""

from __future__ import annotations

import os
import queue
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.jackserver import JackServer
from rt.commands import Bypass, Command, Gain, Mute, Solo
from rt.midi import fader, to_commands
from rt.sections import Binding, MidiSection

ROOT = Path(__file__).parent.parent
MUTE = Binding(note=36, action="mute", stem="vocals")
HOLD = Binding(note=36, action="mute", stem="vocals", mode="hold")
FADER = Binding(cc=20, action="gain", stem="bass")
BUTTON = Binding(cc=30, action="solo", stem="drums")
PEDAL = Binding(cc=64, action="bypass", mode="hold")
DEFAULT = MidiSection().bindings


@pytest.mark.parametrize(("message", "binding", "expected"), [
    ([0x90, 36, 100], MUTE, (Mute("vocals"),)),
    ([0x90, 36, 1], MUTE, (Mute("vocals"),)),
    ([0x90, 36, 0], MUTE, ()),  # velocity 0 is note-off
    ([0x80, 36, 64], MUTE, ()),
    ([0x90, 37, 100], MUTE, ()),
    ([0x90, 36, 100], HOLD, (Mute("vocals", True),)),
    ([0x90, 36, 0], HOLD, (Mute("vocals", False),)),
    ([0x80, 36, 64], HOLD, (Mute("vocals", False),)),
    ([0xB0, 20, 127], FADER, (Gain("bass", 1.0),)),
    ([0xB0, 20, 0], FADER, (Gain("bass", 0.0),)),
    ([0xB0, 36, 127], MUTE, ()),  # a CC is no note
    ([0x90, 20, 127], FADER, ()),
    ([0xB0, 64, 127], PEDAL, (Bypass(True),)),
    ([0xB0, 64, 63], PEDAL, (Bypass(False),)),
    ([0xB0, 30, 127], BUTTON, (Solo("drums"),)),
    ([0xE0, 36, 100], MUTE, ()),  # pitch bend
    ([0xF8], MUTE, ()),  # clock
    ([0xF0, 0x7E, 0x7F, 6, 1, 0xF7], MUTE, ()),  # SysEx
    ([0xC0, 36], MUTE, ()),  # program change
    ([], MUTE, ()),
])
def test_one_message_one_binding(
        message: list[int], binding: Binding, expected: tuple[Command, ...]) -> None:
    assert to_commands(message, [binding]) == expected
    assert to_commands(bytes(message), [binding]) == expected


def test_the_channel_filters() -> None:
    for channel in range(1, 17):
        message = [0x90 | channel - 1, 36, 100]
        assert to_commands(message, [MUTE]) == (Mute("vocals"),)
        assert to_commands(message, [MUTE], channel=channel) == (Mute("vocals"),)
        assert to_commands(message, [MUTE], channel=channel % 16 + 1) == ()


def test_all_bindings_of_one_pad_act() -> None:
    pads = [MUTE, Binding(note=36, action="solo", stem="bass", mode="hold")]
    assert to_commands([0x90, 36, 9], pads) == (Mute("vocals"), Solo("bass", True))


@given(st.lists(st.integers(0, 127)))
def test_a_cc_button_acts_when_it_is_pressed_and_a_pedal_when_it_moves(values: list[int]) -> None:
    previous, pressed = None, False
    solos, pedal = 0, None
    for value in values:
        toggles = to_commands([0xB0, 30, value], [BUTTON], previous=previous)
        holds = to_commands([0xB0, 64, value], [PEDAL], previous=previous)
        rises = value >= 64 and not pressed
        assert toggles == ((Solo("drums"),) if rises else ())
        solos += rises
        for command in holds:
            assert command != pedal
            pedal = command
        previous, pressed = value, value >= 64
        assert pedal == Bypass(pressed)


def test_the_fader_law() -> None:
    gains = [fader(v) for v in range(128)]
    assert gains[0] == 0
    assert gains[127] == 1
    assert gains == sorted(gains)
    assert gains[64] == pytest.approx(0.25, abs=0.01)  # half way is -12 dB


@given(st.binary(max_size=8))
def test_no_message_can_hurt(message: bytes) -> None:
    for command in to_commands(message, DEFAULT):
        assert isinstance(command, Mute | Solo | Gain | Bypass)


# Real ports. Each process has its own JACK client and a hard end.

SENDER = """
import sys, rtmidi
for line in sys.stdin:
    word, *args = line.split()
    if word == "open":
        out = rtmidi.MidiOut(rtmidi.API_UNIX_JACK, name=args[0])
        out.open_virtual_port(args[1])
    else:
        out.send_message([int(a) for a in args])
    print("ok", flush=True)
"""
RECEIVER = """
import sys
from rt.sections import MidiSection
from rt.midi import MidiInput

def send(command):
    if getattr(command, "stem", "") == "nobody":
        raise KeyError("nobody")
    print(command, flush=True)

section = MidiSection.model_validate_json(sys.argv[1])
with MidiInput(section, send, lambda line: print("warning:", line, flush=True)) as midi:
    for line in sys.stdin:
        if line == "reconnect\\n":
            midi.reconnect()
        print(midi.status(), flush=True)
print("stopped", flush=True)
"""


class Talker:
    """A child process spoken to in lines. Killed by `close`, whatever it does."""

    def __init__(self, code: str, *args: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, *args], cwd=ROOT, text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line.rstrip())

    def say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def hear(self, timeout: float = 10) -> str:
        try:
            return self._lines.get(timeout=timeout)
        except queue.Empty:
            self.close()
            stderr = self.process.stderr.read() if self.process.stderr else ""
            raise AssertionError(f"nothing heard in {timeout} s; stderr: {stderr}") from None

    def asked(self, line: str) -> str:
        self.say(line)
        return self.hear()

    def silent(self) -> bool:
        return self._lines.empty()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def jack() -> Iterator[JackServer]:
    if shutil.which("jackd") is None:
        pytest.skip("NO MIDI TEST RAN: jackd is not installed (Debian: apt-get install jackd2)")
    with JackServer() as server:
        yield server


class Stage:
    """One receiver and any number of senders, ended together."""

    def __init__(self) -> None:
        self._talkers: list[Talker] = []

    def receiver(self, section: MidiSection) -> Talker:
        talker = Talker(RECEIVER, section.model_dump_json())
        self._talkers.append(talker)
        return talker

    def sender(self, name: str = "nanoPAD") -> Talker:
        talker = Talker(SENDER)
        self._talkers.append(talker)
        assert talker.asked(f"open {name} out") == "ok"
        return talker

    def close(self) -> None:
        for talker in self._talkers:
            talker.close()


@pytest.fixture
def stage(jack: JackServer) -> Iterator[Stage]:
    stage = Stage()
    yield stage
    stage.close()


def listening(receiver: Talker) -> None:
    deadline = time.monotonic() + 10
    while "waiting" in (status := receiver.asked("status")) or "starting" in status:
        assert time.monotonic() < deadline, status
        time.sleep(0.05)
    assert status == "MIDI: nanoPAD:out (JACK)"


@pytest.mark.timeout(60)
def test_messages_from_another_process(stage: Stage) -> None:
    sender = stage.sender()
    receiver = stage.receiver(MidiSection(port="NANOpad", channel=2, bindings=(
        *(b for b in DEFAULT if b.note not in (36, 44)), HOLD, PEDAL, BUTTON,
        Binding(note=60, action="mute", stem="nobody"))))
    listening(receiver)
    for message, expected in (
            ("145 37 100", Mute("drums")),
            ("145 41 1", Solo("drums")),
            ("145 36 100", Mute("vocals", True)),
            ("145 36 0", Mute("vocals", False)),  # velocity 0
            ("145 36 80", Mute("vocals", True)),
            ("129 36 80", Mute("vocals", False)),
            ("177 22 127", Gain("bass", 1.0)),
            ("177 22 0", Gain("bass", 0.0)),
            ("177 64 100", Bypass(True)),
            ("177 64 10", Bypass(False)),
            ("177 30 70", Solo("drums"))):
        sender.asked(f"send {message}")
        assert receiver.hear() == str(expected)
    for ignored in ("144 37 100", "145 99 100", "177 30 80", "248", "240 126 127 6 1 247"):
        sender.asked(f"send {ignored}")
    sender.asked("send 145 60 100")
    assert receiver.hear() == "warning: MIDI: this model has no stem 'nobody'"
    for _ in range(200):
        sender.say("send 145 37 100")
    assert [receiver.hear() for _ in range(200)] == [str(Mute("drums"))] * 200
    assert receiver.silent()


@pytest.mark.timeout(60)
def test_a_port_may_come_late_go_and_come_back(stage: Stage) -> None:
    receiver = stage.receiver(MidiSection(port="nano"))
    assert receiver.hear() == ("warning: MIDI: waiting for a port named 'nano'; "
                               "--list-midi shows what there is")
    stage.sender("something-else")
    for _ in range(2):
        sender = stage.sender()
        listening(receiver)
        sender.asked("send 144 36 100")
        assert receiver.hear() == str(Mute("vocals"))
        sender.close()
        assert receiver.hear().startswith("warning: MIDI: waiting for a port named 'nano'")
    assert receiver.silent()  # one warning each time, not one a second


@pytest.mark.timeout(60)
def test_without_a_name_the_first_port_is_taken(stage: Stage) -> None:
    sender = stage.sender()
    receiver = stage.receiver(MidiSection())
    listening(receiver)
    sender.asked("send 144 44 100")
    assert receiver.hear() == str(Bypass())


@pytest.mark.timeout(60)
def test_a_server_that_dies_takes_nobody_with_it(jack: JackServer, stage: Stage) -> None:
    stage.sender()
    receiver = stage.receiver(MidiSection())
    listening(receiver)
    jack.kill()
    receiver.asked("reconnect")
    assert receiver.hear().startswith("warning: MIDI: waiting")
    jack.start()
    sender = stage.sender()
    listening(receiver)
    sender.asked("send 144 36 100")
    assert receiver.hear() == str(Mute("vocals"))
    jack.kill()
    assert receiver.process.stdin is not None
    receiver.process.stdin.close()
    assert receiver.hear() == "stopped"
    assert receiver.process.wait(10) == 0
    jack.start()


def test_a_machine_without_midi_is_fine_and_quiet() -> None:
    code = """
import time
from rt.sections import MidiSection
from rt.midi import MidiInput, list_ports
print(list_ports())
said = []
with MidiInput(MidiSection(api="jack"), print, said.append) as midi:
    time.sleep(1.5)
    print(midi.status())
assert said == []  # nobody asked for a port
"""
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=30,
        check=False, env={**os.environ, "JACK_DEFAULT_SERVER": "nobody-home",
                          "JACK_NO_START_SERVER": "1"})
    assert (result.returncode, result.stderr) == (0, "")
    assert "MIDI: waiting for a port" in result.stdout


@pytest.mark.timeout(60)
def test_ports_are_listed(stage: Stage) -> None:
    stage.sender()
    code = "from rt.midi import list_ports; print(list_ports())"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True,
                            timeout=30, check=False)
    assert (result.stdout.strip(), result.stderr) == ("[('jack', 'nanoPAD:out')]", "")
