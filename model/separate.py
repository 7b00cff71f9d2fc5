"""Separation of whole signals in torch: what training, validation and evaluation share."""

from __future__ import annotations

import torch
from torch import Tensor

from model.network import BandSplitRNN, State, apply_masks
from model.stft import STFT


def separate(network: BandSplitRNN, stft: STFT, mixture: Tensor, block: int | None = None,
             ) -> Tensor:
    """mixture [B, channels, samples] -> stems [B, stems, channels, samples], aligned with it.

    Every item starts from the zero state, as a stream does; the stems add up to the mixture.
    `block` bounds the memory for long signals: so many frames at a time, with the state, the
    analysis history and the overlap of the synthesis carried on, so the result is the same.
    """
    length, hop = mixture.shape[-1], stft.hop
    total = stft.frames(length)
    block = total if block is None else block
    history, overlap = stft.n_fft // hop, stft.size // hop - 1  # frames
    state: State | None = None
    masked, done = None, []
    for start in range(0, total, block):
        stop = min(start + block, total)
        begin = max(start - history, 0)
        spectrum = stft(mixture[..., begin * hop:stop * hop])[:, start - begin:stop - begin]
        masks, state = network(spectrum, state)
        fresh = apply_masks(spectrum, masks).transpose(1, 2)  # [B, stems, T, bins, 2·channels]
        masked = fresh if masked is None else torch.cat([masked[:, :, -overlap:], fresh], 2)
        if masked.shape[2] > overlap:
            done.append(stft.inverse(masked, (masked.shape[2] - overlap) * hop))
    return torch.cat(done, -1)[..., :length]
