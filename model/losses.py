"""The training loss: L1 on the waveform and on the real and imaginary parts of its STFT.

Luo & Yu, arXiv 2209.15174, section 3.3 (equation 4). The STFT here has a symmetric Hann window and
a hop of its own, whatever the tier's hop is: the loss then costs and weighs the same for every
tier, and it sees the estimate after synthesis, as the listener does.
"""

from __future__ import annotations

import torch
from torch import nn


class WaveAndSpectrumLoss(nn.Module):
    """mean |e - s| + mean |Re(E - S)| + mean |Im(E - S)| over stems, channels and time.

    The STFT is scaled by 1/sqrt(sum of the squared window), which makes a noise-like error weigh
    about as much per bin as per sample.
    """

    window: torch.Tensor

    def __init__(self, n_fft: int = 2048, hop: int = 512) -> None:
        super().__init__()
        self.n_fft = n_fft
        self.hop = hop
        window = torch.hann_window(n_fft)
        self.register_buffer("window", window / window.square().sum().sqrt(), persistent=False)

    def forward(self, estimate: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Scalar loss of estimate and target, both [..., samples].

        Raises ValueError where the shapes differ or the signals are shorter than one window.
        """
        if estimate.shape != target.shape:
            raise ValueError(f"estimate {tuple(estimate.shape)} and target {tuple(target.shape)}")
        error = (estimate - target).flatten(0, -2)  # [N, samples]
        if error.shape[-1] < self.n_fft:
            raise ValueError(f"{error.shape[-1]} samples are shorter than a window of {self.n_fft}")
        # The STFT is linear: one transform of the error instead of two of its terms.
        spectrum = torch.stft(
            error, self.n_fft, self.hop, window=self.window, center=False, return_complex=True
        )
        return error.abs().mean() + spectrum.real.abs().mean() + spectrum.imag.abs().mean()
