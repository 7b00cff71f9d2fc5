"""The training loss: L1 on the waveform and on the real and imaginary parts of its STFT.

Luo & Yu, arXiv 2209.15174, section 3.3 (equation 4). The STFT here has a symmetric Hann window and
a hop of its own, whatever the tier's hop is: the loss then costs and weighs the same for every
tier, and it sees the estimate after synthesis, as the listener does. With more windows it is the
multi-resolution loss of Lu et al., arXiv 2309.02612: the mean absolute error of
complex spectra of several resolutions, which unlike the magnitudes' logarithm and spectral
convergence stays finite where a target is silent.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn


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

    def forward(self, estimate: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Scalar loss of estimate and target, both [..., samples].

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
            [z.real.abs().mean() + z.imag.abs().mean() for z in spectra]).mean()

    def _spectrum(self, error: torch.Tensor, i: int) -> torch.Tensor:
        n_fft, hop = self.sizes[i]
        return torch.stft(error, n_fft, hop, window=self.get_buffer(f"window_{i}"), center=False,
                          return_complex=True)
