"""Ties the compiled callback to a shared block, in the process where it will run.

Apart from rt.callback because that file holds compiled code and the layout of its context only.
"""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from rt import callback as cb
from rt.callback import audio_callback
from rt.rings import SharedBlock

CROSSFADE_S = 0.005  # from dry back to stems
DECLICK_S = 0.0015  # time constant of a step's decay
ENERGY_S = 0.4  # memory of the stems' levels
LEVEL_S = 0.3  # a meter falls to nothing in this time
# of the block; the context has their addresses under the same names
_WORDS = ("played", "input_end", "block_max", "block_gcd", "underruns", "source_misses",
          "stems_end", "queue", "alignment", "source_end", "length", "bypass")
_ARRAYS = ("gains", "levels", "source", "inputs", "outputs", "stems")


@dataclass(frozen=True)
class Wiring:
    """Which channels of how many, counted from 0; what the input is taken from."""

    takes: int = cb.FROM_DEVICE
    in_channels: int = 2
    in_pair: tuple[int, int] = (0, 1)
    out_channels: int = 2
    out_pair: tuple[int, int] = (0, 1)


class Binding:
    """The callback, bound.

    Made and kept by the engine's main thread for as long as a stream may call it; after that only
    the audio thread enters, by `address` with `user` (PortAudio) or by `call` (the clock thread,
    which must then be the only one).
    """

    def __init__(self, block: SharedBlock, wiring: Wiring, sample_rate: int, ramp_ms: float,
                 wake_fd: int = -1, wake_step: int = 1) -> None:
        """wake_fd: a non-blocking pipe that gets a byte whenever input crosses a multiple of
        wake_step samples; -1 for none."""
        stems = block.stem_count
        self._block = block  # keeps the memory mapped
        self._state = np.zeros(cb.PER_STEM + 3 * stems, np.float64)
        self._context = np.zeros(cb.CONTEXT_SIZE, np.int64)
        state, context = self._state, self._context
        state[cb.SLEW] = 1 / max(1, round(ramp_ms * sample_rate / 1000))
        state[cb.FADE] = 1 / (CROSSFADE_S * sample_rate)
        state[cb.DECLICK] = math.exp(-1 / (DECLICK_S * sample_rate))
        state[cb.ENERGY_SHARE] = 1 / (ENERGY_S * sample_rate)
        state[cb.LEVEL_FALL] = 1 / (LEVEL_S * sample_rate)
        state[cb.LAST_QUEUE] = -1
        state[cb.WETNESS] = state[cb.RATIO] = 1
        state[cb.PER_STEM:cb.PER_STEM + stems] = block.gains
        state[cb.BYPASSED] = block.get("bypass")
        for word in _WORDS:
            context[getattr(cb, word.upper())] = block.address(word)
        for ring in _ARRAYS:
            context[getattr(cb, ring.upper())] = getattr(block, ring).ctypes.data
        context[cb.STATE] = state.ctypes.data
        context[cb.CAPACITY], context[cb.STEM_COUNT] = block.capacity, stems
        context[cb.TAKES] = wiring.takes
        context[cb.IN_CHANNELS], context[cb.OUT_CHANNELS] = wiring.in_channels, wiring.out_channels
        context[cb.IN_LEFT], context[cb.IN_RIGHT] = wiring.in_pair
        context[cb.OUT_LEFT], context[cb.OUT_RIGHT] = wiring.out_pair
        context[cb.WAKE_FD], context[cb.WAKE_STEP] = wake_fd, wake_step

    @property
    def address(self) -> int:
        """Of the C function: a PaStreamCallback."""
        address = audio_callback.address
        assert address is not None
        return address

    @property
    def user(self) -> int:
        """Address to be handed to it as user data."""
        return self._context.ctypes.data

    def call(self, inp: np.ndarray | None, out: np.ndarray | None, frames: int) -> None:
        """One block, as the device would: interleaved float32 [frames * channels] or None."""
        audio_callback.ctypes(_float_pointer(inp), _float_pointer(out), frames, None, 0,
                              ctypes.cast(self.user, ctypes.POINTER(ctypes.c_int64)))


def _float_pointer(array: np.ndarray | None) -> Any:
    return None if array is None else array.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
