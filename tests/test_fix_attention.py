"""Attention made independent of the input: exact where it was, the mean where it was not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from model.checkpoint import Description, describe, load, save
from model.fix_attention import main
from model.network import Attention, BandSplitRNN
from tests.conftest import SMALL
from tests.songs_fixture import make_songs


def checkpoint(folder: Path, listening: float, **more: object) -> BandSplitRNN:
    """listening: how much attention depends on the input; 0 is not at all."""
    torch.manual_seed(1)
    network = BandSplitRNN(SMALL.model_copy(update=more)).eval()
    n = network.config.features
    for layer in network.layers:
        if isinstance(mixer := layer.get_submodule("mixer"), Attention):
            mixer.qkv.weight.data[:2 * n] *= listening
            mixer.out.weight.data = torch.linalg.qr(mixer.out.weight.data)[0]
    save(folder, network.state_dict(), Description(network.config, "noise: 3 steps"))
    return network


@pytest.fixture
def songs(tmp_path: Path) -> Path:
    return make_songs(tmp_path / "songs", 2, 0.5)


@pytest.mark.parametrize(("listening", "equal"), [(0, True), (30, False)])
def test_the_mean_takes_the_place_of_attention(tmp_path: Path, songs: Path, listening: float,
                                               equal: bool) -> None:
    network = checkpoint(tmp_path / "a", listening)
    assert main([str(tmp_path / "a"), "--data", str(songs), "-o", str(tmp_path / "b"),
                 "--seconds", "0.4"]) == 0
    described = describe(tmp_path / "b")
    assert described.network == network.config.model_copy(update={"mixer": "fixed"})
    assert described.trained_on == "noise: 3 steps"
    fixed = load(tmp_path / "b")
    for layer in fixed.layers:
        weights = layer.get_submodule("mixer").get_parameter("weights")
        torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:2]))
    x = torch.randn(1, 20, network.spec().bins, 4)
    with torch.no_grad():
        difference = (network(x)[0] - fixed(x)[0]).abs().max()
    assert (difference < 1e-5) == equal


def test_bad_input_is_one_line_and_code_2(tmp_path: Path, songs: Path,
                                          capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint(tmp_path / "a", 1)
    checkpoint(tmp_path / "other", 1, mixer="recurrent")
    for arguments, message in (
            ([tmp_path / "other", "--data", songs], "its mixer is recurrent, not attention"),
            ([tmp_path / "none", "--data", songs], "no weights.safetensors in it"),
            ([tmp_path / "a", "--data", tmp_path / "none"], "none")):
        assert main([*map(str, arguments), "-o", str(tmp_path / "out")]) == 2
        lines = capsys.readouterr().err.strip().splitlines()
        assert len(lines) == 1
        assert message in lines[0]
        assert not (tmp_path / "out").exists()
    with pytest.raises(SystemExit) as ended:
        main([str(tmp_path / "a"), "--data", str(songs), "-o", str(tmp_path / "out"),
              "--seconds", "0"])
    assert ended.value.code == 2
