"""Evaluation: cSDR against museval, muting against known errors, and every way over the songs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from reference_files import SMALL as SMALL_REFERENCE
from reference_files import weights, write

from model.checkpoint import Description, save
from model.evaluate import __main__ as evaluate
from model.evaluate.plots import Example
from model.evaluate.scores import summarise
from model.inference.backend import open_model
from model.metrics import csdr, muting, usdr
from model.network import BandSplitRNN
from tests.conftest import SMALL
from tests.dataset_fixture import RATE, encode_stem_file
from tests.songs_fixture import STEMS, make_songs

TOLERANCE = 0.01  # dB


def test_csdr_is_musevals():
    museval = pytest.importorskip("museval", reason="museval is not installed: cSDR is not held "
                                                    "against it")
    rng = np.random.default_rng(0)
    rate = 3000
    n = 7 * rate + 1234  # the last frame is not whole
    targets = rng.standard_normal((2, 2, n)) * np.linspace(0.01, 1, n)
    estimates = 0.8 * targets + 0.3 * targets[::-1] + 0.1 * rng.standard_normal(targets.shape)
    targets[1, :, 2 * rate:3 * rate] = 0  # one stem rests for a frame, one estimate for another
    estimates[0, :, 4 * rate:5 * rate] = 0
    expected = museval.evaluate(targets.swapaxes(1, 2), estimates.swapaxes(1, 2), win=rate,
                                hop=rate)[0]
    assert np.isnan(expected).sum() == 4
    np.testing.assert_allclose(csdr(targets, estimates, rate), np.nanmedian(expected, 1),
                               rtol=0, atol=TOLERANCE)
    # a signal shorter than a frame is one frame
    expected = museval.evaluate(targets[:, :, :700].swapaxes(1, 2),
                                estimates[:, :, :700].swapaxes(1, 2), win=rate, hop=rate)[0]
    np.testing.assert_allclose(csdr(targets[..., :700], estimates[..., :700], rate),
                               expected[:, 0], rtol=0, atol=TOLERANCE)


def test_csdr_leaves_a_missing_stem_out():
    targets = np.random.default_rng(0).standard_normal((3, 2, 4000))
    estimates = targets * 0.9
    alone = csdr(targets[1:], estimates[1:], 1000)
    targets[0] = 0
    scores = csdr(targets, estimates, 1000)
    assert np.isnan(scores[0])
    np.testing.assert_array_equal(scores[1:], alone)
    np.testing.assert_allclose(alone, 20, atol=1e-6)
    assert np.isnan(csdr(targets * 0, estimates, 1000)).all()
    assert np.isnan(csdr(targets, estimates * 0, 1000)).all()  # as museval: nothing to compare


def test_muting_tells_what_is_left_from_what_is_damaged():
    rng = np.random.default_rng(0)
    stem, rest = rng.standard_normal((2, 2, 3 * RATE)) * [[[1.0]], [[2.0]]]
    mixture = stem + rest
    # a tenth of the stem stays and a fifth of the rest is taken along
    attenuation, damage = muting(stem, 0.9 * stem + 0.2 * rest, mixture)
    assert attenuation == pytest.approx(20, abs=1)
    assert damage == pytest.approx(20 * np.log10(0.2), abs=0.3)
    # the two errors do not hide each other where one of them is absent
    attenuation, damage = muting(stem, 0.5 * stem, mixture)
    assert attenuation == pytest.approx(6.02, abs=0.01)
    assert damage < -60
    attenuation, damage = muting(stem, stem + 0.1 * rest, mixture)
    assert attenuation > 25
    assert damage == pytest.approx(-20, abs=0.2)
    # a stem that is let through here and held back there
    gate = np.repeat([1.0, 0.0, 1.0, 1.0, 0.0, 0.0], RATE // 2)
    attenuation, damage = muting(stem, gate * stem, mixture)
    assert attenuation == pytest.approx(3.01, abs=0.4)
    assert damage < -15
    assert np.isnan(muting(stem * 0, stem, mixture)).all()
    assert np.isnan(muting(stem, stem, stem)).all()


def test_a_summary_counts_only_the_songs_that_have_a_stem():
    row = {"usdr": 3.0, "best_gain": 1.0, "csdr": 2.0, "attenuation": 9.0, "damage": -9.0}
    absent = dict.fromkeys(row, float("nan"))
    songs = [{"a": row, "b": absent}, {"a": row | {"usdr": 5.0, "csdr": 9.0}, "b": absent},
             {"a": row | {"usdr": 7.0, "csdr": float("nan")}, "b": absent}]
    summary = summarise(songs)
    assert "b" not in summary
    assert summary["a"]["songs"] == 3
    assert (summary["a"]["usdr"], summary["a"]["median"]) == (5, 5)
    assert summary["a"]["std"] == pytest.approx(np.std([3, 5, 7]))
    assert summary["a"]["csdr"] == 5.5
    assert summary["mean"]["usdr"] == 5


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_songs(tmp_path_factory.mktemp("songs"), count=2, seconds=0.6)


@pytest.fixture(scope="module")
def checkpoint(step_graph: tuple[Path, BandSplitRNN],
               tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "weights"
    save(folder, step_graph[1].state_dict(), Description(step_graph[1].config, "a test"))
    return folder.parent


def scored(*arguments: str | Path) -> dict:
    assert evaluate.main([*map(str, arguments)]) == 0
    return json.loads(Path(arguments[-1]).read_text()) if "--out" in arguments else {}


def test_streaming_and_onnx_agree_with_the_offline_pass(
        checkpoint: Path, step_graph: tuple[Path, BandSplitRNN], songs: Path, tmp_path: Path):
    ways = {"offline": ("-d", checkpoint), "streaming": ("-d", checkpoint, "--streaming"),
            "onnx": ("--onnx", step_graph[0])}
    results = {way: scored(*given, "--data", songs, "--device", "cpu", "--out",
                           tmp_path / f"{way}.json") for way, given in ways.items()}
    offline = results["offline"]
    assert offline["hop"] == 32
    for way, result in results.items():
        assert result["pass"] == way
        for song, stems in offline["songs"].items():
            for stem, scores in stems.items():
                for key, value in scores.items():
                    expected = value if value is None else pytest.approx(value, abs=TOLERANCE)
                    assert result["songs"][song][stem][key] == expected, (way, song, stem, key)
    assert offline["songs"]["song_0"]["vocals"]["usdr"] is None


def test_it_leaves_scores_a_log_and_plots(checkpoint: Path, songs: Path,
                                          capsys: pytest.CaptureFixture[str]):
    scored("-d", checkpoint, "--data", songs)
    printed = capsys.readouterr().out
    log = (checkpoint / "test.log").read_text()
    assert log in printed
    for part in ("song_0", "song_1", "uSDR", "cSDR", "best gain", "muted by", "2 songs, 0 skipped"):
        assert part in log
    for name in ("stems.png", "spectrograms.png"):
        picture = (checkpoint / name).read_bytes()
        assert picture[:4] == b"\x89PNG"
        assert len(picture) > 5000
    assert set(json.loads((checkpoint / "results.json").read_text())["summary"]) == {*STEMS, "mean"}


def test_an_excerpt_for_the_plot_is_from_the_middle():
    x = np.arange(30 * 100)[None]
    example = Example.cut("song", ["a"], 100, x, x[None], x[None])
    assert example.mixture.tolist() == [list(range(1000, 2000))]
    assert Example.cut("song", ["a"], 1000, x, x[None], x[None]).mixture.shape == (1, 3000)


def test_every_checkpoint_of_a_run(checkpoint: Path, songs: Path, tmp_path: Path,
                                   capsys: pytest.CaptureFixture[str]):
    for name in ("weights", "weights/best"):
        shutil.copytree(checkpoint / "weights", tmp_path / name)
    scored("-d", tmp_path, "--data", songs)
    for name in ("weights", "weights/best"):
        assert (tmp_path / name / "results.json").exists()
    comparison = (tmp_path / "test.log").read_text()  # of the run, beside those of each
    assert comparison in capsys.readouterr().out
    assert [line.split()[0] for line in comparison.splitlines()] == [
        "uSDR", "weights", "weights/best"]
    scored("-d", tmp_path / "weights" / "best", "--data", songs, "--out", tmp_path / "one.json")
    assert (tmp_path / "one.test.log").exists()
    assert evaluate.main(["-d", str(tmp_path), "--data", str(songs), "--out",
                          str(tmp_path / "x.json")]) == 2
    assert "holds 2 checkpoints" in capsys.readouterr().err


def test_without_data_it_scores_the_runs_own_test_songs(
        checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    shutil.copytree(checkpoint / "weights", tmp_path / "run" / "weights")
    command = ["-d", str(tmp_path / "run")]
    assert evaluate.main(command) == 2
    assert "give them with --data" in capsys.readouterr().err
    (tmp_path / "run" / "config.yaml").write_text(f"data: {{root: {tmp_path}}}")
    for songs in ("valid", "test"):  # test songs come first where there are some
        make_songs(tmp_path / songs, count=1, seconds=0.3, seed=3)
        assert evaluate.main(command) == 0
        results = json.loads((tmp_path / "run" / "results.json").read_text())
        assert results["data"] == str(tmp_path / songs)
    for command in (["-d", str(checkpoint / "weights")], ["--onnx", "none.onnx"]):
        assert evaluate.main(command) == 2
        error = capsys.readouterr().err
        assert "give them with --data" in error
        assert error.count("\n") == 1


def test_songs_that_cannot_be_used_are_skipped(checkpoint: Path, tmp_path: Path):
    songs = make_songs(tmp_path / "songs", count=4, seconds=0.5)
    (songs / "song_1" / "bass.wav").write_text("not audio")
    (songs / "song_2" / "bass.wav").write_bytes((songs / "song_2" / "drums.wav").read_bytes()[:99])
    for stem in STEMS:
        soundfile.write(songs / "song_3" / f"{stem}.wav", np.zeros((22_050, 2)), RATE)
    result = scored("-d", checkpoint, "--data", songs, "--out", tmp_path / "r.json")
    assert list(result["songs"]) == ["song_0"]
    assert len(result["skipped"]) == 3
    assert any("song_3: is silent" in reason for reason in result["skipped"])


def test_a_stem_file_is_scored(checkpoint: Path, tmp_path: Path):
    if shutil.which("ffmpeg") is None:
        pytest.skip("ffmpeg is not installed: .stem.mp4 files are not tested")
    stems = [0.1 * np.random.default_rng(k).standard_normal((RATE, 2)) for k in range(4)]
    encode_stem_file(tmp_path / "songs" / "song.stem.mp4", [np.sum(stems, 0), *stems])
    result = scored("-d", checkpoint, "--data", tmp_path / "songs", "--out", tmp_path / "r.json")
    assert result["songs"]["song"]["drums"]["usdr"] is not None


def test_bad_input_is_one_line_and_code_2(checkpoint: Path, songs: Path, tmp_path: Path,
                                          capsys: pytest.CaptureFixture[str],
                                          monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    (tmp_path / "empty").mkdir()
    make_songs(tmp_path / "bad", count=1, seconds=0.1)
    for file in (tmp_path / "bad").rglob("*.wav"):
        file.write_text("not audio")
    (tmp_path / "text.onnx").write_text("not a graph")
    given = ["-d", str(checkpoint), "--out", str(tmp_path / "r.json"), "--data"]
    data = ["--data", str(songs)]
    cases = [
        ([*given, str(tmp_path / "empty")], "no song in it"),
        ([*given, str(tmp_path / "bad")], "none of its songs can be used"),
        ([*given, str(songs), "--split", "valid"], "no song of the valid split"),
        (["-d", str(tmp_path / "empty"), *data], "no weights.safetensors"),
        (["-d", str(tmp_path / "nowhere"), *data], "no weights.safetensors"),
        (["--onnx", str(tmp_path / "nowhere.onnx"), *data], "no such model file"),
        (["--onnx", str(tmp_path / "text.onnx"), *data], "not a usable ONNX model"),
        ([*given, str(songs), "--device", "cuda"], "or use --device cpu"),
        ([*given, str(songs), "--config", str(tmp_path / "no.yaml")], "cannot be read"),
        (["-d", str(checkpoint), *data, "--out", "/dev/null/r.json"], "/dev/null"),
    ]
    for command, message in cases:
        capsys.readouterr()
        assert evaluate.main(command) == 2, message
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
    assert not list((tmp_path / "empty").iterdir())
    for command in (data, [*given, str(songs), "--threads", "0"]):
        with pytest.raises(SystemExit) as caught:
            evaluate.main(command)
        assert caught.value.code == 2


def test_one_network_may_know_fewer_stems_than_the_songs_have(tmp_path: Path, songs: Path):
    network = BandSplitRNN(SMALL.model_copy(update={"stems": ("vocals", "drums")}))
    save(tmp_path / "two", network.state_dict(), Description(network.config, "a test"))
    result = scored("-d", tmp_path / "two", "--data", songs, "--out", tmp_path / "r.json")
    signals = {stem: soundfile.read(songs / "song_1" / f"{stem}.wav")[0] for stem in STEMS}
    mixture, drums = np.sum(list(signals.values()), 0), signals["drums"]
    gain = np.sum(drums * mixture) / np.sum(mixture**2)
    assert result["songs"]["song_1"]["drums"]["best_gain"] == pytest.approx(
        usdr(drums, gain * mixture), abs=TOLERANCE)


def test_a_reference_checkpoint_is_scored(tmp_path: Path):
    rng = np.random.default_rng(0)
    song = tmp_path / "songs" / "one"
    song.mkdir(parents=True)
    rate = SMALL_REFERENCE["model"]["sr"]
    signals = {stem: 0.1 * rng.standard_normal((rate // 4, 2)) for stem in STEMS}
    for stem, samples in signals.items():
        soundfile.write(song / f"{stem}.wav", samples, rate, subtype="FLOAT")
    file = write(tmp_path, weights(SMALL_REFERENCE["model"]), SMALL_REFERENCE)
    result = scored("-d", file, "--data", tmp_path / "songs", "--out", tmp_path / "r.json")
    assert list(result["songs"]["one"]) == ["vocals"]
    mixture = np.sum(list(signals.values()), 0).astype(np.float32)
    estimate = np.concatenate(list(open_model(str(file), "cpu").separate([mixture])))[:, 0]
    assert result["songs"]["one"]["vocals"]["usdr"] == pytest.approx(
        usdr(signals["vocals"], estimate), abs=TOLERANCE)
    assert evaluate.main(["-d", str(file), "--streaming", "--data", str(tmp_path / "songs")]) == 2
