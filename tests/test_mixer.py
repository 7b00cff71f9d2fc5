import threading

import pytest

from rt.commands import Gain, MixState, Mute
from rt.mixer import Mixer


def test_a_command_has_acted_when_send_returns() -> None:
    heard: list[tuple[tuple[float, ...], bool]] = []
    mixer = Mixer(MixState.of(["a", "b"], {"b": 0.5}, muted=["a"]),
                  lambda gains, bypass: heard.append((tuple(gains), bypass)))
    assert heard == [((0.0, 0.5), False)]
    mixer.send(Mute("a"))
    assert heard[-1] == ((1.0, 0.5), False)
    assert mixer.state().gains() == heard[-1][0]
    with pytest.raises(KeyError):
        mixer.send(Mute("nosuch"))


def test_two_hands_at_once_lose_nothing() -> None:
    heard: list[tuple[float, ...]] = []
    mixer = Mixer(MixState.of(["a", "b"]), lambda gains, _: heard.append(tuple(gains)))

    def play(stem: str) -> None:
        for i in range(500):
            mixer.send(Gain(stem, i / 499))

    hands = [threading.Thread(target=play, args=(stem,)) for stem in ("a", "b")]
    for hand in hands:
        hand.start()
    for hand in hands:
        hand.join()
    assert len(heard) == 1001
    assert heard[-1] == mixer.state().gains() == (1.0, 1.0)
