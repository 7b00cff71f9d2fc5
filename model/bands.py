"""Bands: how the bins of a spectrum are grouped, and the two layers that cross that border.

Bands of equal width stand together in a group and share one batched MatMul: at one hop a step the
number of graph nodes costs as much time as the arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

Groups = Sequence[tuple[int, int]]  # (number of bands, bins in each), from low to high


def _weights(*shape: int, scale: float = 1.0) -> nn.Parameter:
    return nn.Parameter(torch.randn(*shape) * scale * shape[-2] ** -0.5)


class BandSplit(nn.Module):
    """Spectrum to one feature vector per band: compression, projection, per-frame normalisation.

    Luo & Yu (arXiv 2209.15174, section 3.1) normalise over the whole segment; here nothing looks
    beyond the frame. Power-law compression keeps quiet and loud passages in one range, and the
    projection still sees how loud a band is against its neighbours.
    """

    def __init__(self, groups: Groups, values: int, features: int) -> None:
        super().__init__()
        self.groups = tuple(groups)
        self.weights = nn.ParameterList(
            [_weights(count, width * values, features) for count, width in groups])
        self.bias = nn.Parameter(torch.randn(sum(c for c, _ in groups), features) * 0.1)
        self.norm = nn.LayerNorm(features)

    def forward(self, spectrum: Tensor) -> Tensor:
        """[frames, bins, values] -> [frames, bands, features]"""
        power = spectrum.square().sum(-1, keepdim=True)
        compressed = spectrum * (power + 1e-8).pow(-0.35)
        parts, at = [], 0
        for (count, width), weight in zip(self.groups, self.weights, strict=True):
            band = compressed[:, at:at + count * width].reshape(len(spectrum), count, -1)
            parts.append(torch.bmm(band.transpose(0, 1), weight))  # [count, frames, features]
            at += count * width
        return self.norm(torch.cat(parts).transpose(0, 1) + self.bias)


class MaskHeads(nn.Module):
    """Band features to complex masks, a head per stem, that add up to one over the stems.

    The residual of the sum is shared out equally, so all stems together are the input whatever
    the weights are. Bounded: tanh stands before the last projection.
    """

    def __init__(self, groups: Groups, values: int, features: int, hidden: int,
                 stems: int) -> None:
        super().__init__()
        self.groups = tuple(groups)
        self.values, self.stems = values, stems
        bands = sum(count for count, _ in groups)
        bins = sum(count * width for count, width in groups)
        self.norm = nn.LayerNorm(features)
        self.inner = _weights(bands, features, hidden)
        self.inner_bias = nn.Parameter(torch.zeros(bands, hidden))
        self.outer = nn.ParameterList(
            [_weights(count, hidden, stems * width * values, scale=0.3)
             for count, width in groups])
        bias = torch.zeros(stems, bins, values)
        bias[..., :values // 2] = 1 / stems
        self.outer_bias = nn.Parameter(bias)

    def forward(self, features: Tensor) -> Tensor:
        """[frames, bands, features] -> masks [frames, stems, bins, values]"""
        x = self.norm(features).transpose(0, 1)  # [bands, frames, features]
        x = torch.tanh(torch.bmm(x, self.inner) + self.inner_bias[:, None])
        parts, at = [], 0
        for (count, width), weight in zip(self.groups, self.outer, strict=True):
            part = torch.bmm(x[at:at + count], weight)  # [count, frames, stems·width·values]
            part = part.reshape(count, -1, self.stems, width, self.values)
            parts.append(part.permute(1, 2, 0, 3, 4)
                         .reshape(-1, self.stems, count * width, self.values))
            at += count
        masks = torch.cat(parts, 2) + self.outer_bias
        half = self.values // 2
        rest = masks.sum(1, keepdim=True)
        one = torch.ones_like(rest)
        one[..., half:] = 0  # the imaginary parts add up to nothing
        return masks + (one - rest) / self.stems
