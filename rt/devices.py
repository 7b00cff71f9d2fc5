"""Sound devices: the only sounddevice import, made when it is first needed.

Importing sounddevice starts PortAudio, which joins a running JACK server and hangs at exit when
that server dies; so only the engine process, which can be killed, does it during a performance.
Without the PortAudio library everything that needs no device still works.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal

import numpy as np

Kind = Literal["input", "output"]
JACK = "JACK Audio Connection Kit"
_BAD_RATE, _BAD_CHANNELS, _BAD_COMBINATION, _UNAVAILABLE = -9997, -9998, -9993, -9985


class DeviceError(RuntimeError):
    """A device that is not there or cannot do what was asked; one line for the user."""


@dataclass(frozen=True)
class Device:
    index: int
    name: str
    hostapi: str
    inputs: int
    outputs: int
    default_rate: int

    def __str__(self) -> str:
        return f"{self.hostapi}: {self.name}"

    def channels(self, kind: Kind) -> int:
        return self.inputs if kind == "input" else self.outputs


def _sounddevice() -> ModuleType:
    """Raises DeviceError where the PortAudio library is missing."""
    try:
        import sounddevice
    except OSError as error:
        raise DeviceError("the PortAudio library is not installed (Debian, Ubuntu: apt-get install "
                          "libportaudio2); files, demo and null work without it") from error
    return sounddevice


def rescan() -> None:
    """Looks again for devices and servers; only while no stream is open."""
    sd = _sounddevice()
    sd._terminate()
    sd._initialize()


def all_devices() -> list[Device]:
    """Raises DeviceError."""
    sd = _sounddevice()
    apis = sd.query_hostapis()
    return [Device(i, d["name"], apis[d["hostapi"]]["name"], d["max_input_channels"],
                   d["max_output_channels"], round(d["default_samplerate"]))
            for i, d in enumerate(sd.query_devices())]


def table() -> str:
    """One line per device; > marks the default input, < the default output. Raises DeviceError."""
    devices = all_devices()
    if not devices:
        return "no sound devices; files, demo and null work without one"
    default = {kind: _default(kind, devices) for kind in ("input", "output")}
    lines = []
    for d in devices:
        mark = (">" if d == default["input"] else " ") + ("<" if d == default["output"] else " ")
        lines.append(f"{mark} {d.index:3} {d.name}, {d.hostapi} "
                     f"({d.inputs} in, {d.outputs} out, {d.default_rate} Hz)")
    return "\n".join(lines)


def resolve(kind: Kind, wanted: str | int | None) -> Device:
    """By id, by name, by part of a name ("usb"), or by part and host API ("usb, alsa").

    An exact name wins over a part. Raises DeviceError that lists the candidates.
    """
    every = all_devices()
    devices = [d for d in every if d.channels(kind)]
    if not devices:
        sought = "" if wanted is None else f", so none that matches {wanted!r}"
        raise DeviceError(f"no {kind} device on this system{sought}")
    if wanted is None:
        return _default(kind, devices) or devices[0]
    if isinstance(wanted, int) or wanted.isdecimal():
        found = [d for d in every if d.index == int(wanted)]
        if not found:
            raise DeviceError(f"no device has id {wanted}; {_candidates(kind, devices)}")
        if found[0] not in devices:
            raise DeviceError(f"device {wanted} ({found[0]}) has no {kind}; "
                              f"{_candidates(kind, devices)}")
        return found[0]
    found = _matching(wanted, devices)
    if not found:
        raise DeviceError(f"no {kind} device matches {wanted!r}; {_candidates(kind, devices)}")
    if len(found) > 1:
        raise DeviceError(f"{wanted!r} matches several {kind} devices; {_candidates(kind, found)}")
    return found[0]


def _default(kind: Kind, devices: list[Device]) -> Device | None:
    """PortAudio's own default, where it has one with channels."""
    index = _sounddevice().default.device[0 if kind == "input" else 1]
    if index < 0:
        apis = _sounddevice().query_hostapis()
        index = next((api[f"default_{kind}_device"] for api in apis
                      if api[f"default_{kind}_device"] >= 0), -1)
    return next((d for d in devices if d.index == index and d.channels(kind)), None)


def _matching(wanted: str, devices: list[Device]) -> list[Device]:
    lower = wanted.lower().strip()
    exact = [d for d in devices if lower in (d.name.lower(), f"{d.name}, {d.hostapi}".lower())]
    if len(exact) == 1:
        return exact
    words = [word.strip(",") for word in lower.split()]
    return [d for d in exact or devices
            if all(word in f"{d.name}, {d.hostapi}".lower() for word in words)]


def _candidates(kind: Kind, devices: list[Device]) -> str:
    return f"{kind}s: " + "; ".join(f"{d.index} {d.name}, {d.hostapi}" for d in devices)


def check_pair(kind: Kind, device: Device, pair: tuple[int, int]) -> tuple[int, int]:
    """Channels counted from 1 -> counted from 0; a mono device is doubled. Raises DeviceError."""
    have = device.channels(kind)
    if have == 1:
        pair = (1, 1)
    if max(pair) > have:
        flag = "--channels" if kind == "input" else "--output-channels"
        raise DeviceError(f"{device}: {kind} channels {pair[0]} and {pair[1]} were asked for, "
                          f"it has {have}; choose others with {flag}")
    return pair[0] - 1, pair[1] - 1


@dataclass(frozen=True)
class End:
    """One end of a stream: which two channels of which device, counted from 0."""

    kind: Kind
    device: Device
    pair: tuple[int, int]

    def channels(self, rate: int) -> int:
        """As few as hold the pair, or all where the device takes no fewer; 0 where it does not
        run at this rate. Raises DeviceError."""
        sd = _sounddevice()
        check = sd.check_input_settings if self.kind == "input" else sd.check_output_settings
        refusal: Exception | None = None
        for count in dict.fromkeys((max(self.pair) + 1, self.device.channels(self.kind))):
            try:
                check(device=self.device.index, channels=count, dtype="float32", samplerate=rate)
                return count
            except sd.PortAudioError as error:
                if _code(error) == _BAD_RATE:
                    return 0
                refusal = error
        raise DeviceError(f"{self.device}: {_first_line(refusal)}") from refusal


def choose_rate(ends: list[End], asked: int | None, preferred: int) -> int:
    """The asked rate, or the preferred one where all the devices have it, or the first device's
    own. Raises DeviceError."""
    own = ends[0].device.default_rate
    for rate in (asked,) if asked is not None else (preferred, own):
        refusing = [end.device for end in ends if not end.channels(rate)]
        if not refusing:
            return rate
    device, rate = refusing[0], asked or own
    raise DeviceError(f"{device} does not run at {rate} Hz; its own rate is {device.default_rate} "
                      f"Hz: use --samplerate {device.default_rate}, or leave it out")


class Stream:
    """An open stream on the compiled callback. One thread opens, starts and closes it.

    A dead JACK server makes `start` and `close` hang: be ready to be killed.
    """

    def __init__(self, ends: list[End], *, rate: int, blocksize: int, latency: str | float,
                 callback: int, user: int) -> None:
        """ends: an input, an output or both, in this order; callback, user: addresses that stay
        valid until `close`. Raises DeviceError."""
        sd = _sounddevice()
        self._what = " and ".join(dict.fromkeys(str(end.device) for end in ends))
        self.jack = any(end.device.hostapi == JACK for end in ends)
        pair = len(ends) == 2
        kind: Any = "duplex" if pair else ends[0].kind
        device: Any = [end.device.index for end in ends]
        channels: Any = [end.channels(rate) for end in ends]
        try:
            self._stream = sd._StreamBase(
                kind=kind, dtype="float32", device=device if pair else device[0],
                channels=channels if pair else channels[0], samplerate=rate,
                blocksize=blocksize, latency=latency, clip_off=True,
                callback=sd._ffi.cast("PaStreamCallback*", callback),
                userdata=sd._ffi.cast("void*", user))
        except sd.PortAudioError as error:
            raise DeviceError(self._explain(error, rate, pair)) from error

    def start(self) -> None:
        """Raises DeviceError."""
        try:
            self._stream.start()
        except _sounddevice().PortAudioError as error:
            raise DeviceError(f"{self._what}: {_first_line(error)}") from error

    @property
    def active(self) -> bool:
        return self._stream.active

    def latency_s(self) -> list[float] | None:
        """Input, output or both as the driver tells, None where it tells nonsense (JACK)."""
        told = [float(value) for value in np.atleast_1d(self._stream.latency)]
        return told if not self.jack and all(0 < value < 2 for value in told) else None

    def close(self) -> None:
        self._stream.abort(ignore_errors=True)
        self._stream.close(ignore_errors=True)

    def _explain(self, error: Exception, rate: int, pair: bool) -> str:
        code = _code(error)
        if code == _BAD_COMBINATION or (pair and code == _BAD_RATE):
            return (f"{self._what} cannot run as one stream at {rate} Hz: choose an input and an "
                    "output of the same device, or of one host API at a common rate")
        if code == _BAD_RATE:
            return f"{self._what} does not run at {rate} Hz: leave --samplerate out"
        if code == _BAD_CHANNELS:
            return f"{self._what} does not offer the channels it lists: {_first_line(error)}"
        if code == _UNAVAILABLE:
            return f"{self._what} is in use by another program, or unplugged"
        return f"{self._what} cannot be opened: {_first_line(error)}"


def _code(error: Exception) -> int | None:
    return error.args[1] if len(error.args) > 1 else None


def _first_line(error: Exception | None) -> str:
    return str(error).strip().splitlines()[0]
