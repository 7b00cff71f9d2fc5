"""HS-TasNet one hop at a time in ONNX Runtime: what a live engine would run.

The package's forward cannot be exported as it stands, because ONNX has no complex numbers, and a
live engine keeps the Fourier transforms out of the graph anyway (as ours does). So one frame of the
forward stands here once more, made of the package's own layers; a test holds the stream to the
package's offline forward, and every run of the bench checks it again.
"""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
import onnxruntime as ort
import torch
from torch import Tensor, nn

from rt.spec import CHANNELS

# the LSTMs, in the order in which the package's forward takes and gives their states
BRANCHES = ("pre_spec", "pre_waveform", "fusion", "post_spec", "post_waveform")


class _Frame(nn.Module):
    """frame [2, L], its spectrum [2, bins, 2] and the states -> stems' spectra
    [stems, 2, bins, 2] and waveforms [stems, 2, L], and the next states."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, frame: Tensor, spectrum: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        net, after = self.network, []

        def recur(name: str, x: Tensor) -> Tensor:
            at = 2 * BRANCHES.index(name)
            y, state = getattr(net, f"{name}_branch")(x, (states[at], states[at + 1]))
            after.append((at, state))
            return y if net.small else x + y

        spec = spec_encoded = net.spec_encode(spectrum[:, :, None])  # [1, 1, dim]
        rectified, gate = net.conv_encode(frame[None]).chunk(2, dim=1)
        basis = rectified.relu() * gate.sigmoid()  # [1, basis, 1]
        wave = wave_encoded = net.basis_to_embed(basis)
        spec, wave = recur("pre_spec", spec), recur("pre_waveform", wave)
        if net.small:
            fused_spec = fused_wave = recur("fusion", spec + wave)
        else:
            fused_spec, fused_wave = recur("fusion", torch.cat((spec, wave), -1)).chunk(2, -1)
        spec = recur("post_spec", fused_spec + spec_encoded)
        wave = recur("post_waveform", fused_wave + wave_encoded)
        masks = _estimated(net.to_spec_masks, spec)[:, :, 0]  # [2, bins, 2, stems]
        spectra = (spectrum[..., None] * masks).permute(3, 0, 1, 2)
        shares = _estimated(net.to_waveform_masks, wave)[0, 0].T  # [stems, basis]
        waves = net.conv_decode(basis * shares[..., None])  # [stems, 2, L]
        return spectra, waves, *(s for _, pair in sorted(after, key=lambda a: a[0]) for s in pair)


def _estimated(estimator: Any, x: Tensor) -> Tensor:
    """A mask estimator's layers with the RMSNorm written out: the exporter does not know it."""
    norm, linear, shape = estimator
    eps = torch.finfo(x.dtype).eps if norm.eps is None else norm.eps
    return shape(linear(x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * norm.weight))


def _graph(network: Any) -> bytes:
    length, bins = network.segment_len, network.n_fft // 2 + 1
    states = [torch.zeros(lstm.num_layers, 1, lstm.hidden_size)
              for name in BRANCHES for lstm in [getattr(network, f"{name}_branch")]
              for _ in range(2)]
    names = [f"state_{i}" for i in range(len(states))]
    file: Any = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as in export.graph: the older exporter keeps the LSTMs
        torch.onnx.export(
            _Frame(network).eval(),
            (torch.zeros(CHANNELS, length), torch.zeros(CHANNELS, bins, 2), *states), file,
            dynamo=False, opset_version=18, input_names=["frame", "spectrum", *names],
            output_names=["spectra", "waves", *(f"{n}_next" for n in names)])
    return file.getvalue()


class HopStream:
    """A live HS-TasNet. Stems trail the input by `latency` samples, counted as for a
    rt.separator.Separator: without the hop that has to come in first. One thread at a time."""

    def __init__(self, network: Any) -> None:
        self.hop: int = network.overlap_len
        self.latency: int = network.segment_len - network.overlap_len
        self.stems: int = network.num_sources
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        options.add_session_config_entry("session.set_denormal_as_zero", "1")
        self._session: Any = ort.InferenceSession(_graph(network), options,
                                                  providers=["CPUExecutionProvider"])
        self._inputs = [i.name for i in self._session.get_inputs()]
        self._fresh = [np.zeros(i.shape, np.float32) for i in self._session.get_inputs()[2:]]
        self._window = network.stft.window.numpy()
        # what the squared windows of overlapping frames add up to, as the package divides by it
        envelope = np.zeros(network.segment_len, np.float32)
        for shift in range(-self.latency, network.segment_len, self.hop):
            moved = np.roll(np.pad(self._window**2, network.segment_len),
                            shift)[network.segment_len:-network.segment_len]
            envelope += moved
        self._synthesis = self._window / np.maximum(envelope, 1e-11)
        self.reset()

    def reset(self) -> None:
        size = len(self._window)
        self._states = self._fresh
        self._frame = np.zeros((CHANNELS, size), np.float32)
        self._tail = np.zeros((self.stems, CHANNELS, size), np.float32)

    def step(self, hop: np.ndarray) -> np.ndarray:
        """hop [H, 2] -> stems [H, stems, 2], a view that the next step overwrites."""
        size = self.hop
        self._frame = np.concatenate([self._frame[:, size:], hop.T], -1)
        spectrum = np.fft.rfft(self._frame * self._window)
        pairs = np.stack([spectrum.real, spectrum.imag], -1).astype(np.float32)
        spectra, waves, *self._states = self._session.run(None, dict(zip(
            self._inputs, [self._frame, pairs, *self._states], strict=True)))
        self._tail[..., :-size] = self._tail[..., size:]
        self._tail[..., -size:] = 0
        complex_spectra = spectra[..., 0] + 1j * spectra[..., 1]
        self._tail += waves + self._synthesis * np.fft.irfft(complex_spectra)
        return self._tail[..., :size].transpose(2, 0, 1)
