"""What a performer can do to the mix, as plain values, and the state they act on. Pure.

MIDI, keyboard and scripts all become Commands; `MixState.apply` is the only place that knows what
they mean. The resulting gains go to the callback through the control block.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Mute:
    """on=None toggles."""

    stem: str
    on: bool | None = None


@dataclass(frozen=True)
class Solo:
    """Solo in place; on=None toggles. Several stems may be soloed."""

    stem: str
    on: bool | None = None


@dataclass(frozen=True)
class Gain:
    """Linear, 0 is silence and 1 unity."""

    stem: str
    gain: float


@dataclass(frozen=True)
class Bypass:
    """The dry input, delayed as the stems are; on=None toggles."""

    on: bool | None = None


Command = Mute | Solo | Gain | Bypass


@dataclass(frozen=True)
class Strip:
    stem: str
    gain: float = 1.0
    mute: bool = False
    solo: bool = False


@dataclass(frozen=True)
class MixState:
    """Immutable: `apply` returns the next state."""

    strips: tuple[Strip, ...]
    bypass: bool = False

    @classmethod
    def of(cls, stems: Sequence[str], gains: dict[str, float] | None = None,
           muted: Sequence[str] = ()) -> MixState:
        gains = gains or {}
        return cls(tuple(Strip(s, gains.get(s, 1.0), s in muted) for s in stems))

    def apply(self, command: Command) -> MixState:
        """Raises KeyError for a stem that is not there."""
        if isinstance(command, Bypass):
            return replace(self, bypass=_toggled(self.bypass, command.on))
        if command.stem not in (s.stem for s in self.strips):
            raise KeyError(command.stem)
        return replace(self, strips=tuple(
            _act(s, command) if s.stem == command.stem else s for s in self.strips))

    def gains(self) -> tuple[float, ...]:
        """Effective linear gain of every stem: a mute wins over a solo, a solo over no solo."""
        soloed = any(s.solo for s in self.strips)
        return tuple(0.0 if s.mute or (soloed and not s.solo) else s.gain for s in self.strips)


def _toggled(now: bool, on: bool | None) -> bool:
    return not now if on is None else on


def _act(strip: Strip, command: Mute | Solo | Gain) -> Strip:
    if isinstance(command, Mute):
        return replace(strip, mute=_toggled(strip.mute, command.on))
    if isinstance(command, Solo):
        return replace(strip, solo=_toggled(strip.solo, command.on))
    return replace(strip, gain=max(0.0, command.gain))
