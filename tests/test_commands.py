"""MixState: what every command does, alone and in any order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rt.commands import Bypass, Command, Gain, MixState, Mute, Solo

STEMS = ("vocals", "drums", "bass", "other")
stems = st.sampled_from(STEMS)
switch = st.none() | st.booleans()
# subnormals are nothing to a fader, and a session that another test opened may have flushed them
# to zero in this thread (rt.session), which hypothesis refuses to work with
commands = st.one_of(
    st.builds(Mute, stems, switch), st.builds(Solo, stems, switch),
    st.builds(Gain, stems, st.floats(-1, 4, allow_subnormal=False)), st.builds(Bypass, switch))


def played(given: list[Command], state: MixState | None = None) -> MixState:
    state = state or MixState.of(STEMS)
    for command in given:
        state = state.apply(command)
    return state


@given(st.lists(commands))
def test_gains_follow_mute_then_solo_then_fader(given: list[Command]) -> None:
    state = played(given)
    any_solo = any(s.solo for s in state.strips)
    for strip, gain in zip(state.strips, state.gains(), strict=True):
        heard = not strip.mute and (strip.solo or not any_solo)
        assert gain == (strip.gain if heard else 0)
        assert strip.gain >= 0


@given(st.lists(commands), commands)
def test_a_command_touches_one_stem_and_leaves_the_old_state_alone(
        before: list[Command], command: Command) -> None:
    old = played(before)
    copy = MixState(old.strips, old.bypass)
    new = old.apply(command)
    assert old == copy
    touched = [a.stem for a, b in zip(old.strips, new.strips, strict=True) if a != b]
    assert set(touched) <= ({command.stem} if not isinstance(command, Bypass) else set())
    assert [s.stem for s in new.strips] == list(STEMS)


@given(st.lists(commands), st.one_of(
    st.builds(Mute, stems), st.builds(Solo, stems), st.builds(Bypass)))
def test_a_toggle_twice_is_nothing(before: list[Command], toggle: Command) -> None:
    state = played(before)
    assert played([toggle, toggle], state) == state


@given(st.lists(commands), commands)
def test_an_explicit_command_twice_is_once(before: list[Command], command: Command) -> None:
    if getattr(command, "on", True) is None:
        return
    once = played(before).apply(command)
    assert once.apply(command) == once


def test_a_fresh_mix_is_unity_and_settings_are_taken_over() -> None:
    assert MixState.of(STEMS).gains() == (1, 1, 1, 1)
    state = MixState.of(STEMS, {"bass": 0.5}, muted=("drums",))
    assert state.gains() == (1, 0, 0.5, 1)
    assert state.apply(Mute("drums", False)).gains() == (1, 1, 0.5, 1)


@pytest.mark.parametrize("command", [Mute("flute"), Solo("flute"), Gain("flute", 1)])
def test_an_unknown_stem_is_a_key_error(command: Command) -> None:
    with pytest.raises(KeyError, match="flute"):
        MixState.of(STEMS).apply(command)
