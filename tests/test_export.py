import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from export.__main__ import main
from export.graph import write_step_graph
from export.verify import compare_with_torch, stem_sdr
from model import checkpoint
from model.network import BandSplitRNN
from rt.session import Session
from rt.spec import METADATA_KEY
from tests.conftest import SMALL


@pytest.mark.parametrize("mixer", ["attention", "recurrent"])
def test_every_tier_and_mixer_exports_and_agrees(tmp_path: Path, mixer: str) -> None:
    out = tmp_path / "m.onnx"
    assert main(["--untrained", "ultra", "-o", str(out), "--hops", "200",
                 f"network.ultra.mixer={mixer}"]) == 0
    model = onnx.load(out)
    onnx.checker.check_model(model, full_check=True)
    spec = Session(out, "cpu").spec
    assert [i.name for i in model.graph.input] == ["compressed", "time_0", "time_1"]
    assert (spec.hop, spec.synthesis, spec.tier, spec.trained) == (128, 256, "ultra", False)
    stored = {p.key: p.value for p in model.metadata_props}
    assert json.loads(stored[METADATA_KEY])["trained"] is False
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]


@pytest.mark.parametrize("bands", [((8, 4), (1, 32), (1, 65)), ((6, 16), (3, 11)), ((1, 129),)])
def test_bands_alone_and_in_groups_agree(tmp_path: Path,
                                         bands: tuple[tuple[int, int], ...]) -> None:
    """A lone band's weights are laid out another way than those of several."""
    network = BandSplitRNN(SMALL.model_copy(update={"bands": bands})).eval()
    path = tmp_path / "m.onnx"
    write_step_graph(network, network.spec(), path)
    assert compare_with_torch(network, path, 200) < 1e-5


def test_a_checkpoint_exports_with_its_provenance(
        tmp_path: Path, capsys: pytest.CaptureFixture[str],
        step_graph: tuple[Path, BandSplitRNN]) -> None:
    network = step_graph[1]
    folder = tmp_path / "small"
    checkpoint.save(folder, network.state_dict(),
                    checkpoint.Description(network.config, "two songs"))
    out = tmp_path / "deep" / "m.onnx"
    assert main(["-c", str(folder), "-o", str(out), "--int8", "--hops", "250"]) == 0
    assert Session(out, "cpu").spec.trained_on == "two songs"
    assert Session(out.with_suffix(".int8.onnx"), "cpu").spec == Session(out, "cpu").spec
    printed = capsys.readouterr().out
    for word in ("MB", "nodes", "ms a step", "250 hops", "largest difference", "SDR", "two songs"):
        assert word in printed
    assert min(stem_sdr(out.with_suffix(".int8.onnx"), out, 200).values()) > 10


def test_weights_that_differ_are_noticed(step_graph: tuple[Path, BandSplitRNN]) -> None:
    """The comparison can fail: one weight moved by 1 % is far outside the tolerance."""
    path, network = step_graph
    assert compare_with_torch(network, path, 200) < 1e-5
    other = BandSplitRNN(network.config).eval()
    other.load_state_dict(network.state_dict())
    other.heads.outer[0].data[0, 0] *= 1.01
    assert compare_with_torch(other, path, 200) > 1e-4


def test_a_failed_comparison_writes_nothing(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("export.__main__.TOLERANCE", 0.0)
    assert main(["--untrained", "ultra", "-o", str(tmp_path / "m.onnx"), "--hops", "200"]) == 2
    assert "differ" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments", [
    ["-c", "nosuch", "-o", "m.onnx"], ["--untrained", "nosuch", "-o", "m.onnx"],
    ["-o", "m.onnx"], ["--untrained", "live", "-o", "m.onnx", "--hops", "10"],
    ["--untrained", "live", "-o", "m.onnx", "engine.slak=1"],
    ["--untrained", "live", "-o", "m.onnx", "network.live.stems=[vocals]"]])
def test_bad_input_is_one_line_and_exit_code_2(tmp_path: Path, arguments: list[str]) -> None:
    result = subprocess.run([sys.executable, "-m", "export", *arguments], cwd=tmp_path,
                            capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert result.stderr.strip()
    assert not list(tmp_path.iterdir())


def test_quantisation_error_is_measured_not_assumed(
        step_graph: tuple[Path, BandSplitRNN]) -> None:
    same = stem_sdr(step_graph[0], step_graph[0], 200)
    assert all(np.isclose(v, max(same.values()), atol=60) and v > 100 for v in same.values())
