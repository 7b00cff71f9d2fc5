"""The loss against a plainly written one, and the scores against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from model.losses import RelativeRMSLoss, WaveAndSpectrumLoss
from model.metrics import best_gain_usdr, usdr


@pytest.mark.parametrize("hop", [64, 100])
def test_loss_is_the_sum_of_three_means(hop: int):
    n_fft, length = 256, 1000
    generator = np.random.default_rng(0)
    estimate, target = generator.normal(size=(2, 2, 3, 2, length))
    window = np.hanning(n_fft + 1)[:-1]
    window /= np.sqrt(np.sum(window**2))
    error = (estimate - target).reshape(-1, length)
    frames = [np.fft.rfft(error[:, i:i + n_fft] * window)
              for i in range(0, length - n_fft + 1, hop)]
    expected = (np.abs(error).mean() + np.abs(np.real(frames)).mean()
                + np.abs(np.imag(frames)).mean())
    loss = WaveAndSpectrumLoss(n_fft, hop).double()
    got = loss(torch.from_numpy(estimate), torch.from_numpy(target))
    assert got.item() == pytest.approx(expected, rel=1e-5)
    assert loss(torch.from_numpy(target), torch.from_numpy(target)).item() == 0


@pytest.mark.parametrize(("n_fft", "hop"), [(256, 64), (256, 100), (255, 51)])
def test_the_gradient_of_the_loss_is_its_slope(n_fft: int, hop: int):
    loss = WaveAndSpectrumLoss(n_fft, hop).double()
    estimate, target = torch.randn(2, 1, 2, 700, dtype=torch.float64)
    estimate.requires_grad_()
    assert torch.autograd.gradcheck(lambda e: loss(e, target), estimate, eps=1e-7, atol=1e-6)


def test_more_windows_are_a_mean_over_resolutions():
    estimate, target = torch.randn(2, 2, 3, 2, 1000)
    wave = (estimate - target).abs().mean()
    alone = [WaveAndSpectrumLoss(n, hop)(estimate, target) - wave
             for n, hop in ((256, 64), (512, 128), (128, 32))]
    together = WaveAndSpectrumLoss(256, 64, windows=(512, 128))
    torch.testing.assert_close(together(estimate, target), wave + sum(alone) / 3)
    assert together.shortest == 512
    assert not together.state_dict()


def test_rms_is_of_the_error_over_the_mixture():
    estimate, target = torch.randn(2, 3, 4, 2, 500)
    mixture = target.sum(1)
    loss = RelativeRMSLoss()
    expected = [[((e - t).square().mean() / m.square().mean() + 1e-6).sqrt()
                 for e, t in zip(one, other, strict=True)]
                for one, other, m in zip(estimate, target, mixture, strict=True)]
    assert loss(estimate, target, mixture).item() == pytest.approx(np.mean(expected), rel=1e-5)
    quiet = [1e-2 * x for x in (estimate, target, mixture)]
    torch.testing.assert_close(loss(*quiet), loss(estimate, target, mixture))
    nothing = torch.zeros(3, 4, 2, 500, requires_grad=True)
    loss(nothing, torch.zeros_like(nothing), torch.zeros(3, 2, 500)).backward()
    assert nothing.grad is not None
    assert not nothing.grad.any()


def test_loss_refuses_what_it_cannot_compare():
    loss = WaveAndSpectrumLoss(256, 64)
    with pytest.raises(ValueError, match="shorter than a window"):
        loss(torch.zeros(2, 100), torch.zeros(2, 100))
    with pytest.raises(ValueError, match="target"):
        loss(torch.zeros(2, 300), torch.zeros(2, 301))


def test_usdr():
    target = np.random.default_rng(0).normal(size=(2, 1000))
    assert usdr(target, 0.9 * target) == pytest.approx(20, abs=1e-9)
    assert usdr(target, np.zeros_like(target)) == pytest.approx(0, abs=1e-9)
    assert np.isnan(usdr(np.zeros((2, 10)), np.ones((2, 10))))
    with pytest.raises(ValueError, match="target"):
        usdr(target, target[:, 1:])


def test_best_gain_is_the_best_gain():
    rng = np.random.default_rng(0)
    target, rest = rng.normal(size=(2, 2, 1000))
    mixture = target + 2 * rest
    best = best_gain_usdr(target, mixture)
    tried = max(usdr(target, gain * mixture) for gain in np.linspace(0, 1, 1001))
    assert best == pytest.approx(tried, abs=1e-4)
    assert np.isnan(best_gain_usdr(target, np.zeros_like(mixture)))
