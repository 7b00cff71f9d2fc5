"""Bands: how the bins of a spectrum are grouped, and the two layers that cross that border.

Bands of equal width stand together in a group and share one batched MatMul: at one hop a step the
number of graph nodes costs as much time as the arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from rt.spec import COMPRESSION, FLOOR

Groups = Sequence[tuple[int, int]]  # (number of bands, bins in each), from low to high


def _weights(*shape: int, scale: float = 1.0) -> nn.Parameter:
    return nn.Parameter(torch.randn(*shape) * scale * shape[-2] ** -0.5)


def compress(spectrum: Tensor) -> Tensor:
    """[..., values] -> the same, its magnitude over all values to the power of COMPRESSION."""
    power = spectrum.square().sum(-1, keepdim=True)
    return spectrum * (power + FLOOR).pow((COMPRESSION - 1) / 2)


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
        compressed = compress(spectrum)
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

    def masked(self, features: Tensor, spectrum: Tensor) -> Tensor:
        """The product of the masks of `forward` and a spectrum.

        features [frames, bands, features], spectrum complex [frames, channels, bins] ->
        complex [frames, stems, channels, bins]. Training on a CPU is bound by memory: here the
        masks of one group at a time are made, in the layout of the product, and they add up to one
        because their weights and biases are made to, which are fewer than the masks.
        """
        x = self.norm(features).transpose(0, 1)
        x = torch.tanh(torch.baddbmm(self.inner_bias[:, None], x, self.inner))
        half = self.values // 2
        even = self.outer_bias - self.outer_bias.mean(0)
        even = torch.cat([even[..., :half] + 1 / self.stems, even[..., half:]], -1)
        weights, biases, at = [], [], 0
        for (count, width), weight in zip(self.groups, self.outer, strict=True):
            # from [..., stems, width, (real, imaginary) x channels] to the order of a complex
            # product, [..., stems, channels, width, 2]
            shape = self.stems, width, 2, half
            parts = weight.unflatten(-1, shape)
            parts = parts - parts.mean(2, keepdim=True)
            weights.append(parts.permute(0, 1, 2, 5, 3, 4).flatten(2))
            bias = even[:, at:at + count * width].reshape(self.stems, count, *shape[1:])
            biases.append(bias.permute(1, 0, 4, 2, 3).reshape(count, 1, -1))
            at += count * width
        with torch.autocast(x.device.type, enabled=False):  # complex numbers have no half precision
            return _Masked.apply(self.groups, self.stems, spectrum, x.float(), *weights, *biases)


class _Masked(torch.autograd.Function):
    """(x @ weight + bias) of every group, as complex masks, times the spectrum. Of what it makes
    it keeps nothing for the way back."""

    @staticmethod
    def forward(ctx: Any, groups: Groups, stems: int, spectrum: Tensor, x: Tensor,
                *parameters: Tensor) -> Tensor:
        """x [bands, frames, hidden]; parameters: every group's weight [count, hidden, n], then
        every group's bias [count, 1, n], n in the order [stems, channels, width, 2]."""
        ctx.groups = groups
        ctx.save_for_backward(spectrum, x, *parameters)
        frames, channels, bins = spectrum.shape
        out = spectrum.new_empty(frames, stems, channels, bins)
        for at, z, part, weight, bias in _parts(groups, spectrum, out, parameters):
            part.copy_(_masks(x[at], weight, bias, part.shape).mul_(z))
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        spectrum, x, *parameters = ctx.saved_tensors
        into_x, weights, biases = torch.empty_like(x), [], []
        into_spectrum = torch.empty_like(spectrum) if ctx.needs_input_grad[2] else None
        for at, z, part, weight, bias in _parts(ctx.groups, spectrum, gradient, parameters):
            into = torch.view_as_real(part * z.conj()).flatten(2)  # of the masks
            into_x[at] = into @ weight.transpose(1, 2)
            weights.append(x[at].transpose(1, 2) @ into)
            biases.append(into.sum(1, keepdim=True))
            if into_spectrum is not None:
                masks = _masks(x[at], weight, bias, part.shape)
                into_spectrum[..., _bins(ctx.groups, at)] = (
                    (part * masks.conj()).sum(2).movedim(0, -2).flatten(-2))
        return None, None, into_spectrum, into_x, *weights, *biases


def _masks(x: Tensor, weight: Tensor, bias: Tensor, shape: Sequence[int]) -> Tensor:
    return torch.view_as_complex(torch.baddbmm(bias, x, weight).reshape(*shape, 2))


def _bins(groups: Groups, bands: slice) -> slice:
    """Where the bins of these bands lie."""
    widths = [width for count, width in groups for _ in range(count)]
    return slice(sum(widths[:bands.start]), sum(widths[:bands.stop]))


def _parts(groups: Groups, spectrum: Tensor, stems: Tensor, parameters: Sequence[Tensor],
           ) -> Iterator[tuple[slice, Tensor, Tensor, Tensor, Tensor]]:
    """For every group its bands, its part of the spectrum [count, frames, 1, channels, width] and
    of the stems' spectra [count, frames, stems, channels, width], its weight and its bias."""
    start = 0
    for i, (count, width) in enumerate(groups):
        bands = slice(start, start + count)
        z, part = (x[..., _bins(groups, bands)].unflatten(-1, (count, width)).movedim(-2, 0)
                   for x in (spectrum[:, None], stems))
        yield bands, z, part, parameters[i], parameters[len(groups) + i]
        start += count
