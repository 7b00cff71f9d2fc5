"""The streaming BandSplitRNN: causal, one hop at a time or a sequence, by the same code.

After Luo & Yu, "Music Source Separation with Band-split RNN" (arXiv 2209.15174): band split,
layers of recurrence across time and mixing across bands, mask estimation. Made causal: the time
recurrence runs forward only and carries its state, all normalisation stays inside the frame, and
one network serves all stems. GRU, not LSTM: its state is bounded by construction, an LSTM's cell
can grow for as long as the music plays.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.bands import BandSplit, MaskHeads, compress
from model.recurrence import TimeGRU
from rt.sections import NetworkSection
from rt.spec import CHANNELS, StateSpec, StreamSpec

State = tuple[Tensor, ...]  # one [batch, bands, hidden] per layer


class Attention(nn.Module):
    """Self-attention over the bands of one frame."""

    def __init__(self, features: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(features, 3 * features)
        self.out = nn.Linear(features, features)

    def forward(self, x: Tensor) -> Tensor:
        """[frames, bands, features] -> the same"""
        frames, bands, features = x.shape
        qkv = self.qkv(x).reshape(frames, bands, 3, self.heads, features // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each [frames, heads, bands, features / heads]
        weights = torch.softmax((q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2), -1)
        return self.out((weights @ v).transpose(1, 2).reshape(frames, bands, features))


class Recurrence(nn.Module):
    """The paper's mixer (section 3.2): a bidirectional RNN along the bands of one frame."""

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.rnn = nn.GRU(features, hidden, batch_first=True, bidirectional=True)
        self.out = nn.Linear(2 * hidden, features)

    def forward(self, x: Tensor) -> Tensor:
        """[frames, bands, features] -> the same"""
        return self.out(self.rnn(x)[0])


class TimeLSTM(nn.LSTM):
    """nn.LSTM of one layer and direction; its state is the output and the cell, side by side."""

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """x [T, rows, features], state [rows, 2 hidden] -> [T, rows, hidden], the last state."""
        h, c = (part.contiguous()[None] for part in state.chunk(2, -1))
        out, (h, c) = super().forward(x, (h, c))
        return out, torch.cat([h, c], -1).squeeze(0)


class TransformAverageConcatenate(nn.Module):
    """Lets channels that are processed apart know of each other (Luo et al., arXiv 1910.14104)."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(features)
        self.transform = nn.Linear(features, features)
        self.average = nn.Linear(features, features)
        self.out = nn.Linear(2 * features, features)

    def forward(self, x: Tensor) -> Tensor:
        """[T, batch x channels, K, N] -> the same"""
        h = nn.functional.gelu(self.transform(self.norm(x)), approximate="tanh")
        mean = h.unflatten(1, (-1, CHANNELS)).mean(2).repeat_interleave(CHANNELS, 1)
        mean = nn.functional.gelu(self.average(mean), approximate="tanh")
        return x + self.out(torch.cat([h, mean], -1))


class Nothing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)


class Layer(nn.Module):
    """Across time with weights shared by all bands, then across bands, then in each band."""

    def __init__(self, config: NetworkSection) -> None:
        super().__init__()
        n = config.features
        self.time_norm = nn.LayerNorm(n)
        self.time: nn.Module = (TimeGRU(n, config.hidden) if config.cell == "gru"
                                else TimeLSTM(n, config.hidden))
        self.tac = TransformAverageConcatenate(n) if config.stereo == "tac" else None
        self.time_out = nn.Linear(config.hidden, n)
        self.band_norm = nn.LayerNorm(n)
        self.mixer: nn.Module = (Attention(n, config.heads) if config.mixer == "attention"
                                 else Recurrence(n, config.hidden)
                                 if config.mixer == "recurrent" else Nothing())
        self.inner = nn.Sequential(
            nn.LayerNorm(n), nn.Linear(n, 2 * n), nn.GELU(approximate="tanh"), nn.Linear(2 * n, n))

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """x [T, B, K, N], state [B, K, H] -> the same shapes"""
        x = x if self.tac is None else self.tac(x)
        t, b, k, n = x.shape
        rows, last = self.time(self.time_norm(x).reshape(t, b * k, n), state.reshape(b * k, -1))
        x = (x + self.time_out(rows).reshape(x.shape)).reshape(t * b, k, n)
        x = x + self.mixer(self.band_norm(x))
        x = x + self.inner(x)
        return x.reshape(t, b, k, n), last.reshape(b, k, -1)


class BandSplitRNN(nn.Module):
    """Masks for every stem from a stereo spectrum; sizes and mixer come from the configuration.

    A spectrum's values are real left, real right, imaginary left, imaginary right; masks are
    complex in the same order and add up to one over the stems.
    """

    def __init__(self, config: NetworkSection) -> None:
        super().__init__()
        self.config = config
        self.apart = CHANNELS if config.stereo == "tac" else 1  # channels processed apart
        values = 2 * CHANNELS // self.apart
        self.split = BandSplit(config.bands, values, config.features)
        self.layers = nn.ModuleList([Layer(config) for _ in range(config.layers)])
        self.heads = MaskHeads(config.bands, values, config.features, config.mask_hidden,
                               len(config.stems), config.taps,
                               [stem not in config.taps_off for stem in config.stems],
                               config.residual)

    def spec(self, **more: str) -> StreamSpec:
        """The StreamSpec with this network's states; `more` sets tier, trained_on, version."""
        bands = sum(count for count, _ in self.config.bands)
        width = self.config.hidden * (2 if self.config.cell == "lstm" else 1)
        states = [StateSpec(f"time_{i}", (self.apart * bands, width))
                  for i in range(self.config.layers)]
        if self.config.taps:
            bins = sum(count * width for count, width in self.config.bands)
            states.append(StateSpec("past", (self.config.taps, bins, 2 * CHANNELS)))
        return self.config.stream_spec(states=tuple(states), **more)

    def fresh_state(self, batch: int = 1) -> State:
        like = self.heads.inner
        return tuple(like.new_zeros(batch, *s.shape) for s in self.spec().states)

    def forward(self, spectrum: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """spectrum [B, T, bins, 4] -> masks [B, T, stems, bins, 4] and the state after T frames.

        state=None starts from silence.
        """
        if self.config.stereo != "left-right":
            raise NotImplementedError("masks alone are not what the stems are made from")
        x, after = self.features(spectrum, state)
        masks = self.heads(x.flatten(0, 1))
        return masks.reshape(*x.shape[:2], *masks.shape[1:]).transpose(0, 1), after

    def separate(self, spectrum: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """spectrum [B, T, bins, 4] -> stems' spectra, complex [B, T, stems, channels, bins], and
        the state: what `apply_masks` makes of the masks, in less time and memory."""
        state = self.fresh_state(len(spectrum)) if state is None else state
        x, after = self.features(spectrum, state)
        taps, t = self.config.taps, spectrum.shape[1]
        whole = torch.cat([state[-1], spectrum], 1) if taps else spectrum
        z = as_complex(rotated(whole, self.config.stereo).transpose(0, 1))  # [T, B, C, bins]
        if self.apart > 1:
            z = z.flatten(1, 2)[:, :, None]
        past = [z[taps - k:taps - k + t].flatten(0, 1) for k in range(1, taps + 1)]
        stems = self.heads.masked(x.flatten(0, 1), z[taps:].flatten(0, 1), *past)
        stems = stems.unflatten(0, x.shape[:2])  # [T, B, stems, C, bins]
        if self.apart > 1:
            stems = stems.unflatten(1, (-1, self.apart)).squeeze(4).transpose(2, 3)
        if self.config.stereo == "mid-side":
            a, b = stems.unbind(3)
            stems = torch.stack([a + b, a - b], 3) * 0.5 ** 0.5
        return stems.transpose(0, 1), after

    def features(self, spectrum: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """spectrum [B, T, bins, 4] -> band features [T, B, K, N] and the state after T frames."""
        b, t = spectrum.shape[:2]
        state = self.fresh_state(b) if state is None else state
        x = compress(rotated(spectrum, self.config.stereo)).transpose(0, 1)  # [T, B, bins, 4]
        if self.apart > 1:  # [T, B, bins, parts, C] -> [T, B·C, bins, parts]
            x = x.unflatten(-1, (2, CHANNELS)).movedim(-1, 2).flatten(1, 2)
        x = self.split.project(x.flatten(0, 1)).unflatten(0, (t, -1))
        after = []
        for layer, before in zip(self.layers, state, strict=False):
            x, last = layer(x, before.unflatten(1, (self.apart, -1)).flatten(0, 1))
            after.append(last.unflatten(0, (b, self.apart)).flatten(1, 2))
        if self.config.taps:
            after.append(torch.cat([state[-1], spectrum], 1)[:, -self.config.taps:])
        return x, tuple(after)

    def step(self, spectrum: Tensor, state: State) -> tuple[Tensor, State]:
        """spectrum [B, bins, 4] -> masks [B, stems, bins, 4] and the next state: one hop."""
        masks, state = self(spectrum[:, None], state)
        return masks[:, 0], state


def rotated(spectrum: Tensor, stereo: str) -> Tensor:
    """[..., 4], to mid and side where the network works on them."""
    if stereo != "mid-side":
        return spectrum
    left, right = spectrum.unflatten(-1, (2, 2)).unbind(-1)
    return (torch.stack([left + right, left - right], -1) * 0.5 ** 0.5).flatten(-2)


def as_complex(spectrum: Tensor) -> Tensor:
    """[..., bins, 4] -> complex [..., channels, bins]"""
    return torch.complex(*spectrum.transpose(-1, -2).float().chunk(2, -2))


def apply_masks(spectrum: Tensor, masks: Tensor) -> Tensor:
    """spectrum [B, T, bins, 4], masks [B, T, stems, bins, 4] -> the stems' spectra, complex
    [B, T, stems, channels, bins]"""
    return as_complex(spectrum)[:, :, None] * as_complex(masks)
