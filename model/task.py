"""What Lightning trains: the network, its loss, its optimiser and its validation score."""

from __future__ import annotations

import math
from typing import Any

import lightning
import numpy as np
import torch
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from model.losses import WaveAndSpectrumLoss
from model.metrics import usdr
from model.network import BandSplitRNN
from model.separate import separate
from model.stft import STFT
from rt.config import TrainSection


class SeparationTask(lightning.LightningModule):
    """Batches are targets, float32 [B, stems, channels, samples]; the mixture is their sum.

    Every segment starts from the network's zero state, as a stream does.
    """

    def __init__(self, network: BandSplitRNN, config: TrainSection) -> None:
        super().__init__()
        self.network = network
        self.config = config
        self.stft = STFT(network.spec())
        self.loss = WaveAndSpectrumLoss(config.loss_n_fft, config.loss_hop)

    def training_step(self, batch: torch.Tensor, _index: int) -> torch.Tensor:
        loss = self.loss(separate(self.network, self.stft, batch.sum(1)), batch)
        if not torch.isfinite(loss):
            raise FloatingPointError(f"the loss is {loss.item()} at step {self.global_step}")
        self.log("train/loss", loss, batch_size=len(batch))
        return loss

    def validation_step(self, batch: torch.Tensor, _index: int) -> None:
        """Logs the loss and each stem's uSDR (dB) over one song, [1, stems, channels, samples]."""
        estimate = separate(self.network, self.stft, batch.sum(1))
        self.log("valid/loss", self.loss(estimate, batch), batch_size=1)
        stems = self.network.config.stems
        scores = [usdr(target.cpu().numpy(), guess.float().cpu().numpy())
                  for target, guess in zip(batch[0], estimate[0], strict=True)]
        for stem, score in zip(stems, scores, strict=True):
            if not np.isnan(score):
                self.log(f"valid/usdr_{stem}", score, batch_size=1)
        if not np.all(np.isnan(scores)):
            self.log("valid/usdr", float(np.nanmean(scores)), batch_size=1)

    def configure_optimizers(self) -> dict[str, Any]:  # type: ignore[override]
        optimizer = AdamW(self.network.parameters(), lr=self.config.learning_rate,
                          weight_decay=self.config.weight_decay)
        schedule = LambdaLR(optimizer, self._rate)
        return {"optimizer": optimizer,
                "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _rate(self, step: int) -> float:
        """Share of the learning rate: linear warm-up, then a cosine down to `final_rate`."""
        config = self.config
        warm = min(1.0, (step + 1) / max(config.warmup, 1))
        done = min(1.0, step / config.max_steps)
        cosine = 0.5 * (1 + math.cos(math.pi * done))
        return warm * (config.final_rate + (1 - config.final_rate) * cosine)
