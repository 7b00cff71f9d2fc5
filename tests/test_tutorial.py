"""What newcomers are told to type works: the ten commands of docs/training.md, and the notebook."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import nbformat
import numpy as np
import pytest
import soundfile
from nbclient import NotebookClient

from export.__main__ import main as export
from model.evaluate.__main__ import main as evaluate
from model.inference.__main__ import main as inference
from model.prepare_dataset import main as prepare_dataset
from model.train import main as train
from rt.session import read_spec
from tests.conftest import SMALL
from tests.dataset_fixture import RATE, bursts, encode_stem_file
from tests.offline_fixture import STEMS, needs_ffmpeg

ROOT = Path(__file__).parent.parent
MAINS: dict[str, Callable[[list[str]], int]] = {
    "model.prepare_dataset": prepare_dataset, "model.train": train, "model.evaluate": evaluate,
    "export": export, "model.inference": inference}


def ten_commands() -> list[list[str]]:
    text = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    block = re.search(r"ten commands\n.*?```sh\n(.*?)```", text, re.S)
    assert block is not None
    lines = block[1].splitlines()
    assert [int(line.split()[1]) for line in lines[::2]] == list(range(1, 11))
    return [shlex.split(line) for line in lines[1::2]]


def quick() -> list[str]:
    """Settings that make a training of seconds; the command's own come first."""
    sizes = SMALL.model_dump(mode="json", exclude={"stems", "sample_rate", "mixer"})
    sizes |= {"synthesis": 256, "hop": 128}
    return [*(f"network.live.{key}={json.dumps(value)}" for key, value in sizes.items()),
            "train.max_steps=4", "train.steps_per_epoch=2", "train.batch=2",
            "train.segment_s=0.1", "train.prefix_s=0", "train.threads=1", "train.warmup=1"]


@pytest.mark.timeout(900)  # a dozen programs, one after the other
@needs_ffmpeg
def test_the_ten_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On songs of their own in the archive that the second command fetches."""
    monkeypatch.chdir(tmp_path)
    setup, fetch, *rest = ten_commands()
    assert setup[:3] == ["python3", "-m", "venv"]
    assert fetch[0] == "curl"
    songs = ("train/A - One", "train/Leaf - Summerghost", "test/B - Two")  # the second validates
    for k, name in enumerate(songs):
        stems = [bursts(7, 10 * k + i) for i in range(4)]
        encode_stem_file(tmp_path / "made" / f"{name}.stem.mp4", [np.sum(stems, 0), *stems])
    with zipfile.ZipFile(fetch[fetch.index("-o") + 1], "w") as archive:
        for file in (tmp_path / "made").rglob("*.mp4"):
            archive.write(file, file.relative_to(tmp_path / "made"))
    shutil.rmtree(tmp_path / "made")
    for command in rest:
        assert command[:2] == ["python", "-m"]
        module, arguments = command[2], command[3:]
        if module in MAINS:
            more = quick() if module == "model.train" else []
            assert MAINS[module]([*arguments, *more]) == 0, command
            continue
        more = ["-o", "null", "--headless", "--duration", "1", "--stats", "stats.json"] \
            if module == "rt.live" else []
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        subprocess.run([sys.executable, "-m", module, *arguments, *more], check=True, timeout=200,
                       env=environment, stdin=subprocess.DEVNULL)
    results = json.loads(Path("runs/first/weights/results.json").read_text())
    assert list(results["songs"]) == ["B - Two"]
    assert read_spec("first.onnx").tier == "first"
    for stem in STEMS:
        assert soundfile.info(f"stems/B - Two.stem_{stem}.wav").duration == pytest.approx(7, abs=.1)
    assert json.loads(Path("stats.json").read_text())["hops"] > 0


@pytest.mark.timeout(900)
def test_the_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a real kernel, real commands one after the other, from no song to the live program."""
    monkeypatch.setenv("TUTORIAL_STEPS", "20")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(ROOT / "docs" / "tutorial.ipynb", as_version=4)
    NotebookClient(notebook, timeout=800, kernel_name="python3",
                   resources={"metadata": {"path": str(tmp_path)}}).execute()
    made = tmp_path / "tutorial"
    assert "step 20" in (made / "run" / "train.log").read_text()
    results = json.loads((made / "run" / "weights" / "results.json").read_text())
    assert list(results["songs"]) == ["song 10", "song 11"]
    assert results["data"] == "tutorial/songs/test"
    assert results["summary"].keys() == {*STEMS, "mean"}
    assert read_spec(made / "mine.onnx").stems == STEMS
    song, rate = soundfile.read(made / "song.wav")
    assert rate == RATE
    stems = [soundfile.read(made / "stems" / f"song_{stem}.wav")[0] for stem in STEMS]
    np.testing.assert_allclose(np.sum(stems, 0), song, atol=1e-4)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    said = "".join(output.get("text", "") for output in outputs)
    for part in ("uSDR", "largest difference", "Played 3.0 s"):
        assert part in said
    pictures = [output for output in outputs if "image/jpeg" in output.get("data", {})]
    assert len(pictures) == 2


def test_the_notebook_is_shown_with_its_pictures_and_small() -> None:
    file = ROOT / "docs" / "tutorial.ipynb"
    notebook = nbformat.read(file, as_version=4)
    nbformat.validate(notebook)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert sum("image/jpeg" in output.get("data", {}) for output in outputs) == 2
    assert not any(output.output_type == "error" for output in outputs)
    assert file.stat().st_size < 400_000
