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
from typing import Any, Literal

import torch
from pydantic import PositiveInt, model_validator
from torch import Tensor, nn
from torch.nn import functional

from rt.config import Section
from rt.spec import CHANNELS

Splits = tuple[tuple[int, int], ...]  # (end_hz, step_hz) from low to high

# Section 4.2 of the paper; "other" is split like the vocals
SPLITS: dict[str, Splits] = {
    "vocals": ((1000, 100), (4000, 250), (8000, 500), (16000, 1000), (20000, 2000)),
    "bass": ((500, 50), (1000, 100), (4000, 500), (8000, 1000), (16000, 2000)),
    "drums": ((1000, 50), (2000, 100), (4000, 250), (8000, 500), (16000, 1000)),
}
SPLITS["other"] = SPLITS["vocals"]


def band_edges(splits: Splits, sample_rate: int, n_fft: int) -> list[int]:
    """First bin of every band, and the number of bins at the end.

    Band edges are step_hz apart up to end_hz; a band holds the bins below its edge that no
    earlier band has, the rest up to Nyquist is the last band. Raises ValueError where a band
    would hold no bin or a step does not lead to its end.
    """
    edges, start_hz = [0], 0
    for end_hz, step_hz in splits:
        if step_hz <= 0 or end_hz <= start_hz or (end_hz - start_hz) % step_hz:
            raise ValueError(f"no steps of {step_hz} Hz lead from {start_hz} to {end_hz} Hz")
        edges += [-(-edge * n_fft // sample_rate)  # bins k with k · sample_rate / n_fft < edge
                  for edge in range(start_hz + step_hz, end_hz + 1, step_hz)]
        start_hz = end_hz
    edges.append(n_fft // 2 + 1)
    if any(low >= high for low, high in pairwise(edges)):
        raise ValueError(f"a band of {list(splits)} holds no bin at n_fft {n_fft}")
    return edges


class ReferenceSection(Section):
    """Sizes of a reference network, under the names of the public `hparams.yaml`.

    What the public code can do beyond the published network (attention, GRU, mono) is refused.
    """

    sr: PositiveInt = 44_100
    n_fft: PositiveInt = 2048
    win_length: PositiveInt = 2048
    hop_length: PositiveInt = 512
    bandsplits: Splits = SPLITS["vocals"]
    t_timesteps: PositiveInt = 263
    fc_dim: PositiveInt = 128
    rnn_dim: PositiveInt = 256
    num_layers: PositiveInt = 12
    mlp_dim: PositiveInt = 512
    bottleneck_layer: Literal["rnn"] = "rnn"
    rnn_type: Literal["LSTM"] = "LSTM"
    bidirectional: Literal[True] = True
    complex_as_channel: Literal[True] = True
    is_mono: Literal[False] = False
    return_mask: Literal[False] = False

    @model_validator(mode="after")
    def _consistent(self) -> ReferenceSection:
        band_edges(self.bandsplits, self.sr, self.n_fft)
        if self.win_length > self.n_fft or 2 * self.hop_length > self.win_length:
            raise ValueError(f"hop_length {self.hop_length}, win_length {self.win_length} and "
                             f"n_fft {self.n_fft} do not overlap-add")
        if self.segment <= self.n_fft // 2:
            raise ValueError(f"t_timesteps {self.t_timesteps} is shorter than a window")
        return self

    @property
    def segment(self) -> int:
        """Samples of the segments that the network's normalisation is made for."""
        return (self.t_timesteps - 1) * self.hop_length


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
        mask = self.mlp(x).unflatten(-1, (CHANNELS, 2, -1))  # [B, T, C, re/im, w]
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
        edges = band_edges(config.bandsplits, config.sr, config.n_fft)
        widths = [high - low for low, high in pairwise(edges)]
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
