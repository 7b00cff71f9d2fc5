"""MIDI in: messages become Commands (pure), and the port they come from is found and kept open.

Apart so that everything MIDI stands in one place: the mapping needs no hardware to be tested, and
nothing else knows python-rtmidi, which is imported only when a port is wanted.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from rt.commands import Bypass, Command, Gain, Mute, Solo
from rt.sections import Binding, MidiSection

NOTE_OFF, NOTE_ON, CONTROL_CHANGE = 0x80, 0x90, 0xB0
PRESSED = 64  # a CC at or above this is a button held down
CLIENT = "bandsplit-live"
POLL_S = 0.003
CHECK_S = 0.25  # while a port is open: is it still there?
SEARCH_S = 1.0  # while none is
API_NAMES = {"alsa": "LINUX_ALSA", "jack": "UNIX_JACK", "coremidi": "MACOSX_CORE",
             "winmm": "WINDOWS_MM"}


def fader(value: int) -> float:
    """CC value 0..127 -> linear gain: full up is unity, down is silence, square law between, so
    that half way is -12 dB as on a mixer's channel fader."""
    return (value / 127) ** 2


def to_commands(message: Sequence[int], bindings: Sequence[Binding], channel: int | None = None,
                previous: int | None = None) -> tuple[Command, ...]:
    """One MIDI message -> what its bindings ask for, in their order; () for everything else.

    `channel` 1..16 filters, None takes all. A note in toggle mode acts on note-on; in hold mode
    note-on is on and note-off off. Velocity 0 is note-off. A CC bound to gain moves the fader; any
    other CC is a button, pressed from 64 up, and acts when it crosses that: `previous` is the same
    controller's last value, None where there was none.
    """
    if len(message) != 3:
        return ()
    kind, number, value = message[0] & 0xF0, message[1], message[2]
    if channel is not None and message[0] & 0x0F != channel - 1:
        return ()
    commands = []
    for binding in bindings:
        if kind in (NOTE_ON, NOTE_OFF) and binding.note == number:
            pressed = kind == NOTE_ON and value > 0
            commands.append(_button(binding, pressed, True))
        elif kind == CONTROL_CHANGE and binding.cc == number:
            if binding.action == "gain":
                commands.append(Gain(binding.stem or "", fader(value)))
            else:
                crossed = previous is None or (previous >= PRESSED) != (value >= PRESSED)
                commands.append(_button(binding, value >= PRESSED, crossed))
    return tuple(c for c in commands if c is not None)


def _button(binding: Binding, pressed: bool, acted: bool) -> Command | None:
    if not acted or (binding.mode == "toggle" and not pressed):
        return None
    on = pressed if binding.mode == "hold" else None
    if binding.action == "bypass":
        return Bypass(on)
    return (Mute if binding.action == "mute" else Solo)(binding.stem or "", on)


def list_ports() -> list[tuple[str, str]]:
    """(API, port name) of every MIDI input there is, for people; empty where there is no MIDI."""
    found = []
    for api in _apis("auto"):
        client = _client(api)
        if client is not None:
            found += [(api, name) for name in client.get_ports()]
            client.delete()
    return found


class MidiInput:
    """Turns messages from one port into commands, for as long as it runs.

    `start`, `stop`, `reconnect` and `status` belong to the control thread. Everything else runs on
    the thread that `start` makes: only it touches rtmidi, and `send` and `warn` are called from
    it. It polls rtmidi's queue every 3 ms instead of taking a callback, because under JACK that
    callback would run Python inside the server's audio cycle.

    A port that was named and is missing, or that vanishes, is a warning once and is opened when it
    appears: ALSA before JACK on Linux. One that vanishes and returns within a quarter of a second
    is not noticed.
    """

    def __init__(self, section: MidiSection, send: Callable[[Command], None],
                 warn: Callable[[str], None] = lambda line: None) -> None:
        self._section = section
        self._send = send
        self._warn = warn
        self._clients: dict[str, Any] = {}  # API -> rtmidi.MidiIn, made once and kept
        self._open: tuple[str, str] | None = None  # API and name of the open port
        self._values: dict[tuple[int, int], int] = {}  # (status byte, CC) -> last value
        self._status = "MIDI: starting"
        self._had_port = False
        self._warned: set[str] = set()
        self._stop = threading.Event()
        self._again = threading.Event()
        self._searched = threading.Event()
        self._thread = threading.Thread(target=self._run, name="midi", daemon=True)

    def start(self) -> None:
        """Returns when the port is open or is known to be missing, or after a second."""
        self._thread.start()
        self._searched.wait(SEARCH_S)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def __enter__(self) -> MidiInput:
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()

    def reconnect(self) -> None:
        """Opens everything anew: a JACK server that died takes its ports with it and rtmidi cannot
        tell. Call it when the audio engine had to be respawned."""
        self._again.set()

    def status(self) -> str:
        """One line for a console."""
        return self._status

    def _run(self) -> None:
        while not self._stop.is_set():
            if self._again.is_set():
                self._again.clear()
                self._close()
            if self._open is None:
                found = self._search()
                self._searched.set()
                if not found:
                    self._stop.wait(SEARCH_S)
                    continue
            self._listen(time.monotonic() + CHECK_S)
        self._close()

    def _search(self) -> bool:
        for api in _apis(self._section.api):
            if self._clients.get(api) is None:
                self._clients[api] = _client(api)
            client = self._clients[api]
            names = client.get_ports() if client is not None else []
            found = next((n for n in names if _wanted(n, self._section.port)), None)
            if found is not None and _opened(client, names.index(found)):
                self._open = api, found
                self._values.clear()
                self._status = f"MIDI: {found} ({api.upper()})"
                self._had_port = True
                self._warned.discard("port")
                return True
        wanted = "a port" if self._section.port is None else f"a port named {self._section.port!r}"
        where = "" if self._section.api == "auto" else f" ({self._section.api.upper()})"
        self._status = f"MIDI: waiting for {wanted}{where}"
        if self._section.port is not None or self._had_port:  # not everybody has MIDI
            self._warn_once("port", f"{self._status}; --list-midi shows what there is")
        return False

    def _listen(self, until: float) -> None:
        """Acts on messages until it is time to see whether the port is still there."""
        assert self._open is not None
        api, name = self._open
        client = self._clients[api]
        while not self._stop.is_set() and time.monotonic() < until:
            while (event := client.get_message()) is not None:
                self._receive(event[0])
            time.sleep(POLL_S)
        if name not in client.get_ports():
            client.close_port()
            self._open = None

    def _receive(self, message: list[int]) -> None:
        previous = None
        if len(message) == 3 and message[0] & 0xF0 == CONTROL_CHANGE:
            key = message[0], message[1]
            previous, self._values[key] = self._values.get(key), message[2]
        for command in to_commands(message, self._section.bindings, self._section.channel,
                                   previous):
            try:
                self._send(command)
            except KeyError as error:
                self._warn_once(str(error), f"MIDI: this model has no stem {error}")

    def _close(self) -> None:
        for client in self._clients.values():
            if client is not None:
                client.close_port()
                client.delete()
        self._clients.clear()
        self._open = None

    def _warn_once(self, what: str, line: str) -> None:
        if what not in self._warned:
            self._warned.add(what)
            self._warn(line)


def _wanted(name: str, part: str | None) -> bool:
    if part is None:
        return "through" not in name.lower()
    return part.lower() in name.lower()


def _rtmidi() -> Any:
    """python-rtmidi: a compiled module without types, and not needed before MIDI is."""
    return importlib.import_module("rtmidi")


def _apis(choice: str) -> list[str]:
    """The APIs to look in, in order, out of those that this build of python-rtmidi has."""
    rtmidi = _rtmidi()
    built = rtmidi.get_compiled_api()
    names = ["alsa", "jack", "coremidi", "winmm"] if choice == "auto" else [choice]
    return [n for n in names if getattr(rtmidi, f"API_{API_NAMES[n]}") in built]


def _client(api: str) -> Any:
    """A rtmidi.MidiIn without a port, or None where the API has nothing to talk to."""
    if api == "alsa" and not os.access("/dev/snd/seq", os.R_OK | os.W_OK):
        return None  # ALSA's library would write its complaint over the screen
    rtmidi = _rtmidi()
    if api == "jack":
        _hush_jack(rtmidi)
    try:
        return rtmidi.MidiIn(getattr(rtmidi, f"API_{API_NAMES[api]}"), name=CLIENT)
    except rtmidi.SystemError:  # no server, no driver: asked again at the next search
        return None


def _opened(client: Any, index: int) -> bool:
    rtmidi = _rtmidi()
    try:
        client.open_port(index, "control")
    except (rtmidi.InvalidPortError, rtmidi.SystemError):  # vanished since it was listed
        return False
    return True


def _hush_jack(rtmidi: Any) -> None:
    """Where no server runs, JACK's library prints several lines a try. Its message handlers are
    replaced by a C function that takes a string and does nothing: a Python one could be called
    from a JACK thread while this one holds the GIL and waits for it."""
    if sys.platform == "win32":
        return
    library = ctypes.CDLL(rtmidi._rtmidi.__file__)  # finds symbols in what it is linked to as well
    quiet = ctypes.cast(ctypes.CDLL(None).strlen, ctypes.c_void_p)
    for name in ("jack_set_error_function", "jack_set_info_function"):
        if hasattr(library, name):
            getattr(library, name)(quiet)
