"""Trains the streaming network: python -m model.train [--config FILE] [key.sub=value ...]

A run has a folder, `train.run`:

    config.yaml            the resolved configuration
    train.log              one line per epoch
    metrics/, tb/          losses, learning rate, uSDR of the validation songs
    checkpoints/last.ckpt  everything a resume needs, written at the end of every epoch
    weights/               the averaged (EMA) weights of the last epoch, ready for model.checkpoint

The same command again resumes from `last.ckpt`: items depend on their index alone and an epoch
ends where a checkpoint is written, so a killed run gives the losses of an undisturbed one.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import torch
import yaml
from lightning.pytorch.callbacks import (
    Callback,
    EMAWeightAveraging,
    LearningRateMonitor,
    ModelCheckpoint,
    TQDMProgressBar,
)
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from torch.utils.data import DataLoader, Dataset

from model.checkpoint import (
    CheckpointError,
    Description,
    assign_matching,
    describe,
    read_weights,
    save,
)
from model.data import DataError, RandomMixes, Song, open_dataset
from model.network import BandSplitRNN
from model.task import SeparationTask
from rt.config import Config, ConfigError, NetworkSection, load_config

log = logging.getLogger("bandsplit.train")


class Songs(Dataset[torch.Tensor]):
    """Whole songs for validation: float32 [stems, channels, samples]."""

    def __init__(self, songs: list[Song], stems: tuple[str, ...]) -> None:
        self.songs = songs
        self.stems = stems

    def __len__(self) -> int:
        return len(self.songs)

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.stack([torch.from_numpy(self.songs[index].read(s)) for s in self.stems])


class MixData(lightning.LightningDataModule):
    """Training items follow the global step, so that a resumed run reads on where it stopped."""

    def __init__(self, config: Config, network: NetworkSection) -> None:
        super().__init__()
        self.config = config
        self.network = network
        self.samples = int(config.train.segment_s * network.sample_rate)
        songs = open_dataset(config.data, network.stems, network.sample_rate, self.samples)
        self.training, self.validation, self.notes = songs.training, songs.validation, songs.notes

    def train_dataloader(self) -> DataLoader[torch.Tensor]:
        assert self.trainer is not None
        train = self.config.train
        mixes = RandomMixes(
            self.training, self.network.stems, self.config.data,
            samples=self.samples, seed=train.seed,
            first=self.trainer.global_step * train.batch,
            items=train.steps_per_epoch * train.batch)
        return DataLoader(mixes, batch_size=train.batch, num_workers=self.config.data.workers)

    def val_dataloader(self) -> DataLoader[torch.Tensor]:
        return DataLoader(Songs(self.validation, self.network.stems), batch_size=1)


class WeightsFile(Callback):
    """Writes the averaged weights beside every checkpoint.

    It stands after EMAWeightAveraging in the list: that callback has put the average into the
    checkpoint's `state_dict` by the time this one sees it.
    """

    def __init__(self, folder: Path, describe_at: Callable[[int], Description]) -> None:
        self.folder = folder
        self.describe_at = describe_at  # of the number of steps so far

    def on_save_checkpoint(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule,
                           checkpoint: dict[str, Any]) -> None:
        weights = {key.removeprefix("network."): value
                   for key, value in checkpoint["state_dict"].items()
                   if key.startswith("network.")}
        save(self.folder, weights, self.describe_at(trainer.global_step))


class EpochLines(Callback):
    """One line per epoch in train.log: step, loss, validation scores, pace, time left."""

    def __init__(self) -> None:
        self.began = 0.0
        self.losses: list[float] = []

    def on_train_start(self, trainer: lightning.Trainer,
                       pl_module: lightning.LightningModule) -> None:
        # A resumed run goes on inside an epoch, whose start it does not announce again.
        self.began, self.losses = time.monotonic(), []

    def on_train_epoch_start(self, trainer: lightning.Trainer,
                             pl_module: lightning.LightningModule) -> None:
        self.began, self.losses = time.monotonic(), []

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule,
                           outputs: Any, batch: Any, batch_idx: int) -> None:
        self.losses.append(float(outputs["loss"]))

    def on_train_epoch_end(self, trainer: lightning.Trainer,
                           pl_module: lightning.LightningModule) -> None:
        pace = (time.monotonic() - self.began) / max(len(self.losses), 1)
        left = (int(trainer.max_steps) - trainer.global_step) * pace / 60
        scores = {key: round(float(value), 2) for key, value in trainer.callback_metrics.items()
                  if key.startswith("valid/usdr")}
        log.info("step %d  loss %.5f  %.2f s a step  %.0f min left  %s", trainer.global_step,
                 sum(self.losses) / max(len(self.losses), 1), pace, left, scores or "")


def train(config: Config) -> Path:
    """Runs or resumes the run of `config.train.run` and returns its folder.

    Raises ConfigError, DataError or CheckpointError before any training, where something given
    cannot be used.
    """
    options = config.train
    section = config.network[config.model.tier]
    data = MixData(config, section)
    lightning.seed_everything(options.seed, verbose=False)
    torch.set_num_threads(options.threads)
    network = BandSplitRNN(section)
    run = options.run
    _log_to(run / "train.log")
    for note in data.notes:
        log.warning("%s", note)
    last = run / "checkpoints" / "last.ckpt"
    if last.exists():
        _same_network(run, section)
        log.info("resuming %s", last)
    elif options.init is not None:
        kept = assign_matching(network, read_weights(options.init))
        log.info("starting from %s%s", options.init, f"; not in it: {', '.join(kept)}" * bool(kept))
    _write_config(run, config)
    earlier = "" if options.init is None else f", after {describe(options.init).trained_on}"

    def describe_at(steps: int) -> Description:
        return Description(section, (
            f"{config.data.description or 'songs'}: {steps} steps of {options.batch} segments of "
            f"{options.segment_s:g} s at hop {section.hop}{earlier}"))

    trainer = lightning.Trainer(
        accelerator=options.accelerator,
        devices=1,
        precision=options.precision,
        max_steps=options.max_steps,
        gradient_clip_val=options.clip,
        check_val_every_n_epoch=options.validate_every,
        num_sanity_val_steps=0,
        reload_dataloaders_every_n_epochs=1,
        default_root_dir=run,
        logger=[CSVLogger(run, name="metrics"), TensorBoardLogger(run, name="tb", version="")],
        log_every_n_steps=10,
        enable_model_summary=False,
        enable_progress_bar=sys.stderr.isatty(),
        callbacks=[
            EMAWeightAveraging(decay=options.ema),
            WeightsFile(run / "weights", describe_at),
            EpochLines(),
            LearningRateMonitor("step"),
            ModelCheckpoint(run / "checkpoints", filename="last", enable_version_counter=False,
                            save_on_train_epoch_end=True),
            *([TQDMProgressBar()] if sys.stderr.isatty() else []),
        ],
    )
    trainer.fit(SeparationTask(network, options), data,
                ckpt_path=str(last) if last.exists() else None, weights_only=True)
    return run


def _same_network(run: Path, section: NetworkSection) -> None:
    """Raises CheckpointError where the run's folder was begun with another network."""
    before = describe(run).network
    other = [key for key, value in section if getattr(before, key) != value]
    if other:
        raise CheckpointError(f"{run}: was begun with another network ({', '.join(other)} differ); "
                              "choose another train.run")


def _write_config(run: Path, config: Config) -> None:
    text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    (run / "config.yaml").write_text(text, encoding="utf-8")


def _log_to(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    log.setLevel(logging.INFO)
    log.propagate = False
    for handler in list(log.handlers):
        log.removeHandler(handler)
        handler.close()
    for handler in (logging.FileHandler(file, encoding="utf-8"), logging.StreamHandler()):
        handler.setFormatter(logging.Formatter("%(asctime)s  %(message)s", "%H:%M:%S"))
        log.addHandler(handler)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m model.train",
        description="Trains the streaming network of model.tier on the songs of data.root.")
    parser.add_argument("--config", type=Path, help="instead of config.yaml")
    parser.add_argument("settings", nargs="*", metavar="key.sub=value",
                        help="overrides, such as train.max_steps=2000 train.run=runs/live")
    options = parser.parse_args(argv)
    # Lightning advises more loader workers; on a small machine they would take the cores that
    # train, and data.workers says how many there are.
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    try:
        run = train(load_config(options.config, options.settings))
    except (ConfigError, DataError, CheckpointError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"weights: {run / 'weights'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
