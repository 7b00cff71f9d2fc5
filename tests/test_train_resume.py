"""Runs that end too early, by a kill, a Ctrl-C, a crash or on purpose, and go on; two processes."""

from __future__ import annotations

import csv
import io
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from model import train
from model.train.task import SeparationTask
from tests.train_fixture import data, settings

__all__ = ["data"]

COMMAND = [sys.executable, "-m", "model.train"]
# steps long enough for a kill to come in time
STEPS = {"train__max_steps": 12, "train__steps_per_epoch": 3, "train__segment_s": 0.2,
         "train__validate_every": 2}


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "weights" / "weights.safetensors")


def assert_same_weights(one: Path, other: Path, tolerance: float = 1e-6) -> None:
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    for key in first:
        torch.testing.assert_close(first[key], second[key], rtol=0, atol=tolerance, msg=key)


def losses(run: Path, version: int = 0) -> dict[tuple[str, int], float]:
    """(name, step) -> value, of everything in a start's curves but the learning rate."""
    with (run / "metrics" / f"version_{version}" / "metrics.csv").open() as file:
        return {(name, int(row["step"])): float(value) for row in csv.DictReader(file)
                for name, value in row.items()
                if value and name.startswith(("train/", "valid/"))}


def _step(run: Path) -> int:
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["global_step"]


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "whole"
    assert train.main(settings(data, run, **STEPS)) == 0
    return run


def test_a_line_of_the_log_has_the_scores_of_its_own_epoch(whole: Path):
    lines = [line for line in (whole / "train.log").read_text().splitlines() if "  step " in line]
    validated = {int(line.split()[3]): "usdr" in line for line in lines}
    assert validated == {3: False, 6: True, 9: False, 12: True}


@pytest.mark.timeout(600)
def test_a_killed_run_goes_on_as_if_nothing_had_been(data: Path, whole: Path, tmp_path: Path):
    run = tmp_path / "killed"
    arguments = settings(data, run, **STEPS)
    process = subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT)
    log = run / "train.log"
    until = time.monotonic() + 500
    while not log.exists() or "  step 3 " not in log.read_text():
        assert process.poll() is None, process.stdout and process.stdout.read().decode()
        assert time.monotonic() < until
        time.sleep(0.01)
    while _step(run) < 3:  # saved a moment after the line is written
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert "finished" not in log.read_text()

    assert train.main(arguments) == 0
    resumed = re.search(r"resuming .* at step (\d+)", log.read_text())
    assert resumed
    step = int(resumed[1])
    assert step in (3, 6, 9)
    expected = {key: value for key, value in losses(whole).items() if key[1] >= step}
    found = losses(run, version=1)
    assert len(expected) > 2 * (12 - step)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert found[key] == pytest.approx(value, abs=1e-5), key
    assert_same_weights(run, whole)
    best, same = (json.loads((path / "best" / "scores.json").read_text()) for path in (run, whole))
    assert best.keys() == same.keys()
    assert {path.name for path in (run / "best").glob("step-*")} == same.keys()
    assert log.read_text().count("finished at step 12") == 1


def test_ctrl_c_is_one_line_and_130(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                    capsys: pytest.CaptureFixture[str]):
    # a shell's background jobs are started deaf to it
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    training_step = SeparationTask.training_step

    def struck(self: SeparationTask, batch: torch.Tensor, index: int) -> torch.Tensor:
        if self.global_step == 3:
            signal.raise_signal(signal.SIGINT)
        return training_step(self, batch, index)

    monkeypatch.setattr(SeparationTask, "training_step", struck)
    try:
        assert train.main(settings(data, tmp_path / "run")) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    errors = capsys.readouterr().err.splitlines()
    assert errors[-1] == "interrupted; the same command goes on from step 2"
    assert not [line for line in errors if "Traceback" in line or "finished" in line]
    assert "interrupted" in (tmp_path / "run" / "train.log").read_text()


def test_a_crash_is_no_end_and_goes_on(data: Path, tmp_path: Path,
                                       monkeypatch: pytest.MonkeyPatch):
    """Even one in the first epoch leaves a checkpoint."""
    run = tmp_path / "run"
    training_step = SeparationTask.training_step

    def broken(self: SeparationTask, batch: torch.Tensor, index: int) -> torch.Tensor:
        if self.global_step == 1:
            raise RuntimeError("a cable fell out")
        return training_step(self, batch, index)

    monkeypatch.setattr(SeparationTask, "training_step", broken)
    with pytest.raises(RuntimeError, match="a cable fell out"):  # a traceback and exit code 1
        train.main(settings(data, run))
    text = (run / "train.log").read_text()
    assert "stopped by RuntimeError; the same command goes on from step 0" in text
    assert "a cable fell out" in text
    assert "finished" not in text
    monkeypatch.undo()
    assert train.main(settings(data, run)) == 0
    undisturbed = tmp_path / "undisturbed"
    assert train.main(settings(data, undisturbed)) == 0
    assert_same_weights(run, undisturbed)
    assert losses(run, version=1) == pytest.approx(losses(undisturbed), abs=1e-5)


def test_a_loss_that_is_no_number_ends_the_run_before_it_is_saved(
        data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]):
    training_step = SeparationTask.training_step

    def diverging(self: SeparationTask, batch: torch.Tensor, index: int) -> torch.Tensor:
        return training_step(self, batch, index) * (float("nan") if self.global_step == 2 else 1)

    monkeypatch.setattr(SeparationTask, "training_step", diverging)
    assert train.main(settings(data, tmp_path, train__log_every=50)) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: the loss became nan")
    assert error.endswith("the same command goes on from step 2")
    assert all(torch.isfinite(value).all() for value in weights(tmp_path).values())


def test_a_run_without_progress_stops_early_and_stays_stopped(
        data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    arguments = settings(data, tmp_path, train__max_steps=20, train__steps_per_epoch=1,
                         train__learning_rate=1e-30, train__patience=2, train__keep=1)
    for _ in range(2):
        assert train.main(arguments) == 0
        assert "stopped early at step 3" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "best").glob("step-*")] == ["step-0000001"]
    # with more patience it goes on
    assert train.main([*arguments, "train.patience=3"]) == 0
    assert "stopped early at step 4" in capsys.readouterr().err


def test_a_loader_process_reads_the_same(data: Path, tmp_path: Path):
    alone, helped = tmp_path / "alone", tmp_path / "helped"
    assert train.main(settings(data, alone)) == 0
    assert train.main(settings(data, helped, data__workers=1)) == 0
    assert_same_weights(alone, helped)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_sees_one_bar_with_pace_and_time_left(data: Path, tmp_path: Path,
                                                         monkeypatch: pytest.MonkeyPatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert train.main(settings(data, tmp_path)) == 0
    text = terminal.getvalue()
    assert re.search(r"step 4/4 \|.*left, \d+\.\d s of sound a second, loss 0\.\d{5}", text)
    assert "validating 2/2, step" in text
    assert "finished at step 4" in text  # above it


def test_the_last_epoch_is_validated_and_may_be_short(data: Path, tmp_path: Path):
    assert train.main(settings(data, tmp_path, train__max_steps=5, train__steps_per_epoch=3,
                               train__validate_every=100)) == 0
    curves = losses(tmp_path)
    assert [step for name, step in curves if name == "valid/loss"] == [4]
    assert [step for name, step in curves if name == "train/loss"] == [0, 1, 2, 3, 4]
    assert (tmp_path / "best" / "step-0000005" / "weights.safetensors").exists()


@pytest.mark.timeout(600)
def test_two_processes_train_what_one_would(data: Path, tmp_path: Path):
    """DDP over gloo: each reads its own half of what one process with twice the batch reads, so
    the weights are the same, and with them those of both processes."""
    pair, one = tmp_path / "pair", tmp_path / "one"
    steps = {"train__max_steps": 2, "train__steps_per_epoch": 1}
    done = subprocess.run(
        [*COMMAND, *settings(data, pair, **steps, train__devices=2, train__strategy="ddp",
                             train__batch=1)],
        capture_output=True, text=True, timeout=580, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("weights: ") == 1
    assert train.main(settings(data, one, **steps)) == 0
    assert_same_weights(pair, one, tolerance=1e-5)
    for key, value in losses(one).items():
        if key[0].startswith("valid/"):
            assert losses(pair)[key] == pytest.approx(value, abs=1e-4), key
    text = (pair / "train.log").read_text()
    assert text.count("finished at step 2") == 1
    assert "2 steps of 2 segments" in (pair / "weights" / "config.yaml").read_text()
