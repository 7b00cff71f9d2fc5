"""The ways a model goes over a whole signal to be scored: offline, or as it runs live.

Apart from `separate` and `streamed`, which do the work, so that evaluation sees one kind of thing:
something with stems and a sample rate that turns a mixture into estimates.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from model.checkpoint import describe, load
from model.inference.backend import REFERENCE_SUFFIXES, open_model
from model.inference.offline import OfflineError, OfflineSeparator
from model.inference.segments import torch_device
from model.inference.streamed import Streamed
from model.network import BandSplitRNN
from model.separate import separate
from model.stft import STFT
from rt.reference import ReferenceSection
from rt.separator import Masker
from rt.session import Session

BLOCK_S = 10.0


class Pass(Protocol):
    """`kind` says which way it goes: offline, streaming or onnx; `sizes` holds the hop and the
    synthesis window in samples, where the model has them."""

    kind: str
    sizes: dict[str, int]
    stems: tuple[str, ...]
    sample_rate: int

    def __call__(self, mixture: np.ndarray) -> np.ndarray:
        """mixture [2, samples] -> estimates [stems, 2, samples], aligned with it, each signal
        from the initial state."""
        ...


class Offline:
    """The network over blocks of frames in torch: the fast way."""

    kind = "offline"

    def __init__(self, network: BandSplitRNN, device: str) -> None:
        """device: auto, cpu or cuda. Raises OfflineError where it is missing."""
        self.stems, self.sample_rate = network.config.stems, network.config.sample_rate
        self.sizes = {"hop": network.config.hop, "synthesis": network.config.synthesis}
        self._device = torch_device(device)
        self._network = network.to(self._device)
        self._stft = STFT(network.spec()).to(self._device)

    @torch.no_grad()
    def __call__(self, mixture: np.ndarray) -> np.ndarray:
        block = max(1, int(BLOCK_S * self.sample_rate / self._stft.hop))
        signal = torch.from_numpy(mixture)[None].to(self._device)
        return separate(self._network, self._stft, signal, block)[0].cpu().numpy()


class InBlocks:
    """An offline separator that takes blocks: the live separator, or the reference model."""

    def __init__(self, separator: OfflineSeparator, kind: str, **sizes: int) -> None:
        self.kind, self.stems, self.sample_rate = kind, separator.stems, separator.sample_rate
        self.sizes = sizes
        self._separator = separator

    @classmethod
    def live(cls, masker: Masker, kind: str) -> InBlocks:
        """The live separator."""
        return cls(Streamed(masker), kind, hop=masker.spec.hop, synthesis=masker.spec.synthesis)

    def __call__(self, mixture: np.ndarray) -> np.ndarray:
        size = int(BLOCK_S * self.sample_rate)

        def blocks() -> Iterator[np.ndarray]:
            for start in range(0, mixture.shape[1], size):
                yield mixture[:, start:start + size].T

        out = np.empty((len(self.stems), *mixture.shape), np.float32)
        done = 0
        for stems in self._separator.separate(blocks()):  # [m, stems, 2]
            out[..., done:done + len(stems)] = stems.transpose(1, 2, 0)
            done += len(stems)
        return out


class NetworkMasker:
    """A Masker (rt.separator) over a network in torch: the live system's own signal path, before
    there is an exported graph. One thread at a time."""

    def __init__(self, network: BandSplitRNN, device: str) -> None:
        """device: auto, cpu or cuda. Raises OfflineError where it is missing."""
        self._device = torch_device(device)
        self._network = network.to(self._device)
        self._state = network.fresh_state()
        self.spec = network.spec()

    @torch.no_grad()
    def step(self, spectrum: np.ndarray) -> np.ndarray:
        """spectrum [bins, 4] -> masks [stems - 1, bins, 4]"""
        batch = torch.from_numpy(spectrum)[None].to(self._device)
        masks, self._state = self._network.step(batch, self._state)
        return masks[0, :-1].cpu().numpy()

    def reset(self) -> None:
        self._state = self._network.fresh_state()


def open_pass(checkpoint: Path, device: str = "auto", streaming: bool = False,
              threads: int = 1) -> Pass:
    """checkpoint: a folder (model.checkpoint) of either network, a step graph (.onnx) or a public
    reference checkpoint (.pt, .ckpt). streaming: a folder's network hop by hop through the live
    separator, which a step graph always is.

    Raises CheckpointError, SessionError or OfflineError.
    """
    if checkpoint.suffix == ".onnx":
        return InBlocks.live(Session(checkpoint, device, threads), "onnx")
    reference = checkpoint.suffix in REFERENCE_SUFFIXES or isinstance(
        describe(checkpoint).network, ReferenceSection)
    if reference:
        if streaming:
            raise OfflineError(f"{checkpoint}: the reference model looks ahead and cannot stream")
        return InBlocks(open_model(str(checkpoint), device), "offline")
    network = load(checkpoint)
    if streaming:
        return InBlocks.live(NetworkMasker(network, device), "streaming")
    return Offline(network, device)
