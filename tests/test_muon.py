"""Muon: what it does to matrices, and that a run with it resumes like any other."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.optim import AdamW

from model import train
from model.network import BandSplitRNN
from model.train.muon import Muon, orthogonal
from tests.conftest import SMALL
from tests.test_train_resume import assert_same_weights
from tests.train_fixture import data, settings

__all__ = ["data"]


@pytest.mark.parametrize("shape", [(8, 8), (3, 64, 20), (2, 20, 64)])
def test_orthogonal_matrices_have_one_size_in_all_directions(shape: tuple[int, ...]):
    matrices = torch.randn(shape) * 1e-3
    left, _, right = torch.linalg.svd(matrices, full_matrices=False)
    found = orthogonal(matrices)
    values = torch.diagonal(left.mT @ found @ right.mT, dim1=-2, dim2=-1)
    assert values.min() > 0.5
    assert values.max() < 1.3
    torch.testing.assert_close(left @ torch.diag_embed(values) @ right, found, atol=1e-4, rtol=0)


def test_a_step_moves_matrices_by_muon_and_the_rest_by_adam():
    network, same = BandSplitRNN(SMALL), BandSplitRNN(SMALL)
    same.load_state_dict(network.state_dict())
    for one, other in zip(network.parameters(), same.parameters(), strict=True):
        one.grad = torch.randn_like(one)
        other.grad = one.grad.clone()
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    Muon(network, 1e-3, 0.01).step()
    AdamW(same.parameters(), 1e-3, weight_decay=0.01).step()
    moved = []
    for (name, one), other in zip(network.named_parameters(), same.parameters(), strict=True):
        if not torch.allclose(one, other, rtol=0, atol=1e-7):
            moved.append(name)
            step = (one - before[name]).square().mean().sqrt() / 1e-3
            assert 0.05 < step < 0.4, name  # Adam's is up to 1, and 0.2 to 0.4 in mid-training
    inside = {"time.weight_ih_l0", "time.weight_hh_l0", "time_out.weight", "mixer.qkv.weight",
              "mixer.out.weight", "inner.1.weight", "inner.3.weight"}
    assert set(moved) == {"heads.inner", *(f"layers.{i}.{name}" for i in range(SMALL.layers)
                                           for name in inside)}


def test_a_run_with_muon_and_the_rms_loss_resumes(data: Path, tmp_path: Path):
    steady = {"train__optimizer": "muon", "train__loss": "rms", "train__final_rate": 1}
    assert train.main(settings(data, tmp_path / "whole", **steady)) == 0
    assert train.main(settings(data, tmp_path / "parts", **steady, train__max_steps=2)) == 0
    assert train.main(settings(data, tmp_path / "parts", **steady)) == 0
    assert_same_weights(tmp_path / "whole", tmp_path / "parts")
