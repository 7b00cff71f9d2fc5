"""The averaged weights, which are the ones that are kept, and the run's `weights/` folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import Tensor

from model.checkpoint import Description, save
from model.train.task import SeparationTask

IDENTITY = "bandsplit_network"  # under which a `last.ckpt` says what it is of


class Averages(EMAWeightAveraging):
    """The exponential moving average; validation scores it."""

    def network_weights(self) -> dict[str, Tensor]:
        """The averaged network's tensors, by the names of the network."""
        assert self._average_model is not None
        task = self._average_model.module
        assert isinstance(task, SeparationTask)
        return task.network.state_dict()


class Keeper:
    """Writes the averaged weights into folders that model.checkpoint reads."""

    def __init__(self, averages: Averages, describe_at: Callable[[int, int], Description]) -> None:
        """describe_at: of the number of steps so far and of processes."""
        self._averages = averages
        self._describe_at = describe_at

    def write(self, folder: Path, trainer: lightning.Trainer) -> None:
        if trainer.is_global_zero:
            save(folder, self._averages.network_weights(),
                 self._describe_at(trainer.global_step, trainer.world_size))


class LastWeights(Callback):
    """`weights/`, written beside every `last.ckpt`; and a first `last.ckpt` before the first step,
    so that whatever happens there is one. It says which network it is of, too."""

    def __init__(self, folder: Path, keeper: Keeper, identity: dict[str, Any]) -> None:
        """identity: plain values."""
        self.folder = folder
        self.keeper = keeper
        self.identity = identity

    def on_train_start(self, trainer: lightning.Trainer,
                       pl_module: lightning.LightningModule) -> None:
        if trainer.global_step == 0:
            trainer.save_checkpoint(last_checkpoint(self.folder.parent))

    def on_save_checkpoint(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule,
                           checkpoint: dict[str, Any]) -> None:
        checkpoint[IDENTITY] = self.identity
        _begin_new_epoch(checkpoint["loops"]["fit_loop"])
        if trainer.global_step > 0:
            self.keeper.write(self.folder, trainer)


def _begin_new_epoch(loop: dict[str, Any]) -> None:
    """Makes the progress of an epoch that has ended that of one about to begin.

    As it is, Lightning (2.6) goes through the end of the epoch again after a resume, and where
    that epoch was not validated it takes one more step first: all later epochs would end, and be
    validated, at other steps than in an undisturbed run.
    """
    epochs = loop["epoch_progress"]["total"]["ready"]
    for counts in loop["epoch_progress"].values():
        counts.update(dict.fromkeys(counts, epochs))
    for name, progress in loop.items():
        if name.startswith("epoch_loop."):
            _forget_current(progress)


def _forget_current(progress: dict[str, Any]) -> None:
    for key, value in progress.items():
        if key == "current":
            value.update(dict.fromkeys(value, 0))
        elif key == "is_last_batch":
            progress[key] = False
        elif isinstance(value, dict):
            _forget_current(value)


def last_checkpoint(run: Path) -> Path:
    return run / "checkpoints" / "last.ckpt"


class WholeFiles(TorchCheckpointIO):
    """A checkpoint appears whole or not at all, wherever the run's folder is: Lightning's own
    writes through the system's temporary folder, and a move between disks can be cut short."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any,
                        storage_options: Any = None) -> None:
        whole = Path(path)
        partial = whole.with_name(f".{whole.name}.partial")
        super().save_checkpoint(checkpoint, partial, storage_options)
        os.replace(partial, whole)
