"""The reference network: the paper's offline BandSplitRNN, one target per network.

Luo & Yu, "Music Source Separation with Band-split RNN" (arXiv 2209.15174), under the parameter
names and shapes of the public checkpoints, so that those load as they are. It stands apart from
the streaming network, with which it shares the idea and no layer: it hears a whole segment at
once, forwards and backwards, normalises over all of it, and has a module per band where the
streaming network batches bands of equal width.

Shapes: B items, C channels, F bins, T frames, K bands, N features; w bins in a band.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from rt.reference import ReferenceSection
from rt.spec import CHANNELS


class ReferenceSTFT(nn.Module):
    """The paper's transform: centred on the sample, reflected at the ends, periodic Hann."""

    window: Tensor

    def __init__(self, config: ReferenceSection) -> None:
        super().__init__()
        self.sizes: dict[str, Any] = {"n_fft": config.n_fft, "hop_length": config.hop_length,
                                      "win_length": config.win_length}
        self.register_buffer("window", torch.hann_window(config.win_length), persistent=False)

    def forward(self, signal: Tensor) -> Tensor:
        """signal [B, C, samples] -> complex spectrum [B, C, F, T], T = samples // hop + 1"""
        z = torch.stft(signal.flatten(0, 1), **self.sizes, window=self.window, center=True,
                       pad_mode="reflect", return_complex=True)
        return z.unflatten(0, signal.shape[:2])

    def inverse(self, spectrum: Tensor, length: int) -> Tensor:
        """complex spectrum [B, C, F, T] -> signal [B, C, length]"""
        signal = torch.istft(spectrum.flatten(0, 1), **self.sizes, window=self.window,
                             center=True, length=length)
        return signal.unflatten(0, spectrum.shape[:2])


class BandSplit(nn.Module):
    """Section 3.1: every band normalised over the segment and projected to N features."""

    def __init__(self, widths: list[int], config: ReferenceSection) -> None:
        super().__init__()
        self.widths = widths
        values = [2 * CHANNELS * width for width in widths]
        self.layernorms = nn.ModuleList([nn.LayerNorm([v, config.t_timesteps]) for v in values])
        self.fcs = nn.ModuleList([nn.Linear(v, config.fc_dim) for v in values])

    def forward(self, spectrum: Tensor) -> Tensor:
        """complex [B, C, F, T] -> [B, K, T, N]"""
        bands = []
        for band, norm, fc in zip(spectrum.split(self.widths, 2), self.layernorms, self.fcs,
                                  strict=True):
            x = torch.view_as_real(band).permute(0, 1, 4, 2, 3)  # [B, C, re/im, w, T]
            bands.append(fc(norm(x.flatten(1, 3)).transpose(1, 2)))  # [B, T, N]
        return torch.stack(bands, 1)


class ResidualRNN(nn.Module):
    """Section 3.2: a bidirectional LSTM along one axis, with every feature normalised on it."""

    def __init__(self, config: ReferenceSection) -> None:
        super().__init__()
        self.groupnorm = nn.GroupNorm(config.fc_dim, config.fc_dim)
        self.rnn = nn.LSTM(config.fc_dim, config.rnn_dim, batch_first=True, bidirectional=True)
        self.fc = nn.Linear(2 * config.rnn_dim, config.fc_dim)

    def forward(self, x: Tensor) -> Tensor:
        """[rows, sequence, N] -> the same"""
        normed = self.groupnorm(x.transpose(1, 2)).transpose(1, 2)
        return x + self.fc(self.rnn(normed)[0])


class BandSequence(nn.Module):
    """Layers of recurrence, each across time and then across bands."""

    def __init__(self, config: ReferenceSection) -> None:
        super().__init__()
        self.bsrnn = nn.ModuleList([
            nn.ModuleList([ResidualRNN(config), ResidualRNN(config)])
            for _ in range(config.num_layers)])

    def forward(self, x: Tensor) -> Tensor:
        """[B, K, T, N] -> the same"""
        for layer in self.bsrnn:
            assert isinstance(layer, nn.ModuleList)
            for rnn in layer:  # the axes change places, so each runs along the third
                x = rnn(x.flatten(0, 1)).unflatten(0, x.shape[:2]).transpose(1, 2)
        return x


class Gate(nn.Module):
    """A gated linear unit that keeps the width."""

    def __init__(self, values: int) -> None:
        super().__init__()
        self.linear = nn.Linear(values, 2 * values)

    def forward(self, x: Tensor) -> Tensor:
        return functional.glu(self.linear(x), -1)


class BandMask(nn.Module):
    """Section 3.3: the MLP of one band."""

    def __init__(self, values: int, config: ReferenceSection) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(config.fc_dim, config.mlp_dim), nn.Tanh(),
                                 nn.Linear(config.mlp_dim, values), Gate(values))

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, N] -> complex mask [B, C, w, T]"""
        mask = self.mlp(x).float().unflatten(-1, (CHANNELS, 2, -1))  # [B, T, C, re/im, w]
        return torch.view_as_complex(mask.permute(0, 2, 4, 1, 3).contiguous())


class MaskEstimation(nn.Module):
    def __init__(self, widths: list[int], config: ReferenceSection) -> None:
        super().__init__()
        self.layernorms = nn.ModuleList(
            [nn.LayerNorm([config.t_timesteps, config.fc_dim]) for _ in widths])
        self.mlp = nn.ModuleList([BandMask(2 * CHANNELS * width, config) for width in widths])

    def forward(self, x: Tensor) -> Tensor:
        """[B, K, T, N] -> complex mask [B, C, F, T]"""
        return torch.cat([mlp(norm(x[:, k])) for k, (norm, mlp) in
                          enumerate(zip(self.layernorms, self.mlp, strict=True))], 2)


class ReferenceBandSplitRNN(nn.Module):
    """One target's spectrum from the mixture's, a segment of `config.t_timesteps` frames."""

    def __init__(self, config: ReferenceSection) -> None:
        super().__init__()
        self.config = config
        widths = [high - low for low, high in pairwise(config.edges)]
        self.bandsplit = BandSplit(widths, config)
        self.bandsequence = BandSequence(config)
        self.maskest = MaskEstimation(widths, config)

    def forward(self, spectrum: Tensor) -> Tensor:
        """complex [B, C, F, T] -> complex [B, C, F, T]

        As in the public code, the mask is laid on the normalised spectrum, and what comes back
        is scaled with the deviation alone, without the 1e-5.
        """
        mean = spectrum.mean((1, 2, 3), keepdim=True)
        deviation = spectrum.std((1, 2, 3), keepdim=True)
        normed = (spectrum - mean) / (deviation + 1e-5)
        mask = self.maskest(self.bandsequence(self.bandsplit(normed)))
        return mask * normed * deviation + mean
