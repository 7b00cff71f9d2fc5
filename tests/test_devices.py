"""Finding devices and saying what is wrong with them, against a real JACK server."""

from __future__ import annotations

import pytest
from jackrig import Card, isolated, jack_server

from rt import devices
from rt.devices import Device, DeviceError, End

ME = "test_devices"
USB = Device(0, "USB Audio", "ALSA", 2, 2, 44_100)
USB_2 = Device(1, "USB Audio 2", "ALSA", 2, 0, 44_100)
SPEAKER = Device(2, "Speaker", "ALSA", 0, 2, 48_000)
USB_JACK = Device(3, "USB Audio", "JACK Audio Connection Kit", 1, 1, 48_000)


@pytest.fixture
def three(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "all_devices", lambda: [USB, USB_2, SPEAKER, USB_JACK])


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize(("kind", "wanted", "found"), [
    ("input", 1, USB_2), ("output", "2", SPEAKER), ("output", "speak", SPEAKER),
    ("input", "usb audio, alsa", USB), ("input", "audio jack", USB_JACK),
    ("input", "usb audio 2", USB_2), ("output", "SPEAKER, alsa", SPEAKER),
])
def test_by_id_by_name_and_by_host_api(kind: devices.Kind, wanted: str | int,
                                       found: Device) -> None:
    assert devices.resolve(kind, wanted) == found


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize(("kind", "wanted", "message"), [
    ("input", "nosuch", "no input device matches 'nosuch'; inputs: 0 USB Audio, ALSA; 1 "),
    ("input", 9, "no device has id 9; inputs: "),
    ("input", 2, "device 2 .* has no input; inputs: 0 "),
    ("input", "usb", "'usb' matches several input devices; inputs: 0 USB Audio, ALSA; 1 .*; 3"),
])
def test_what_is_not_there_lists_what_is(kind: devices.Kind, wanted: str | int,
                                         message: str) -> None:
    with pytest.raises(DeviceError, match=message) as caught:
        devices.resolve(kind, wanted)
    assert "\n" not in str(caught.value)


def test_channels_count_from_one_and_mono_is_doubled() -> None:
    assert devices.check_pair("input", USB, (2, 1)) == (1, 0)
    assert devices.check_pair("input", USB_JACK, (1, 2)) == (0, 0)
    with pytest.raises(DeviceError, match="channels 3 and 4 were asked for, it has 2"):
        devices.check_pair("output", SPEAKER, (3, 4))


def test_with_jack() -> None:
    with jack_server(48_000, 256):
        isolated(ME, "lists_and_refuses")


def lists_and_refuses() -> None:
    card = Card("mycard", channels=4)
    table = devices.table()
    assert "mycard, JACK Audio Connection Kit (4 in, 4 out, 48000 Hz)" in table
    assert ">" in table
    assert "<" in table
    assert devices.resolve("input", None).inputs > 0
    device = devices.resolve("input", "mycard")
    ends = [End("input", device, (0, 1)), End("output", device, (2, 3))]
    assert [end.channels(48_000) for end in ends] == [2, 4]
    assert devices.choose_rate(ends, None, 44_100) == 48_000
    assert devices.choose_rate(ends, None, 48_000) == 48_000
    with pytest.raises(DeviceError, match="does not run at 44100 Hz; its own rate is 48000"):
        devices.choose_rate(ends, 44_100, 44_100)
    with pytest.raises(DeviceError, match="it has 4"):
        devices.check_pair("input", device, (5, 6))
    stream = devices.Stream(ends, rate=48_000, blocksize=0, latency="low", callback=1, user=0)
    assert stream.latency_s() is None  # JACK tells nonsense
    stream.close()
    card.close()


def test_without_portaudio() -> None:
    isolated(ME, "no_portaudio")


def no_portaudio() -> None:
    import builtins
    real = builtins.__import__

    def without(name, *rest):
        if name == "sounddevice":
            raise OSError("PortAudio library not found")
        return real(name, *rest)
    builtins.__import__ = without
    with pytest.raises(DeviceError, match="PortAudio library is not installed"):
        devices.table()
