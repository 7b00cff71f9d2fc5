"""The bench's report: its shape and its arithmetic, not the machine's speed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "bench.latency", *arguments], cwd=cwd,
                          capture_output=True, text=True, timeout=120, check=False)


def test_json_and_table(step_graph, tmp_path: Path) -> None:
    result = run("--model", str(step_graph[0]), "--seconds", "0.5", "--json", "f.json",
                 cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    report = json.loads((tmp_path / "f.json").read_text())
    assert report["hop"] == 32
    assert report["hops"] == round(0.5 * 44100 / 32)
    for name in ("step_ms", "analysis_ms", "network_ms", "synthesis_ms"):
        row = report[name]
        assert 0 < row["p50"] <= row["p99"] <= row["p999"] <= row["max"]
    assert report["rtf"]["p50"] == pytest.approx(
        report["step_ms"]["p50"] / report["deadline_ms"], abs=2e-3)
    parts = sum(report[f"{p}_ms"]["p50"] for p in ("analysis", "network", "synthesis"))
    assert parts == pytest.approx(report["step_ms"]["p50"], rel=0.3)
    for word in ("p99.9", "network", "RTF", "deadline"):
        assert word in result.stdout


@pytest.mark.parametrize("arguments", [
    ["--model", "missing.onnx"], ["--tier", "nosuch"], ["--threads", "0"], ["--seconds", "-1"],
    ["--provider", "gpu"]])
def test_bad_input_is_one_line_and_exit_code_2(arguments: list[str], tmp_path: Path) -> None:
    result = run(*arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert arguments[1] in result.stderr
