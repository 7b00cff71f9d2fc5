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

    def inverse(self, spectrum: Tensor, length: int) -> Tensor:
        """spectrum [..., T, bins, 4] -> signal [..., 2, length]; the inverse of `forward`."""
        z = torch.complex(*spectrum.transpose(-1, -2).float().chunk(2, -2))  # [..., T, 2, bins]
        frames = torch.fft.irfft(z, n=self.n_fft)[..., -self.size:] * self.synthesis
        frames = frames.transpose(-2, -3)  # [..., 2, T, synthesis]
        lead, count = frames.shape[:-2], frames.shape[-2]
        total = (count - 1) * self.hop + self.size
        summed = functional.fold(
            frames.reshape(-1, count, self.size).transpose(1, 2), (1, total), (1, self.size),
            stride=(1, self.hop))
        start = self.size - self.hop
        return summed.reshape(*lead, total)[..., start:start + length]
