"""The one mix that keyboard and MIDI act on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from rt.commands import Command, MixState


class Mixer:
    """Any thread may call anything. A command takes effect before `send` returns: the gains go
    straight to `apply`, in the order in which the commands came."""

    def __init__(self, state: MixState, apply: Callable[[Sequence[float], bool], None]) -> None:
        self._lock = threading.Lock()
        self._state = state
        self._apply = apply
        apply(state.gains(), state.bypass)

    def send(self, command: Command) -> None:
        """Raises KeyError for a stem that is not there."""
        with self._lock:
            self._state = self._state.apply(command)
            self._apply(self._state.gains(), self._state.bypass)

    def state(self) -> MixState:
        return self._state
