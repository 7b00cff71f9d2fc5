"""The progress bar: one for the whole run, with what an epoch's bar would not tell."""

from __future__ import annotations

import sys
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback
from tqdm import tqdm

FORMAT = "{desc} {n_fmt}/{total_fmt} |{bar}| {elapsed}, {remaining} left{postfix}"


class Bar(Callback):
    """Steps of the run with the time left, seconds of sound per second, and the loss. On a
    terminal only; elsewhere train.log has a line per epoch."""

    def __init__(self, batch_s: float, every: int) -> None:
        """batch_s: seconds of sound in one process's batch; every: steps between readings of the
        loss, which wait for the device."""
        self.batch_s, self.every = batch_s, every
        self.bar: tqdm | None = None

    def on_train_start(self, trainer: lightning.Trainer,
                       pl_module: lightning.LightningModule) -> None:
        self.bar = tqdm(total=int(trainer.max_steps), initial=trainer.global_step, desc="step",
                        file=sys.stderr, bar_format=FORMAT, postfix="", dynamic_ncols=True,
                        disable=None if trainer.is_global_zero else True)

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule,
                           outputs: Any, batch: Any, batch_idx: int) -> None:
        if self.bar is None or self.bar.disable:
            return
        if trainer.global_step % self.every == 0:
            rate = (self.bar.format_dict["rate"] or 0.0) * trainer.world_size * self.batch_s
            self.bar.set_postfix_str(f"{rate:.1f} s of sound a second, "
                                     f"loss {float(outputs['loss']):.5f}", refresh=False)
        self.bar.update()

    def on_validation_batch_start(self, trainer: lightning.Trainer,
                                  pl_module: lightning.LightningModule, batch: Any,
                                  batch_idx: int, dataloader_idx: int = 0) -> None:
        if self.bar is not None:
            count = trainer.num_val_batches[0]
            self.bar.set_description_str(f"validating {batch_idx + 1}/{count}, step")

    def on_validation_end(self, trainer: lightning.Trainer,
                          pl_module: lightning.LightningModule) -> None:
        if self.bar is not None:
            self.bar.set_description_str("step")

    def on_train_end(self, trainer: lightning.Trainer,
                     pl_module: lightning.LightningModule) -> None:
        self._close()

    def on_exception(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule,
                     exception: BaseException) -> None:
        self._close()

    def _close(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None
