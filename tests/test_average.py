"""The mean of checkpoints: exact, whole, and refused between different networks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from model.average import main
from model.checkpoint import Description, describe, load, save
from model.network import BandSplitRNN
from tests.conftest import SMALL


def checkpoint(folder: Path, seed: int, **more: int) -> BandSplitRNN:
    torch.manual_seed(seed)
    network = BandSplitRNN(SMALL.model_copy(update=more))
    save(folder, network.state_dict(), Description(network.config, f"seed {seed}"))
    return network


def test_the_mean_of_two(tmp_path: Path) -> None:
    a, b = (checkpoint(tmp_path / str(seed), seed) for seed in (0, 1))
    assert main([str(tmp_path / "0"), str(tmp_path / "1"), "-o", str(tmp_path / "mean")]) == 0
    mean = load(tmp_path / "mean").state_dict()
    for key, value in a.state_dict().items():
        torch.testing.assert_close(mean[key], (value + b.state_dict()[key]) / 2, msg=key)
    assert describe(tmp_path / "mean").trained_on == "the mean of: seed 0; and seed 1"


def test_other_networks_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint(tmp_path / "a", 0)
    checkpoint(tmp_path / "deep", 1, layers=3)
    checkpoint(tmp_path / "hop", 2, hop=16)
    for other, message in (("deep", "not this network's weights"), ("hop", "another network"),
                           ("nowhere", "no weights.safetensors")):
        assert main([str(tmp_path / "a"), str(tmp_path / other), "-o", str(tmp_path / "x")]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
        assert not (tmp_path / "x").exists()
