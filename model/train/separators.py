"""The two networks as training sees them: something that turns a mixture into stems.

Apart from the task so that loss, optimiser and scores are written once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from model.inference.segments import Segmented
from model.network import BandSplitRNN
from model.reference.checkpoint import in_use
from model.reference.network import ReferenceBandSplitRNN, ReferenceSTFT
from model.separate import separate, separate_after
from model.stft import STFT
from model.train.plan import Plan
from rt.reference import ReferenceSection

BLOCK_S = 10.0  # of a song at a time


class Separator(Protocol):
    """`network` is what is trained; `left_out` samples have no estimate in a segment."""

    network: nn.Module
    left_out: int

    def segment(self, mixture: Tensor) -> Tensor:
        """A training item, [B, channels, samples] -> [B, stems, channels, samples - left_out]"""
        ...

    def song(self, mixture: Tensor) -> Tensor:
        """A whole song in bounded memory, [B, channels, samples] ->
        [B, stems, channels, samples]"""
        ...


class StreamingSeparator(nn.Module):
    """Every segment begins in the zero state, as a stream does; its prefix has no loss."""

    def __init__(self, network: BandSplitRNN, prefix: int) -> None:
        """prefix: in hops."""
        super().__init__()
        self.network = network
        self.stft = STFT(network.spec())
        self.prefix = prefix
        self.left_out = prefix * network.config.hop

    def segment(self, mixture: Tensor) -> Tensor:
        return separate_after(self.network, self.stft, mixture, self.prefix)

    def song(self, mixture: Tensor) -> Tensor:
        block = max(1, int(BLOCK_S * self.network.config.sample_rate / self.stft.hop))
        return separate(self.network, self.stft, mixture, block)


class ReferenceSeparator(nn.Module):
    left_out = 0

    def __init__(self, network: ReferenceBandSplitRNN, target: str) -> None:
        super().__init__()
        self.network = network
        self.target = target
        self.stft = ReferenceSTFT(network.config)

    def segment(self, mixture: Tensor) -> Tensor:
        estimate = self.stft.inverse(self.network(self.stft(mixture)), mixture.shape[-1])
        return estimate[:, None]

    def song(self, mixture: Tensor) -> Tensor:
        """In segments that do not overlap: a sixth of the work, and a little below what
        model.evaluate finds."""
        config = self.network.config
        segmented = Segmented(in_use(self.network, self.target, config.segment),
                              self.stft.window.device)
        size = int(BLOCK_S * config.sr)

        def estimate(signal: np.ndarray) -> Iterator[np.ndarray]:  # [channels, samples]
            yield from segmented.separate(signal[:, i:i + size].T
                                          for i in range(0, signal.shape[1], size))

        signals = mixture.float().cpu().numpy()
        stems = [np.concatenate(list(estimate(signal))) for signal in signals]  # [n, 1, 2]
        return torch.from_numpy(np.stack(stems).transpose(0, 2, 3, 1)).to(mixture.device)


def build(plan: Plan) -> StreamingSeparator | ReferenceSeparator:
    """With initial weights."""
    if isinstance(plan.network, ReferenceSection):
        return ReferenceSeparator(ReferenceBandSplitRNN(plan.network), plan.stems[0])
    return StreamingSeparator(BandSplitRNN(plan.network), plan.prefix)
