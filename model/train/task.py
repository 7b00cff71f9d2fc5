"""What Lightning trains: the network, its loss, its optimiser and its validation scores."""

from __future__ import annotations

import math
from typing import Any

import lightning
import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from model.inference.offline import REST
from model.losses import RelativeRMSLoss, WaveAndSpectrumLoss
from model.metrics import usdr
from model.train.muon import Muon
from model.train.plan import Plan
from model.train.separators import BLOCK_S, ReferenceSeparator, StreamingSeparator
from rt.sections import TrainSection


class SeparationTask(lightning.LightningModule):
    """Batches are the songs' sources, float32 [B, sources, channels, samples]; the mixture is the
    sum of all of them, whichever stems the network gives."""

    def __init__(self, separator: StreamingSeparator | ReferenceSeparator, plan: Plan,
                 config: TrainSection) -> None:
        super().__init__()
        self.separator = separator
        self.plan = plan
        self.config = config
        self.loss = (RelativeRMSLoss() if config.loss == "rms" else WaveAndSpectrumLoss(
            config.loss_n_fft, config.loss_hop, config.loss_windows))
        # of the validation: sum and count of the loss, then of every stem's uSDR
        self._sums = torch.zeros(0)

    @property
    def network(self) -> nn.Module:
        return self.separator.network

    def training_step(self, batch: Tensor, _index: int) -> Tensor:
        mixture, targets = batch.sum(1), self.plan.targets(batch)
        heard = slice(self.separator.left_out, None)
        loss = self.loss(self.separator.segment(mixture), targets[..., heard], mixture[..., heard])
        self.log("train/loss", loss, batch_size=len(batch))
        return loss

    def configure_gradient_clipping(self, optimizer: Any, gradient_clip_val: Any = None,
                                    gradient_clip_algorithm: Any = None) -> None:
        norm = clip_grad_norm_(self.network.parameters(), self.config.clip)
        self.log("train/gradient_norm", norm)

    def on_validation_epoch_start(self) -> None:
        self._sums = torch.zeros(1 + len(self.plan.stems), 2, dtype=torch.float32,
                                 device=self.device)

    def validation_step(self, batch: Tensor, _index: int) -> dict[str, Tensor]:
        """One song, [1, sources, channels, samples]; what it gave is for callbacks to show."""
        mixture, targets = batch.sum(1), self.plan.targets(batch)
        estimate = self.separator.song(mixture).float()
        scores = [self._loss_of_song(estimate, targets, mixture)]
        scores += [usdr(target.cpu().numpy(), guess.cpu().numpy())
                   for target, guess in zip(targets[0], estimate[0], strict=True)]
        for row, score in zip(self._sums, scores, strict=True):
            if not math.isnan(score):  # a stem that the song lacks
                row += torch.tensor([score, 1.0], device=row.device)
        return {"mixture": mixture[0], "targets": targets[0], "estimates": estimate[0]}

    def on_validation_epoch_end(self) -> None:
        """Logs means over the songs of all processes: the loss, each stem's uSDR (dB), and the
        uSDR over the stems, the rest of the mixture left out."""
        total, count = self.trainer.strategy.reduce(self._sums, reduce_op="sum").unbind(-1)
        means = {name: float(value) for name, value, n in zip(
            ("valid/loss", *(f"valid/usdr_{stem}" for stem in self.plan.stems)),
            total / count.clamp(min=1), count, strict=True) if n > 0}
        named = [score for name, score in means.items()
                 if name not in ("valid/loss", f"valid/usdr_{REST}")]
        if named:
            means["valid/usdr"] = sum(named) / len(named)
        self.log_dict(means)

    def configure_optimizers(self) -> dict[str, Any]:  # type: ignore[override]
        config = self.config
        if config.optimizer == "muon":
            optimizer: Optimizer = Muon(self.network, config.learning_rate, config.weight_decay)
        else:
            optimizer = AdamW(self.network.parameters(), lr=config.learning_rate,
                              weight_decay=config.weight_decay)
        schedule = LambdaLR(optimizer, self._rate)
        return {"optimizer": optimizer,
                "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _loss_of_song(self, estimate: Tensor, targets: Tensor, mixture: Tensor) -> float:
        """In parts of about ten seconds, for the memory that a spectrum takes."""
        length = estimate.shape[-1]
        count = max(1, int(length / max(BLOCK_S * self.plan.sample_rate, self.loss.shortest)))
        parts = zip(*(x.tensor_split(count, -1) for x in (estimate, targets, mixture)), strict=True)
        return sum(float(self.loss(*part)) for part in parts) / count

    def _rate(self, step: int) -> float:
        """Share of the learning rate: linear warm-up, then a cosine down to `final_rate`."""
        config = self.config
        warm = min(1.0, (step + 1) / max(config.warmup, 1))
        done = min(1.0, step / config.max_steps)
        cosine = 0.5 * (1 + math.cos(math.pi * done))
        return warm * (config.final_rate + (1 - config.final_rate) * cosine)
