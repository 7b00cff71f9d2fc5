"""The keystone: stereo samples in, stems out. No threads, no devices, no files.

Tests, benches, offline separation and the live engine all run this object.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from rt.spec import CHANNELS, StreamSpec
from rt.stft import StreamingSTFT


class Masker(Protocol):
    """What turns a spectrum into masks: a Session, or something simpler in tests."""

    spec: StreamSpec

    def step(self, spectrum: np.ndarray) -> np.ndarray:
        """spectrum [bins, 4] -> masks [stems - 1, bins, 4]: the last stem is what the others leave
        of the input. May return the same buffer every time."""
        ...

    def reset(self) -> None: ...


class EqualShares:
    """Masks of 1/stems everywhere. For tests, benches."""

    def __init__(self, spec: StreamSpec) -> None:
        self.spec = spec
        self.masks = np.zeros((len(spec.stems) - 1, spec.bins, 2 * CHANNELS), np.float32)
        self.masks[..., :CHANNELS] = 1 / len(spec.stems)

    def step(self, spectrum: np.ndarray) -> np.ndarray:
        return self.masks

    def reset(self) -> None: ...


class Separator:
    """One thread at a time. Stems trail the input by `spec.algorithmic_latency` samples, and add up
    to it."""

    def __init__(self, masker: Masker) -> None:
        self.spec = masker.spec
        self._masker = masker
        self._stft = StreamingSTFT(self.spec)
        self._masks = EqualShares(self.spec).masks
        self._pending = np.zeros((self.spec.hop, CHANNELS), np.float32)
        self._filled = 0

    def reset(self) -> None:
        """Back to silence: empty history, initial state."""
        self._masker.reset()
        self._stft.reset()
        self._masks = EqualShares(self.spec).masks
        self._filled = 0

    def step(self, hop: np.ndarray, fresh: bool = True) -> np.ndarray:
        """hop [H, 2] -> stems [H, stems, 2], a buffer overwritten by the next call.

        fresh=False puts the newest masks there are on this spectrum without asking the network:
        a tenth of the time, for an engine that has fallen behind. The network's state stands
        still meanwhile.
        """
        spectrum = self._stft.analyse(hop)
        if fresh:
            self._masks = self._masker.step(spectrum)
        return self._stft.synthesise(self._masks)

    def push(self, samples: np.ndarray) -> np.ndarray:
        """samples [n, 2], any n -> stems [m, stems, 2] for the hops that are now complete.

        m is a multiple of the hop; however the input is cut, the concatenated output is the same.
        Raises ValueError for another shape.
        """
        if samples.ndim != 2 or samples.shape[1] != CHANNELS:
            raise ValueError(f"samples must be [n, {CHANNELS}], not {list(samples.shape)}")
        size = self.spec.hop
        out = np.empty(((self._filled + len(samples)) // size * size, len(self.spec.stems),
                        CHANNELS), np.float32)
        done = at = 0
        while at < len(samples):
            n = min(size - self._filled, len(samples) - at)
            self._pending[self._filled:self._filled + n] = samples[at:at + n]
            self._filled += n
            at += n
            if self._filled == size:
                out[done:done + size] = self.step(self._pending)
                done += size
                self._filled = 0
        return out
