"""The network for one hop and one stream, laid out for few graph nodes.

At one frame a step a node's own cost counts as much as its arithmetic. So there is no axis for
batch or time that would have to be moved, bands are multiplied where they lie, and constants are
folded into weights. model.network holds the network that is trained; export.verify holds this one
to it.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from model.bands import BandSplit, MaskHeads
from model.network import Attention, BandSplitRNN, Layer


class Hop(nn.Module):
    """compressed spectrum [bins, 4] and states, each [bands, hidden] -> masks of all stems but the
    last, [stems - 1, bins, 4], and states."""

    def __init__(self, network: BandSplitRNN) -> None:
        super().__init__()
        self.split = _Split(network.split)
        self.layers = nn.ModuleList([_Layer(cast(Layer, layer)) for layer in network.layers])
        self.heads = _Heads(network.heads)

    def forward(self, compressed: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        x = self.split(compressed)
        after = []
        for layer, state in zip(self.layers, states, strict=True):
            x, state = layer(x, state)
            after.append(state)
        return self.heads(x), *after


def _packable(weight: Tensor) -> nn.Parameter:
    """[1, inputs, outputs] -> [inputs, outputs], which ONNX Runtime packs for its product once, at
    load. Several bands' weights keep their three axes, which it does not pack."""
    return nn.Parameter(weight.detach().squeeze(0))


class _Split(nn.Module):
    def __init__(self, split: BandSplit) -> None:
        super().__init__()
        self.split = split
        self.counts = [count for count, _ in split.groups]
        self.bins = [count * width for count, width in split.groups]
        self.weights = nn.ParameterList([_packable(weight) for weight in split.weights])

    def forward(self, compressed: Tensor) -> Tensor:
        """[bins, 4] -> [bands, features]"""
        bands = compressed.split(self.bins)
        parts = [band.reshape(count, 1, weight.shape[-2]) @ weight
                 for band, count, weight in zip(bands, self.counts, self.weights, strict=True)]
        return self.split.norm(torch.cat(parts).squeeze(1) + self.split.bias)


class _Layer(nn.Module):
    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.layer = layer
        self.mixer = (_Attention(layer.mixer) if isinstance(layer.mixer, Attention)
                      else _OneFrame(layer.mixer))

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        layer = self.layer
        _, state = layer.time(layer.time_norm(x)[None], state)
        x = x + layer.time_out(state)
        x = x + self.mixer(layer.band_norm(x))
        return x + layer.inner(x), state


class _OneFrame(nn.Module):
    def __init__(self, mixer: nn.Module) -> None:
        super().__init__()
        self.mixer = mixer

    def forward(self, x: Tensor) -> Tensor:
        return self.mixer(x[None]).squeeze(0)


class _Attention(nn.Module):
    """The queries' scale is part of their weights."""

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.heads, self.out = attention.heads, attention.out
        qkv = attention.qkv
        features = qkv.in_features
        self.qkv = nn.Linear(features, 3 * features)
        scale = torch.ones(3 * features)
        scale[:features] = (features // self.heads) ** -0.5
        self.qkv.weight = nn.Parameter(qkv.weight.detach() * scale[:, None])
        self.qkv.bias = nn.Parameter(qkv.bias.detach() * scale)

    def forward(self, x: Tensor) -> Tensor:
        """[bands, features] -> the same"""
        bands, features = x.shape
        rows = self.qkv(x).reshape(bands, 3 * self.heads, features // self.heads).transpose(0, 1)
        q, k, v = rows.split(self.heads)
        weights = torch.softmax(q @ k.transpose(1, 2), -1)
        return self.out((weights @ v).transpose(0, 1).reshape(bands, features))


class _Heads(nn.Module):
    """Masks add up to one because their weights and biases are made to; the last stem is left out.
    The last weights are stacked by stem, so that what they give needs no moving."""

    def __init__(self, heads: MaskHeads) -> None:
        super().__init__()
        self.heads = heads
        self.counts = [count for count, _ in heads.groups]
        self.stems = heads.stems - 1
        self.outer = nn.ParameterList()
        for weight in heads.outer:
            by_stem = weight.detach().unflatten(-1, (heads.stems, -1))
            by_stem = (by_stem - by_stem.mean(2, keepdim=True))[:, :, :-1]
            self.outer.append(_packable(by_stem.flatten(2)) if len(weight) == 1 else
                              nn.Parameter(by_stem.movedim(2, 0).contiguous()))
        bias = heads.outer_bias.detach() - heads.outer_bias.detach().mean(0)
        bias[..., :heads.values // 2] += 1 / heads.stems
        self.bias = nn.Parameter(bias[:-1].flatten(1))

    def forward(self, x: Tensor) -> Tensor:
        """[bands, features] -> masks [stems - 1, bins, 4]"""
        heads = self.heads
        x = torch.tanh(heads.norm(x)[:, None] @ heads.inner + heads.inner_bias[:, None])
        # products [stems, count, 1, width · values], a lone band's [1, 1, stems · width · values]
        parts = [(rows @ weight).reshape(self.stems, -1)
                 for rows, weight in zip(x.split(self.counts), self.outer, strict=True)]
        return (torch.cat(parts, 1) + self.bias).reshape(self.stems, -1, heads.values)
