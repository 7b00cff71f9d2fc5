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
    assert describe(tmp_path / "mean").trained_on == "the mean of seed 0; and seed 1"


def test_forgetting_shortens_the_memory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A unit that holds on to its state, after a while without input."""
    network = checkpoint(tmp_path / "a", 0)
    hidden = network.config.hidden
    for layer in network.layers:
        layer.time.bias_ih_l0.data[hidden:2 * hidden] += 4  # pyright: ignore
        layer.time.weight_hh_l0.data[:] = 0  # pyright: ignore
    save(tmp_path / "a", network.state_dict(), describe(tmp_path / "a"))
    assert main([str(tmp_path / "a"), "-o", str(tmp_path / "b"), "--forget", "0.5"]) == 0
    frames = torch.zeros(40, 1, network.config.features)
    rates = []
    for name in "ab":
        time = load(tmp_path / name).layers[0].get_submodule("time")
        far, near = (time(frames, torch.full((1, hidden), level))[0][:, 0] for level in (1.0, 0.0))
        kept = far - near  # what is left of the difference between two states
        rates.append(-torch.log(kept[-1] / kept[0]) / (len(frames) - 1))
    torch.testing.assert_close(rates[1] / rates[0], torch.full((hidden,), 0.5).exp(),
                               rtol=0.05, atol=0)
    with pytest.raises(SystemExit) as ended:
        main([str(tmp_path / "a"), "-o", str(tmp_path / "b"), "--forget", "-1"])
    assert ended.value.code == 2
    assert "--forget -1: must be from 0" in capsys.readouterr().err


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
