"""The training losses, by their names in train.loss.

l1: L1 on the waveform and on the real and imaginary parts of its STFT, Luo & Yu, arXiv 2209.15174,
section 3.3 (equation 4). The STFT here has a symmetric Hann window and a hop of its own, whatever
the tier's hop is: the loss then costs and weighs the same for every tier, and it sees the estimate
after synthesis, as the listener does. With more windows it is the multi-resolution loss of Lu et
al., arXiv 2309.02612: the mean absolute error of complex spectra of several resolutions, which
unlike the magnitudes' logarithm and spectral convergence stays finite where a target is silent.

rms: an energy of the error, which is what SDR measures. L1 looks for the median instead, and where
stems cannot be told apart yet the median of a stem is next to nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable


class WaveAndSpectrumLoss(nn.Module):
    """mean |e - s| + mean |Re(E - S)| + mean |Im(E - S)| over stems, channels and time.

    The STFT is scaled by 1/sqrt(sum of the squared window), which makes a noise-like error weigh
    about as much per bin as per sample. With several STFTs the two means of the spectrum are means
    over all of them, so that its weight against the waveform stays.
    """

    def __init__(self, n_fft: int = 2048, hop: int = 512, windows: Sequence[int] = ()) -> None:
        """windows: more STFTs, by their window in samples, with a hop of a quarter of it."""
        super().__init__()
        self.sizes = [(n_fft, hop), *((size, max(1, size // 4)) for size in windows)]
        for i, (size, _) in enumerate(self.sizes):
            window = torch.hann_window(size)
            self.register_buffer(f"window_{i}", window / window.square().sum().sqrt(),
                                 persistent=False)

    @property
    def shortest(self) -> int:
        """Samples that a signal must have."""
        return max(size for size, _ in self.sizes)

    def forward(self, estimate: torch.Tensor, target: torch.Tensor,
                mixture: torch.Tensor | None = None) -> torch.Tensor:
        """Scalar loss of estimate and target, both [..., samples]; the mixture is not asked for.

        Raises ValueError where the shapes differ or the signals are shorter than a window.
        """
        if estimate.shape != target.shape:
            raise ValueError(f"estimate {tuple(estimate.shape)} and target {tuple(target.shape)}")
        # The STFT is linear: one transform of the error instead of two of its terms.
        error = (estimate - target).flatten(0, -2)  # [N, samples]
        if error.shape[-1] < self.shortest:
            raise ValueError(f"{error.shape[-1]} samples are shorter than a window of "
                             f"{self.shortest}")
        spectra = [self._spectrum(error, i) for i in range(len(self.sizes))]
        return error.abs().mean() + torch.stack(
            [2 * torch.view_as_real(z).abs().mean() for z in spectra]).mean()

    def _spectrum(self, error: torch.Tensor, i: int) -> torch.Tensor:
        n_fft, hop = self.sizes[i]
        if n_fft % hop:
            frames = error.unfold(-1, n_fft, hop)
        else:  # the same, put together from slices, because the way back through unfold is slow
            hops = error[:, :error.shape[-1] // hop * hop].unflatten(-1, (-1, hop))
            parts = n_fft // hop
            count = hops.shape[1] - parts + 1
            frames = torch.cat([hops[:, j:j + count] for j in range(parts)], -1)
        return _RealFFT.apply(frames * self.get_buffer(f"window_{i}"))


class RelativeRMSLoss(nn.Module):
    """sqrt(mean |e - s|^2 / mean |m|^2), its mean over segments and stems; m is the mixture.

    Every segment weighs the same, however loud it is. An error 60 dB below the mixture counts as
    none.
    """

    shortest = 1

    def forward(self, estimate: torch.Tensor, target: torch.Tensor, mixture: torch.Tensor,
                ) -> torch.Tensor:
        """Scalar loss of estimate and target, both [B, stems, channels, samples]; mixture
        [B, channels, samples]."""
        power = mixture.square().mean((-1, -2))[:, None] + 1e-10
        error = (estimate - target).square().mean((-1, -2)) / power
        return (error + 1e-6).sqrt().mean()


class _RealFFT(torch.autograd.Function):
    """torch.fft.rfft along the last dimension. Its own way back is a real FFT again, where
    PyTorch's is a complex one of twice the size."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.n = x.shape[-1]
        return torch.fft.rfft(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        gradient = gradient * ctx.n
        # irfft counts twice what has a negative frequency: all but 0 and, of an even length, half
        gradient[..., 1:(ctx.n + 1) // 2] *= 0.5
        return torch.fft.irfft(gradient, n=ctx.n)
