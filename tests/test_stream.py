"""Two minutes through a packaged network: nothing grows or collapses, silence is silence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import model
from export.verify import probe_signal
from model.checkpoint import load
from model.separate import stream
from model.stft import STFT

PERIOD_S, PERIODS, SILENCE_S = 10, 12, 2
PRETRAINED = Path(model.__file__).parent / "pretrained"


@pytest.mark.timeout(900)
def test_two_minutes_are_like_the_first_seconds():
    """The same ten seconds twelve times, then silence: a state that drifts would make the later
    stems differ from the earlier ones, and a state that grows would show it."""
    network = load(PRETRAINED / "live")
    stft = STFT(network.spec())
    rate, hop = network.config.sample_rate, network.config.hop
    block = PERIOD_S * rate // hop // 10  # frames: about a second
    period = probe_signal(network.spec(), 10 * block)
    quiet = np.zeros((SILENCE_S * rate, 2), np.float32)
    signal = torch.from_numpy(np.concatenate([np.tile(period, (PERIODS, 1)), quiet]).T)
    assert signal.shape[1] > 120 * rate

    stems, sizes = [], []
    with torch.inference_mode():
        for piece, state in stream(network, stft, signal[None], block):
            stems.append(piece[0])
            sizes.append([float(tensor.square().mean().sqrt()) for tensor in state])
            # a GRU's state is bounded by one
            assert all(float(tensor.abs().max()) <= 1 for tensor in state)
    sizes = np.array(sizes)  # [seconds, states]
    assert sizes.shape == (len(stems), network.config.layers)
    second, last = sizes[10:20], sizes[110:120]
    assert np.all(last.max(0) <= 1.02 * second.max(0))
    assert np.all(last.mean(0) >= 0.98 * second.mean(0))

    estimate = torch.cat(stems, -1)
    torch.testing.assert_close(estimate.sum(0), signal, rtol=0, atol=1e-4)
    # the last but one, because the end of the last is followed by something else
    late = estimate[..., (PERIODS - 2) * len(period):(PERIODS - 1) * len(period)]
    errors = []
    for i in (1, 2, 3):
        early = estimate[..., i * len(period):(i + 1) * len(period)]
        errors.append((late - early).square().sum((1, 2)) / early.square().sum((1, 2)))
    # the memory reaches beyond a period: what differs at first dies away, and does not drift
    assert torch.all(errors[0] <= 2e-3), errors  # -27 dB
    assert torch.all(errors[1] <= 0.5 * errors[0]), errors
    assert torch.all(errors[2] <= 1e-4), errors  # -40 dB
    over = PERIODS * len(period) + network.config.n_fft  # nothing that sounds is heard any more
    assert float(estimate[..., over:].abs().max()) <= 1e-6
