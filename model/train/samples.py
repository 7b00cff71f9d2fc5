"""What the network does to a few validation songs, to be heard and seen in TensorBoard."""

from __future__ import annotations

from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger

from model.evaluate.plots import Example, spectrograms
from model.train.plan import Plan


class Samples(Callback):
    """Mixture and targets once, estimates at every validation, each of the first songs' middle;
    sounds in mono, which is what TensorBoard plays."""

    def __init__(self, plan: Plan, names: list[str], songs: int) -> None:
        """names: of all validation songs; songs: how many are shown."""
        self.plan = plan
        self.names = names[:songs]
        self._given: set[str] = set()

    def on_validation_batch_end(self, trainer: lightning.Trainer,
                                pl_module: lightning.LightningModule, outputs: Any, batch: Any,
                                batch_idx: int, dataloader_idx: int = 0) -> None:
        number = batch_idx * trainer.world_size  # process 0 has every so many-th song
        board = next((logger for logger in trainer.loggers
                      if isinstance(logger, TensorBoardLogger)), None)
        if not trainer.is_global_zero or number >= len(self.names) or board is None:
            return
        name = self.names[number]
        example = Example.cut(name, self.plan.stems, self.plan.sample_rate, *(
            outputs[key].cpu().numpy() for key in ("mixture", "targets", "estimates")))
        sounds = {f"{name}/{stem}/estimate": estimate
                  for stem, estimate in zip(example.stems, example.estimates, strict=True)}
        if name not in self._given:
            self._given.add(name)
            sounds[f"{name}/mixture"] = example.mixture
            sounds |= {f"{name}/{stem}/target": target
                       for stem, target in zip(example.stems, example.targets, strict=True)}
        for tag, sound in sounds.items():
            board.experiment.add_audio(tag, _mono(sound), trainer.global_step,
                                       sample_rate=self.plan.sample_rate)
        board.experiment.add_figure(f"{name}/spectrograms", spectrograms(example),
                                    trainer.global_step)


def _mono(sound: np.ndarray) -> torch.Tensor:
    """[channels, samples] -> [1, samples], within full scale, where TensorBoard would clip."""
    mono = sound.mean(0, keepdims=True)
    return torch.from_numpy(mono / max(1.0, float(np.abs(mono).max())))
