"""What a run writes down about itself: train.log, its configuration, the code it ran."""

from __future__ import annotations

import logging
import os
import platform
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import lightning
import torch
import yaml
from lightning.pytorch.callbacks import Callback
from tqdm import tqdm

from rt.config import Config

log = logging.getLogger("bandsplit.train")
PROJECT = Path(__file__).resolve().parents[2]


class Journal(Callback):
    """One line per epoch in train.log: step, loss, validation scores, pace, time left; and the
    watch over the loss, before an epoch's weights can be kept."""

    def __init__(self, batch_s: float, every: int) -> None:
        """batch_s: seconds of sound in one process's batch; every: steps between looks at the
        loss, which wait for the device."""
        self.batch_s, self.every = batch_s, every
        self.started, self.first = time.monotonic(), 0
        self._begin()

    def on_train_start(self, trainer: lightning.Trainer,
                       pl_module: lightning.LightningModule) -> None:
        self.started, self.first = time.monotonic(), trainer.global_step

    def on_train_epoch_start(self, trainer: lightning.Trainer,
                             pl_module: lightning.LightningModule) -> None:
        self._begin()

    def on_train_batch_start(self, trainer: lightning.Trainer,
                             pl_module: lightning.LightningModule, batch: Any,
                             batch_idx: int) -> None:
        if batch_idx == 0:  # Lightning (2.6) puts the curves of a resumed run a step too far right
            trainer.fit_loop.epoch_loop._batches_that_stepped = trainer.global_step

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule,
                           outputs: Any, batch: Any, batch_idx: int) -> None:
        self.total = self.total + outputs["loss"].detach()  # stays on the device: no waiting
        self.steps += 1
        self.ended = time.monotonic()
        if trainer.global_step % self.every == 0:
            self._check(trainer)

    def on_validation_end(self, trainer: lightning.Trainer,
                          pl_module: lightning.LightningModule) -> None:
        self.validated = True

    def on_train_epoch_end(self, trainer: lightning.Trainer,
                           pl_module: lightning.LightningModule) -> None:
        self._check(trainer)
        # Lightning keeps the scores of the last validation, which may be epochs ago
        found = trainer.callback_metrics if self.validated else {}
        pace = (self.ended - self.began) / self.steps  # without the validation
        done = max(trainer.global_step - self.first, 1)
        left = (int(trainer.max_steps) - trainer.global_step) / done * (
            time.monotonic() - self.started) / 60
        scores = {key.removeprefix("valid/"): round(float(value), 3 if "loss" not in key else 5)
                  for key, value in found.items() if key.startswith("valid/")}
        log.info("step %d  loss %.6f  %.2f s a step, %.1f s of sound a second  %.0f min left  %s",
                 trainer.global_step, float(self.total) / self.steps, pace,
                 self.batch_s * trainer.world_size / max(pace, 1e-9), left,
                 "  ".join(f"{key} {value}" for key, value in scores.items()))

    def _begin(self) -> None:
        self.began = self.ended = time.monotonic()
        self.steps = 0
        self.validated = False
        self.total = torch.zeros(())

    def _check(self, trainer: lightning.Trainer) -> None:
        """Raises FloatingPointError where a loss of this epoch was no number."""
        if not torch.isfinite(self.total):
            raise FloatingPointError(f"the loss became {float(self.total)} at or shortly before "
                                     f"step {trainer.global_step}: try a lower "
                                     "train.learning_rate, or train.precision=32-true")


class _AboveTheBar(logging.StreamHandler):
    """Lines on stderr that do not tear the progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record), file=sys.stderr)


def log_to(file: Path) -> None:
    """Sends the log to the file, which is continued, and to stderr."""
    file.parent.mkdir(parents=True, exist_ok=True)
    log.setLevel(logging.INFO)
    log.propagate = False
    close_log()
    for handler in (logging.FileHandler(file, encoding="utf-8"), _AboveTheBar()):
        handler.setFormatter(logging.Formatter("%(asctime)s  %(message)s", "%Y-%m-%d %H:%M:%S"))
        log.addHandler(handler)


def close_log(last_words: str = "", error: BaseException | None = None) -> None:
    """`last_words`, with the error's traceback, go to the file alone."""
    for handler in list(log.handlers):
        if last_words and isinstance(handler, logging.FileHandler):
            trace = (type(error), error, error.__traceback__) if error else None
            handler.handle(log.makeRecord(log.name, logging.ERROR, "", 0, last_words, (), trace))
        log.removeHandler(handler)
        handler.close()


def write_config(run: Path, config: Config) -> None:
    """`config.yaml`: every setting as it was resolved."""
    text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    partial = run / ".config.yaml.partial"
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, run / "config.yaml")


def code() -> str:
    """The code that runs, on one line: git revision (with -dirty where files differ from it), or
    the installed version where there is no repository, and what it runs on."""
    version = f"bandsplit-live {metadata.version('bandsplit-live')}"
    try:
        top = _git("rev-parse", "--show-toplevel")
        if Path(top).resolve() == PROJECT:
            changes = "-dirty" * bool(_git("status", "--porcelain", "--untracked-files=no"))
            version += f" at {_git('rev-parse', 'HEAD')}{changes}"
    except (OSError, subprocess.CalledProcessError):
        pass  # no git, or an installed package
    return (f"{version}, Python {platform.python_version()}, PyTorch {torch.__version__}, "
            f"Lightning {lightning.__version__}")


def _git(*arguments: str) -> str:
    return subprocess.run(["git", "-C", str(PROJECT), *arguments], check=True, text=True,
                          capture_output=True).stdout.strip()
