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

from model.bands import BandSplit, MaskHeads
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


class Layer(nn.Module):
    """Across time with weights shared by all bands, then across bands, then in each band."""

    def __init__(self, config: NetworkSection) -> None:
        super().__init__()
        n = config.features
        self.time_norm = nn.LayerNorm(n)
        self.time = TimeGRU(n, config.hidden)
        self.time_out = nn.Linear(config.hidden, n)
        self.band_norm = nn.LayerNorm(n)
        self.mixer: nn.Module = (Attention(n, config.heads) if config.mixer == "attention"
                                 else Recurrence(n, config.hidden))
        self.inner = nn.Sequential(
            nn.LayerNorm(n), nn.Linear(n, 2 * n), nn.GELU(approximate="tanh"), nn.Linear(2 * n, n))

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """x [T, B, K, N], state [B, K, H] -> the same shapes"""
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
        values = 2 * CHANNELS
        self.split = BandSplit(config.bands, values, config.features)
        self.layers = nn.ModuleList([Layer(config) for _ in range(config.layers)])
        self.heads = MaskHeads(config.bands, values, config.features, config.mask_hidden,
                               len(config.stems))

    def spec(self, **more: str) -> StreamSpec:
        """The StreamSpec with this network's states; `more` sets tier, trained_on, version."""
        bands = sum(count for count, _ in self.config.bands)
        return self.config.stream_spec(states=tuple(
            StateSpec(f"time_{i}", (bands, self.config.hidden))
            for i in range(self.config.layers)), **more)

    def fresh_state(self, batch: int = 1) -> State:
        like = self.heads.inner
        return tuple(like.new_zeros(batch, *s.shape) for s in self.spec().states)

    def forward(self, spectrum: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """spectrum [B, T, bins, 4] -> masks [B, T, stems, bins, 4] and the state after T frames.

        state=None starts from silence.
        """
        x, after = self.features(spectrum, state)
        masks = self.heads(x.flatten(0, 1))
        return masks.reshape(*x.shape[:2], *masks.shape[1:]).transpose(0, 1), after

    def separate(self, spectrum: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """spectrum [B, T, bins, 4] -> stems' spectra, complex [B, T, stems, channels, bins], and
        the state: what `apply_masks` makes of the masks, in less time and memory."""
        x, after = self.features(spectrum, state)
        z = as_complex(spectrum.transpose(0, 1))
        stems = self.heads.masked(x.flatten(0, 1), z.flatten(0, 1))
        return stems.unflatten(0, x.shape[:2]).transpose(0, 1), after

    def features(self, spectrum: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """spectrum [B, T, bins, 4] -> band features [T, B, K, N] and the state after T frames."""
        b, t = spectrum.shape[:2]
        state = self.fresh_state(b) if state is None else state
        x = self.split(spectrum.transpose(0, 1).flatten(0, 1))  # [T·B, K, N]
        x = x.reshape(t, b, *x.shape[1:])
        after = []
        for layer, before in zip(self.layers, state, strict=True):
            x, last = layer(x, before)
            after.append(last)
        return x, tuple(after)

    def step(self, spectrum: Tensor, state: State) -> tuple[Tensor, State]:
        """spectrum [B, bins, 4] -> masks [B, stems, bins, 4] and the next state: one hop."""
        masks, state = self(spectrum[:, None], state)
        return masks[:, 0], state


def as_complex(spectrum: Tensor) -> Tensor:
    """[..., bins, 4] -> complex [..., channels, bins]"""
    return torch.complex(*spectrum.transpose(-1, -2).float().chunk(2, -2))


def apply_masks(spectrum: Tensor, masks: Tensor) -> Tensor:
    """spectrum [B, T, bins, 4], masks [B, T, stems, bins, 4] -> the stems' spectra, complex
    [B, T, stems, channels, bins]"""
    return as_complex(spectrum)[:, :, None] * as_complex(masks)
