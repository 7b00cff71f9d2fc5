"""Which stems are trained: any of a song's for the streaming network, one for the reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from export.graph import write_step_graph
from model import train
from model.checkpoint import CheckpointError, describe, load, read_weights
from model.evaluate import __main__ as evaluate
from model.inference import __main__ as inference
from model.inference.backend import open_model
from model.inference.offline import REST
from model.network import BandSplitRNN
from model.reference.checkpoint import load_reference
from model.separate import separate, separate_after, stream
from model.stft import STFT
from model.train.data import StepBatches
from model.train.plan import make_plan
from rt.config import ConfigError, load_config
from rt.reference import SPLITS, ReferenceSection
from rt.separator import Separator
from rt.session import Session
from tests.conftest import SMALL
from tests.songs_fixture import RATE, STEMS
from tests.train_fixture import data, settings

__all__ = ["data"]

REFERENCE = {"model": "reference", "reference__n_fft": 512, "reference__win_length": 512,
             "reference__hop_length": 128, "reference__bandsplits": "[[4000,1000],[16000,4000]]",
             "reference__t_timesteps": 33, "reference__fc_dim": 8, "reference__rnn_dim": 6,
             "reference__num_layers": 2, "reference__mlp_dim": 8, "train__target": "bass"}


@pytest.fixture(scope="module")
def bass(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "bass"
    assert train.main(settings(data, run, train__target="bass", train__max_steps=2)) == 0
    return run


@pytest.fixture(scope="module")
def reference(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "reference"
    assert train.main(settings(data, run, **REFERENCE)) == 0
    return run


def plan(*overrides: str):
    return make_plan(load_config(overrides=overrides))


def test_what_a_network_does_not_name_goes_into_one_last_stem():
    assert plan().stems == plan().sources == STEMS
    assert plan("train.target=bass").stems == ("bass", REST)
    few = plan("network.live.stems=[other, vocals]")
    assert few.stems == ("other", "vocals", REST)
    assert few.sources == STEMS
    items = torch.randn(2, 4, 2, 10)
    torch.testing.assert_close(few.targets(items), torch.stack(
        [items[:, 3], items[:, 0], items[:, 1] + items[:, 2]], 1))
    torch.testing.assert_close(few.targets(items).sum(1), items.sum(1))
    # another order is the network's own; more stems are sources of the songs as well
    turned = plan("network.live.stems=[other, vocals, drums, bass]")
    assert turned.sources == turned.stems == ("other", "vocals", "drums", "bass")
    six = plan("network.live.stems=[vocals, drums, bass, guitar, piano, other]")
    assert six.sources == six.stems
    placed = plan("network.live.stems=[accompaniment, drums]")
    torch.testing.assert_close(placed.targets(items)[:, 0], items[:, [0, 2, 3]].sum(1))


@pytest.mark.parametrize("target", STEMS)
def test_a_reference_network_has_its_targets_bands(target: str):
    made = plan("model=reference", f"train.target={target}")
    assert isinstance(made.network, ReferenceSection)
    assert made.network.bandsplits == SPLITS[target]
    assert (made.stems, made.sources, made.segment, made.prefix) == ((target,), STEMS, 134_144, 0)
    assert made.run == Path("runs") / f"reference-{target}"
    sizes = made.network
    assert (sizes.fc_dim, sizes.rnn_dim, sizes.num_layers, sizes.mlp_dim) == (128, 256, 12, 512)


@pytest.mark.parametrize(("overrides", "message"), [
    (["model=reference"], "train.target is not set"),
    (["model=reference", "train.target=tuba"], "train.target = 'tuba': no such stem"),
    (["model=reference", "train.target=bass", "train.optimizer=muon"], "use adamw for a reference"),
    (["train.target=tuba"], "there is vocals, drums, bass, other (data.stems)"),
    (["train.prefix_s=2"], "train.segment_s = 1.5: after the prefix (train.prefix_s = 2) 0 "),
    (["train.prefix_s=1.49"], "the loss needs 2048"),
    (["train.prefix_s=1.4", "train.loss_windows=[8192]"], "the loss needs 8192"),
    (["model=reference", "train.target=bass", "reference.n_fft=512", "reference.win_length=512",
      "reference.hop_length=128"], "reference.bandsplits for bass: a band of"),
    (["network={reference: {}}"], "network.reference"),
    (["train.strategy=fsdp"], "train.strategy = 'fsdp'"),
])
def test_what_cannot_be_trained_is_one_line(overrides: list[str], message: str):
    with pytest.raises(ConfigError) as error:
        plan(*overrides)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("prefix", [0, 1, 20])
def test_a_prefix_only_brings_the_state(prefix: int):
    network = BandSplitRNN(SMALL)
    stft = STFT(network.spec())
    mixture = torch.randn(2, 2, 1999)
    after = separate_after(network, stft, mixture, prefix)
    whole = separate(network, stft, mixture)
    torch.testing.assert_close(after, whole[..., prefix * SMALL.hop:], rtol=0, atol=1e-5)
    pieces = list(stream(network, stft, mixture, 9))
    torch.testing.assert_close(torch.cat([stems for stems, _ in pieces], -1), whole, rtol=0,
                               atol=1e-5)
    # no gradient goes back into it: what only its frames heard has none
    mixture.requires_grad_()
    separate_after(network, stft, mixture, prefix)[..., -100:].square().mean().backward()
    assert mixture.grad is not None
    heard = mixture.grad.abs().amax((0, 1)) > 0
    first = max(0, (prefix + 1) * SMALL.hop - SMALL.n_fft)
    assert not heard[:first].any()
    assert heard[first:first + SMALL.hop].any()


def test_every_process_reads_its_own_items_from_the_step_that_is_now():
    step = 0
    one, two = (StepBatches(lambda: step, 2, rank, 2, steps_per_epoch=3, max_steps=5)
                for rank in (0, 1))
    alone = StepBatches(lambda: step, 4, 0, 1, steps_per_epoch=3, max_steps=5)
    assert list(one) == [[0, 1], [4, 5], [8, 9]]
    assert list(two) == [[2, 3], [6, 7], [10, 11]]
    assert [a + b for a, b in zip(one, two, strict=True)] == list(alone)
    step = 3  # the last epoch is shorter
    assert (len(one), list(one)) == (2, [[12, 13], [16, 17]])


def test_one_target_streams_and_is_scored_with_the_rest(bass: Path, data: Path, tmp_path: Path):
    network = load(bass)
    assert network.config.stems == ("bass", REST)
    assert describe(bass).network == network.config
    write_step_graph(network, network.spec(tier="bass"), tmp_path / "bass.onnx")
    sound = np.random.default_rng(0).normal(0, 0.1, (2000, 2)).astype(np.float32)
    separator = Separator(Session(tmp_path / "bass.onnx", "cpu"))
    stems = separator.push(sound)
    late = separator.spec.algorithmic_latency
    np.testing.assert_allclose(stems.sum(1)[late:], sound[:len(stems) - late], atol=1e-5)
    results = evaluate.evaluate(bass / "weights", data / "valid")
    live = evaluate.evaluate(tmp_path / "bass.onnx", data / "valid")
    for song, scores in results["songs"].items():
        assert list(scores) == ["bass", REST]
        for stem, score in scores.items():
            assert live["songs"][song][stem]["usdr"] == pytest.approx(score["usdr"], abs=0.01)
    # the rest is three stems of four, of equal power: a good guess is the mixture itself
    assert results["summary"][REST]["best_gain"] > results["summary"]["bass"]["best_gain"] + 3


def test_a_reference_run_is_separated_and_scored_with(reference: Path, data: Path, tmp_path: Path,
                                                      capsys: pytest.CaptureFixture[str]):
    loaded = load_reference(reference)
    assert (loaded.target, loaded.network.config) == ("bass", describe(reference).network)
    weights = read_weights(reference)
    assert all(torch.equal(weights[key], value)
               for key, value in loaded.network.state_dict().items())
    assert "4 steps of 2 segments of 0.09288 s at hop 128" in describe(reference).trained_on
    with pytest.raises(CheckpointError, match="cannot stream"):
        load(reference)
    log = (reference / "train.log").read_text()
    assert "reference: bass, " in log
    assert "usdr_bass" in log

    results = evaluate.evaluate(reference / "weights", data / "valid")
    assert list(results["songs"]["song_1"]) == ["bass"]
    capsys.readouterr()
    sound = np.random.default_rng(0).normal(0, 0.1, (RATE, 2)).astype(np.float32)
    soundfile.write(tmp_path / "song.wav", sound, RATE, subtype="FLOAT")
    assert inference.main(["-i", str(tmp_path / "song.wav"), "-o", str(tmp_path / "out"),
                           "-c", str(reference)]) == 0
    stem, rate = soundfile.read(tmp_path / "out" / "song_bass.wav")
    assert (stem.shape, rate) == (sound.shape, RATE)
    expected = np.concatenate(list(open_model(str(reference)).separate([sound])))[:, 0]
    np.testing.assert_allclose(stem, expected, atol=1e-6)


def test_a_streaming_run_is_not_taken_for_a_reference(bass: Path, tmp_path: Path,
                                                      monkeypatch: pytest.MonkeyPatch,
                                                      capsys: pytest.CaptureFixture[str]):
    soundfile.write(tmp_path / "song.wav", np.zeros((100, 2)), RATE)
    assert inference.main(["-i", str(tmp_path / "song.wav"), "-o", str(tmp_path / "out"),
                           "-c", str(bass)]) == 2
    assert "python -m export makes a step graph" in capsys.readouterr().err
    # and a folder of stems that is called like a tier is no checkpoint
    (tmp_path / "live").mkdir()
    monkeypatch.chdir(tmp_path)
    assert open_model("live").stems == STEMS


def test_another_networks_run_is_not_resumed(bass: Path, data: Path,
                                             capsys: pytest.CaptureFixture[str]):
    assert train.main(settings(data, bass, train__target="drums")) == 2
    assert "was begun with another network (stems differ)" in capsys.readouterr().err
    assert train.main(settings(data, bass, **REFERENCE)) == 2
    assert "choose another train.run" in capsys.readouterr().err


@pytest.mark.parametrize("more", [{}, REFERENCE], ids=["live", "reference"])
def test_mixed_precision(data: Path, tmp_path: Path, more: dict[str, object]):
    assert train.main(settings(data, tmp_path, train__precision="bf16-mixed", train__max_steps=1,
                               train__loss_windows="[256, 128]", **more)) == 0
    assert all(value.dtype == torch.float32 and torch.isfinite(value).all()
               for value in read_weights(tmp_path).values())
