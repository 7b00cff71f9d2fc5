"""The streaming model over a whole signal: the live separator itself, with its latency taken off.

Runs through ONNX Runtime and never imports torch, so what it writes is what a performer hears.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from rt.separator import Masker, Separator
from rt.session import Session
from rt.spec import CHANNELS


class Streamed:
    """An offline separator; one thread, one signal at a time."""

    def __init__(self, masker: Masker) -> None:
        self._separator = Separator(masker)
        self.sample_rate = masker.spec.sample_rate
        self.stems = masker.spec.stems

    @classmethod
    def load(cls, path: str | Path, device: str = "auto", threads: int = 1) -> Streamed:
        """device: auto, cpu or cuda. Raises SessionError."""
        return cls(Session(path, device, threads))

    def separate(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Blocks [n, 2] at `sample_rate` -> stems [m, stems, 2], aligned with what came in to the
        sample, and in the end as many."""
        spec = self._separator.spec
        self._separator.reset()
        late, taken, given = spec.algorithmic_latency, 0, 0
        for block in blocks:
            taken += len(block)
            stems = self._separator.push(block)
            fresh, late = stems[late:], max(0, late - len(stems))
            given += len(fresh)
            yield fresh
        # silence pushes out what the latency still holds
        stems = self._separator.push(np.zeros((spec.synthesis, CHANNELS), np.float32))
        yield stems[late:][:taken - given]
