"""The best weights so far, and when to give up hoping for better ones."""

from __future__ import annotations

import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback

from model.train.weights import Keeper

log = logging.getLogger("bandsplit.train")
# score -> which sign makes the larger one the better one
SCORES = {"loss": -1, "usdr": 1}


class Bests(Callback):
    """Keeps the best weights by validation loss and the best by uSDR, and ends a run in which
    neither has improved for long.

    `best/step-NNNNNNN/` is a checkpoint's folder (one for both, where a step is among the best by
    both); `best/scores.json` says what each scored and which kept it. What has been found stands
    in `last.ckpt` too, so that a resumed run goes on with it.
    """

    def __init__(self, folder: Path, keeper: Keeper, keep: int, patience: int) -> None:
        """keep: by each of the two scores; patience: validations without an improvement, 0 for
        ever."""
        self.folder = folder
        self.keeper = keeper
        self.keep, self.patience = keep, patience
        self.scores: dict[str, dict[str, float]] = {}  # of the steps that are kept, by folder name
        self.best: dict[str, float] = {}
        self.waited = 0  # validations since the last improvement

    def on_train_start(self, trainer: lightning.Trainer,
                       pl_module: lightning.LightningModule) -> None:
        self._stop_if_patient(trainer)  # a run that had stopped is not begun again

    def on_validation_end(self, trainer: lightning.Trainer,
                          pl_module: lightning.LightningModule) -> None:
        found = {name: float(trainer.callback_metrics[f"valid/{name}"]) for name in SCORES
                 if f"valid/{name}" in trainer.callback_metrics}
        improved = {name for name, value in found.items()
                    if name not in self.best or SCORES[name] * (value - self.best[name]) > 0}
        self.best |= {name: found[name] for name in improved}
        self.waited = 0 if improved else self.waited + 1
        now = f"step-{trainer.global_step:07d}"
        self.scores[now] = found
        kept = self._kept()
        self.scores = {name: self.scores[name] for name in sorted(kept)}
        if now in kept:
            self.keeper.write(self.folder / now, trainer)
        if trainer.is_global_zero:
            self._tidy(kept)
        self._stop_if_patient(trainer)

    def state_dict(self) -> dict[str, Any]:
        return {"scores": self.scores, "best": self.best, "waited": self.waited}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.scores, self.best = state_dict["scores"], state_dict["best"]
        self.waited = state_dict["waited"]

    def _kept(self) -> dict[str, list[str]]:
        """The names worth keeping, and the scores for which they are."""
        kept: dict[str, list[str]] = {}
        for score, sign in SCORES.items():
            having = [name for name, found in self.scores.items() if score in found]
            having.sort(key=lambda name: (-sign * self.scores[name][score], name))
            for name in having[:self.keep]:
                kept.setdefault(name, []).append(score)
        return kept

    def _tidy(self, kept: dict[str, list[str]]) -> None:
        """Takes away what is no longer among the best, and what a killed run left behind."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for path in self.folder.glob("step-*"):
            if path.name not in kept:
                shutil.rmtree(path)
        text = json.dumps({name: {**self.scores[name], "best_by": by}
                           for name, by in sorted(kept.items())}, indent=1)
        partial = self.folder / ".scores.json.partial"
        partial.write_text(text + "\n", encoding="utf-8")
        os.replace(partial, self.folder / "scores.json")

    def _stop_if_patient(self, trainer: lightning.Trainer) -> None:
        if self.patience and self.waited >= self.patience:
            log.info("neither loss nor uSDR has improved for %d validations (train.patience): "
                     "stopped early at step %d", self.waited, trainer.global_step)
            trainer.should_stop = True
