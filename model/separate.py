"""Separation of whole signals in torch: what training, validation and evaluation share."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from model.network import BandSplitRNN, State
from model.stft import STFT


def separate(network: BandSplitRNN, stft: STFT, mixture: Tensor, block: int | None = None,
             ) -> Tensor:
    """mixture [B, channels, samples] -> stems [B, stems, channels, samples], aligned with it.

    Every item starts from the zero state, as a stream does; the stems add up to the mixture.
    `block` bounds the memory for long signals: so many frames at a time, as in `stream`.
    """
    block = block or stft.frames(mixture.shape[-1])
    return torch.cat([stems for stems, _ in stream(network, stft, mixture, block)], -1)


def stream(network: BandSplitRNN, stft: STFT, mixture: Tensor, block: int,
           ) -> Iterator[tuple[Tensor, State]]:
    """The stems of the mixture [B, channels, samples] in pieces [B, stems, channels, n], and the
    network's state after each, `block` frames at a time.

    The state, the analysis history and the overlap of the synthesis are carried on, so the pieces
    together are what one pass over everything gives.
    """
    length, hop = mixture.shape[-1], stft.hop
    total = stft.frames(length)
    history, overlap = stft.n_fft // hop, stft.size // hop - 1  # frames
    state, masked, given = network.fresh_state(len(mixture)), None, 0
    for start in range(0, total, block):
        stop = min(start + block, total)
        begin = max(start - history, 0)
        spectrum = stft(mixture[..., begin * hop:stop * hop])[:, start - begin:stop - begin]
        fresh, state = network.separate(spectrum, state)
        masked = fresh if masked is None else torch.cat([masked[:, -overlap:], fresh], 1)
        if masked.shape[1] > overlap:
            stems = stft.inverse(masked, (masked.shape[1] - overlap) * hop)[..., :length - given]
            given += stems.shape[-1]
            yield stems, state


def separate_after(network: BandSplitRNN, stft: STFT, mixture: Tensor, prefix: int) -> Tensor:
    """What `separate` gives, without the first `prefix` hops: [B, stems, channels, samples].

    The prefix only brings the network into the state that a stream would have there: no gradient
    goes back into it, so it costs a forward pass and nothing of it is kept in memory.
    """
    spectrum = stft(mixture)
    state: State | None = None
    if prefix:
        with torch.no_grad():
            _, state = network.features(spectrum[:, :prefix])
    stems, _ = network.separate(spectrum[:, prefix:], state)
    # sample prefix·hop is the first that no frame of the prefix reaches
    return stft.inverse(stems, mixture.shape[-1] - prefix * stft.hop)
