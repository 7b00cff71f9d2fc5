"""The latency that is printed is the latency that is heard: the bench itself, end to end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from jackrig import jack_server

ROOT = Path(__file__).parent.parent


def bench(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "bench.loopback", *arguments], cwd=ROOT, text=True,
                          capture_output=True, timeout=90, check=False,
                          env={**os.environ, **environment})


@pytest.mark.parametrize(("arguments", "engine", "system"), [
    (("--slack", "4"), 256 + 256 + 4 * 256, 256),
    (("--tier", "ultra", "--period", "128", "--slack", "8"), 128 + 128 + 8 * 128, 128),
])
def test_computed_is_measured_to_the_sample(tmp_path: Path, arguments: tuple[str, ...],
                                            engine: int, system: int) -> None:
    with jack_server():
        pass  # skips where there is none
    result = bench(*arguments, "--json", str(tmp_path / "r.json"))
    assert result.returncode == 0, result.stdout + result.stderr
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["engine_samples"] == engine
    assert report["system_samples"] == system
    assert set(report["measured_samples"]) == {engine + system}
    assert report["equal"]


def test_without_jackd_it_is_one_line(tmp_path: Path) -> None:
    environment = {key: os.environ[key] for key in ("JACK_DEFAULT_SERVER",) if key in os.environ}
    assert not environment
    result = bench(PATH=str(tmp_path))
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "jackd is not installed" in result.stderr
