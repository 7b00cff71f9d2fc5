"""Training end to end on a tiny network: the run's folder, checkpoints, evaluation, bad input."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from model import train
from model.checkpoint import (
    CheckpointError,
    Description,
    assign_matching,
    describe,
    load,
    read_weights,
    save,
)
from model.evaluate import __main__ as evaluate
from model.evaluate.__main__ import find_checkpoints
from model.network import BandSplitRNN
from model.separate import separate
from model.stft import STFT
from tests.conftest import SMALL
from tests.songs_fixture import STEMS
from tests.train_fixture import data, settings

__all__ = ["data"]

@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "whole"
    assert train.main(settings(data, folder, train__samples=1)) == 0
    return folder


def test_a_run_folder_holds_what_it_promises(run: Path):
    for name in ("config.yaml", "train.log", "checkpoints/last.ckpt", "weights/config.yaml",
                 "weights/weights.safetensors", "metrics", "tb"):
        assert (run / name).exists(), name
    assert yaml.safe_load((run / "config.yaml").read_text())["train"]["max_steps"] == 4
    assert "step 4" in (run / "train.log").read_text()
    assert "PyTorch" in (run / "revision.txt").read_text()
    assert describe(run).network == SMALL
    assert "4 steps of 2 segments" in describe(run).trained_on


def test_the_curves_have_losses_scores_rates_sounds_and_pictures(run: Path):
    board = EventAccumulator(str(run / "tb"), size_guidance={"scalars": 0}).Reload()
    tags = board.Tags()
    for tag in ("train/loss", "train/gradient_norm", "lr-AdamW", "valid/loss", "valid/usdr",
                *(f"valid/usdr_{stem}" for stem in STEMS)):
        points = board.Scalars(tag)
        assert len(points) == (2 if "valid" in tag else 4), tag
        assert all(np.isfinite(point.value) for point in points)
    norms = [point.value for point in board.Scalars("train/gradient_norm")]
    assert min(norms) > 0
    assert {"song_0/mixture", "song_0/drums/target", "song_0/drums/estimate"} <= {*tags["audio"]}
    assert len(board.Audio("song_0/drums/estimate")) == 2  # one per validation
    assert len(board.Audio("song_0/drums/target")) == 1
    assert board.Audio("song_0/mixture")[0].sample_rate == 44_100
    assert tags["images"] == ["song_0/spectrograms"]


def test_the_best_weights_are_kept(run: Path):
    scores = json.loads((run / "best" / "scores.json").read_text())
    assert {path.name for path in (run / "best").glob("step-*")} == scores.keys()
    assert scores.keys() == {"step-0000002", "step-0000004"}
    last, kept = (read_weights(run / name) for name in ("weights", "best/step-0000004"))
    assert all(torch.equal(last[key], kept[key]) for key in last)
    assert find_checkpoints(run) == [run / "best" / "step-0000002", run / "best" / "step-0000004",
                                     run / "weights"]


def test_a_checkpoint_rebuilds_its_network(run: Path, tmp_path: Path):
    network = load(run)
    save(tmp_path / "copy", network.state_dict(), Description(network.config, "a test"))
    again = load(tmp_path / "copy")
    assert describe(tmp_path / "copy").trained_on == "a test"
    spectrum = torch.randn(1, 3, 129, 4)
    with torch.no_grad():
        assert torch.equal(network(spectrum)[0], again(spectrum)[0])


def test_weights_of_another_network_are_refused_by_name(run: Path, tmp_path: Path):
    weights = read_weights(run)
    del weights["split.bias"]
    weights["more"] = torch.zeros(1)
    weights["heads.inner_bias"] = torch.zeros(2, 2)
    save(tmp_path / "wrong", weights, describe(run))
    with pytest.raises(CheckpointError) as error:
        load(tmp_path / "wrong")
    for part in ("missing split.bias", "left over more", "heads.inner_bias is [2, 2]"):
        assert part in str(error.value)


@pytest.mark.parametrize(("text", "message"), [
    ("network: {hop: 100}\ntrained_on: x\n", "hop 100 must divide the synthesis window"),
    ("network: {hop: two}\ntrained_on: x\n", "hop = 'two': Input should be a valid integer"),
    ("network: {hop: 256}\n", "it has no 'trained_on'"),
    ("network: [\n", "not valid YAML"),
    ("just words\n", "no mapping of keys")])
def test_a_broken_configuration_is_one_line(tmp_path: Path, text: str, message: str):
    (tmp_path / "config.yaml").write_text(text)
    (tmp_path / "weights.safetensors").touch()
    with pytest.raises(CheckpointError) as error:
        describe(tmp_path)
    assert str(error.value).startswith(f"{tmp_path / 'config.yaml'}: ")
    assert message in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_starting_from_a_deeper_network(run: Path):
    shallow = BandSplitRNN(SMALL.model_copy(update={"layers": 1}))
    assert assign_matching(shallow, read_weights(run)) == []
    deep = BandSplitRNN(SMALL.model_copy(update={"layers": 3}))
    assert all(key.startswith("layers.2.") for key in assign_matching(deep, read_weights(run)))
    with pytest.raises(CheckpointError, match="none of its tensors"):
        assign_matching(deep, {"x": torch.zeros(1)})


@pytest.mark.parametrize("block", [1, 7, 64])
def test_separation_in_blocks_is_separation(block: int):
    network = BandSplitRNN(SMALL).eval()
    stft = STFT(network.spec())
    mixture = torch.randn(2, 2, 2001)
    with torch.no_grad():
        whole = separate(network, stft, mixture)
        blocks = separate(network, stft, mixture, block)
    assert whole.shape == (2, 4, 2, 2001)
    torch.testing.assert_close(blocks, whole, rtol=0, atol=1e-5)
    torch.testing.assert_close(whole.sum(1), mixture, rtol=0, atol=1e-5)


def test_evaluate_scores_every_song(run: Path, data: Path, tmp_path: Path,
                                    capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "results.json"
    assert evaluate.main(["-d", str(run / "weights"), "--data", str(data / "valid"),
                          "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "song_0" in printed
    assert "best gain" in printed
    results = json.loads(out.read_text())
    assert results["songs"]["song_0"]["vocals"]["usdr"] is None  # it has no vocals
    assert results["summary"]["vocals"]["songs"] == 1
    assert results["summary"]["drums"]["songs"] == 2
    drums = [song["drums"]["usdr"] for song in results["songs"].values()]
    assert results["summary"]["drums"]["usdr"] == pytest.approx(np.mean(drums))


def test_a_continuous_stream_carries_its_state(run: Path, data: Path):
    alone, stream = (evaluate.evaluate(run / "weights", data / "valid", continuous)["songs"]
                     for continuous in (False, True))
    assert stream["song_0"]["drums"] == pytest.approx(alone["song_0"]["drums"], abs=1e-3)
    assert stream["song_1"]["drums"]["usdr"] != alone["song_1"]["drums"]["usdr"]
    assert stream["song_1"]["drums"]["usdr"] == pytest.approx(
        alone["song_1"]["drums"]["usdr"], abs=1)


def test_bad_input_is_one_line_and_code_2(data: Path, run: Path, tmp_path: Path,
                                          capsys: pytest.CaptureFixture[str]):
    (tmp_path / "empty").mkdir()
    cases = [
        (train.main, [*settings(data, tmp_path / "a"), "data.root=null"], "data.root is not set"),
        (train.main, settings(tmp_path, tmp_path / "b"), "no such folder"),
        (train.main, [*settings(data, tmp_path / "c"), "data.train=../empty"], "no such folder"),
        (train.main, [*settings(data, tmp_path / "d"), "train.max_steps=no"], "train.max_steps"),
        (train.main, [*settings(data, tmp_path / "e"), "model.tier=none"], "none"),
        (train.main, [*settings(data, tmp_path / "f"), f"train.init={tmp_path}"], "no weights"),
        (train.main, [*settings(data, run), "network.live.layers=1"], "layers differ"),
        (evaluate.main, ["-d", str(tmp_path), "--data", str(data / "valid")], "no weights"),
        (evaluate.main, ["-d", str(run), "--data", str(tmp_path / "empty")], "no song in it"),
    ]
    for command, arguments, message in cases:
        capsys.readouterr()
        assert command(arguments) == 2, message
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1


def test_a_pickle_named_safetensors_is_refused(run: Path, tmp_path: Path):
    save(tmp_path / "bad", {}, describe(run))
    torch.save({"x": torch.zeros(1)}, tmp_path / "bad" / "weights.safetensors")
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        load(tmp_path / "bad")
