"""The batch form of the streaming STFT pair: the same windows, scaling and alignment as rt.stft.

Frame t ends with sample (t + 1)·hop of the input, and the overlap-added output of a frame stands
where its input was: no latency here, the streaming form adds spec.algorithmic_latency.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from rt.spec import StreamSpec


class STFT(nn.Module):
    """Windows live in buffers so that they move with the module."""

    analysis: Tensor
    synthesis: Tensor

    def __init__(self, spec: StreamSpec) -> None:
        super().__init__()
        self.n_fft, self.hop, self.size = spec.n_fft, spec.hop, spec.synthesis
        self.register_buffer("analysis", torch.tensor(spec.analysis_window(),
                                                      dtype=torch.float32), persistent=False)
        self.register_buffer("synthesis", torch.tensor(spec.synthesis_window(),
                                                       dtype=torch.float32), persistent=False)

    def frames(self, length: int) -> int:
        """Frames needed so that every one of `length` samples comes back from `inverse`."""
        return -(-(length + self.size - self.hop) // self.hop)

    def forward(self, signal: Tensor) -> Tensor:
        """signal [B, 2, samples] -> spectrum [B, T, bins, 4], from a silent past."""
        length = signal.shape[-1]
        count = self.frames(length)
        padded = functional.pad(signal, (self.n_fft - self.hop, count * self.hop - length))
        frames = padded.unfold(-1, self.n_fft, self.hop) * self.analysis  # [B, 2, T, n_fft]
        z = torch.fft.rfft(frames).permute(0, 2, 3, 1)  # [B, T, bins, 2]
        return torch.cat([z.real, z.imag], -1)

    def inverse(self, spectra: Tensor, length: int) -> Tensor:
        """Complex spectra [B, T, ..., bins] -> signals [B, ..., length]; the inverse of
        `forward`."""
        frames = torch.fft.irfft(spectra, n=self.n_fft)[..., -self.size:] * self.synthesis
        parts = self.size // self.hop
        # [B, ..., hops, hop]: overlap-add, hop by hop
        frames = frames.unflatten(-1, (parts, self.hop)).movedim(1, -3)
        summed = functional.pad(frames[..., 0, :], (0, 0, 0, parts - 1))
        for i in range(1, parts):
            summed = summed + functional.pad(frames[..., i, :], (0, 0, i, parts - 1 - i))
        return summed.flatten(-2)[..., self.size - self.hop:][..., :length]
