"""Shipping a tier: both graphs, the figures, and which of the two the CPU is given."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from export.ship import PRECISIONS, decide, main
from model import checkpoint
from model.evaluate.__main__ import evaluate
from model.network import BandSplitRNN
from rt import session
from rt.session import SessionError, packaged_model, read_spec
from tests.songs_fixture import make_songs


@pytest.mark.parametrize(("int8", "ms", "chosen", "because"), [
    ({"vocals": 3.9, "bass": 2.81}, 0.5, "int8", "costs bass 0.19 dB and a step takes 0.50 ms"),
    ({"vocals": 3.9, "bass": 2.79}, 0.5, "fp32", "costs bass 0.21 dB, more than 0.2 dB"),
    ({"vocals": 4.1, "bass": 3.1}, 0.5, "int8", "costs no stem anything"),
    ({"vocals": 4.1, "bass": 3.1}, 1.0, "fp32", "is not faster")])
def test_int8_must_be_as_good_and_faster(int8: dict[str, float], ms: float, chosen: str,
                                         because: str) -> None:
    precision, why = decide({"fp32": {"vocals": 4.0, "bass": 3.0}, "int8": int8},
                            {"fp32": 1.0, "int8": ms})
    assert precision == chosen
    assert because in why


def test_a_tier_ships_with_its_figures(
        tmp_path: Path, capsys: pytest.CaptureFixture[str],
        step_graph: tuple[Path, BandSplitRNN]) -> None:
    songs = make_songs(tmp_path / "songs", count=2, seconds=0.5)
    network, folder, out = step_graph[1], tmp_path / "small", tmp_path / "models"
    checkpoint.save(folder, network.state_dict(),
                    checkpoint.Description(network.config, "two songs"))
    assert main(["tiny", "-c", str(folder), "--data", str(songs), "--seconds", "0.3",
                 "--out", str(out)]) == 0
    assert sorted(p.name for p in out.iterdir()) == ["tiny.int8.onnx", "tiny.json", "tiny.onnx"]
    note = json.loads((out / "tiny.json").read_text())
    assert note["cpu"] in PRECISIONS
    assert note["why"] in capsys.readouterr().out
    assert min(note["step_ms"].values()) > 0
    for name, graph in zip(PRECISIONS, ("tiny.onnx", "tiny.int8.onnx"), strict=True):
        assert read_spec(out / graph).tier == "tiny"
        measured = evaluate(out / graph, songs)["summary"]
        assert note["usdr_db"][name] == pytest.approx(
            {stem: row["usdr"] for stem, row in measured.items()}, abs=1e-3, nan_ok=True)
    kept = json.loads((folder / "scores.json").read_text())
    assert kept["checkpoint"] == ("tiny.int8.onnx" if note["cpu"] == "int8" else "tiny.onnx")
    assert kept["summary"].keys() == measured.keys()


@pytest.mark.parametrize("wrong", [["nosuch"], ["live", "-c", "nosuch"]])
def test_what_cannot_ship_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                         wrong: list[str]) -> None:
    assert main([*wrong, "--data", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not list((tmp_path / "out").iterdir())


def test_the_note_decides_what_the_cpu_runs(tmp_path: Path,
                                            monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "PACKAGED", tmp_path)

    def name(*arguments: str) -> str:
        return packaged_model("t", *arguments).name

    with pytest.raises(SessionError, match="no packaged model 't'"):
        name()
    (tmp_path / "t.onnx").touch()
    assert name("auto", "cpu") == "t.onnx"  # nobody has measured anything
    with pytest.raises(SessionError, match=r"'t\.int8'"):
        name("int8")
    (tmp_path / "t.int8.onnx").touch()
    assert name("int8", "cuda") == "t.int8.onnx"
    for chosen, expected in (("int8", "t.int8.onnx"), ("fp32", "t.onnx")):
        (tmp_path / "t.json").write_text(json.dumps({"cpu": chosen}))
        assert name("auto", "cpu") == expected
        assert name("auto", "cuda") == name("fp32", "cpu") == "t.onnx"
    (tmp_path / "t.json").write_text("{")
    with pytest.raises(SessionError, match=r"t\.json: cannot be read"):
        name("auto", "cpu")


@pytest.mark.parametrize("tier", ["live", "ultra"])
def test_both_precisions_are_in_the_package(tier: str) -> None:
    fp32, int8 = (packaged_model(tier, precision) for precision in PRECISIONS)
    assert read_spec(fp32) == read_spec(int8)
    assert packaged_model(tier, "auto", "cpu") in (fp32, int8)
    assert fp32.with_suffix(".json").exists()
    assert max(path.stat().st_size for path in (fp32, int8)) < 20e6
