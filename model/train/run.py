"""A run and its folder, `train.run`:

    config.yaml            the resolved configuration
    revision.txt           for every start: when, the command, the code's revision and versions
    train.log              one line per epoch
    metrics/, tb/          losses, gradient norm, learning rate, uSDR of the validation songs;
                           TensorBoard also has a few of them to hear and to see
    checkpoints/last.ckpt  everything a resume needs, written at the end of every epoch
    weights/               the averaged (EMA) weights of the last epoch, ready for model.checkpoint
    best/step-NNNNNNN/     those of the best steps; best/scores.json says what they scored

The same command again resumes from `last.ckpt`: items depend on their step alone and an epoch
ends where a checkpoint is written, so a killed run gives the losses of an undisturbed one.
"""

from __future__ import annotations

import shlex
import sys
import time
from pathlib import Path

import lightning
import torch
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from model.checkpoint import CheckpointError, Description, assign_matching, describe, read_weights
from model.reference.checkpoint import load_reference
from model.train.bar import Bar
from model.train.bests import Bests
from model.train.data import MixData
from model.train.journal import Journal, close_log, code, log, log_to, write_config
from model.train.plan import Plan, make_plan
from model.train.samples import Samples
from model.train.separators import build
from model.train.task import SeparationTask
from model.train.weights import (
    IDENTITY,
    Averages,
    Keeper,
    LastWeights,
    WholeFiles,
    last_checkpoint,
)
from rt.config import Config, ConfigError
from rt.reference import ReferenceSection


class Stopped(RuntimeError):
    """A run that ended before its end; the message says why and what goes on from where."""


def train(config: Config) -> Path:
    """Runs or resumes the run of `config.train.run` and returns its folder.

    Raises ConfigError, DataError, CheckpointError or OSError before any training, where something
    given cannot be used; Stopped where the loss is no number or the device's memory is short;
    KeyboardInterrupt with a message; and whatever else goes wrong as it is.
    """
    plan = make_plan(config)
    options = config.train.model_copy(update={"run": plan.run})
    config = config.model_copy(update={"train": options})
    lightning.seed_everything(options.seed, verbose=False)
    torch.set_num_threads(options.threads)
    task = SeparationTask(build(plan), plan, options)
    data = MixData(config, plan, task.loss.shortest)
    last = last_checkpoint(plan.run)
    resumed = _resumable(last, plan) if last.exists() else None
    if resumed is not None:
        begun = f"resuming {last} at step {resumed}"
    else:
        begun = "starting anew" if options.init is None else _start_from(options.init, task)
    trainer = _trainer(config, plan, data, resumed)
    if trainer.is_global_zero:
        _open_folder(config, plan, data, task)
        log.info(begun)
    if options.compile:
        task.network.compile()  # in place: the weights keep their names
    try:
        trainer.fit(task, data, ckpt_path=None if resumed is None else str(last),
                    weights_only=True)
    except (KeyboardInterrupt, SystemExit) as error:  # Lightning makes the one into the other
        if isinstance(error, SystemExit) and not isinstance(error.__context__, KeyboardInterrupt):
            raise
        message = f"interrupted; {_goes_on(last, plan)}"
        close_log(message)
        raise KeyboardInterrupt(message) from None
    except (FloatingPointError, torch.OutOfMemoryError) as error:
        why = (str(error) if isinstance(error, FloatingPointError)
               else "the device's memory is short: use a smaller train.batch")
        close_log(f"stopped: {why}; {_goes_on(last, plan)}")
        raise Stopped(f"{why}; {_goes_on(last, plan)}") from error
    except BaseException as error:
        close_log(f"stopped by {type(error).__name__}; {_goes_on(last, plan)}", error)
        raise
    log.info("finished at step %d: weights in %s, the best ones in %s", trainer.global_step,
             plan.run / "weights", plan.run / "best")
    close_log()
    return plan.run


def _trainer(config: Config, plan: Plan, data: MixData, resumed: int | None) -> lightning.Trainer:
    """Raises ConfigError where the devices are not there."""
    options, run = config.train, plan.run
    batch_s = options.batch * plan.segment / plan.sample_rate
    averages = Averages(decay=options.ema)
    keeper = Keeper(averages, lambda steps, processes: _describe(config, plan, steps, processes))
    callbacks = [  # in the order in which they act
        averages,
        ValidateAtTheEnd(),
        Journal(batch_s, options.log_every),
        LearningRateMonitor("step"),
        Samples(plan, [song.name for song in data.validation], options.samples),
        Bests(run / "best", keeper, options.keep, options.patience),
        Bar(batch_s, options.log_every),
        LastWeights(run / "weights", keeper, plan.identity()),
        ModelCheckpoint(last_checkpoint(run).parent, filename=last_checkpoint(run).stem,
                        enable_version_counter=False, save_on_train_epoch_end=True),
    ]
    devices = options.devices
    try:
        return lightning.Trainer(
            accelerator=options.accelerator,
            devices=list(devices) if isinstance(devices, tuple) else devices,
            num_nodes=options.num_nodes,
            strategy=options.strategy,
            precision=options.precision,
            max_steps=options.max_steps,
            check_val_every_n_epoch=options.validate_every,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,  # the data knows its processes itself
            reload_dataloaders_every_n_epochs=1,  # the last epoch may be shorter
            default_root_dir=run,
            # what a killed run wrote after its checkpoint is purged from the curves
            logger=[CSVLogger(run, name="metrics"),
                    TensorBoardLogger(run, name="tb", version="", purge_step=resumed)],
            log_every_n_steps=options.log_every,
            enable_model_summary=False,
            enable_progress_bar=False,  # ours is one bar for the whole run
            plugins=[WholeFiles()],
            callbacks=callbacks,
        )
    except Exception as error:  # Lightning raises many kinds for what a machine does not have
        first = str(error).strip().split("\n")[0]
        raise ConfigError(f"train.accelerator = {options.accelerator!r}, train.devices = "
                          f"{devices!r}: {first}") from error


class ValidateAtTheEnd(lightning.Callback):
    """The last epoch is validated whatever `validate_every` is."""

    def on_train_epoch_start(self, trainer: lightning.Trainer,
                             pl_module: lightning.LightningModule) -> None:
        if trainer.global_step + trainer.num_training_batches >= trainer.max_steps:
            trainer.check_val_every_n_epoch = 1


def _open_folder(config: Config, plan: Plan, data: MixData, task: SeparationTask) -> None:
    log_to(plan.run / "train.log")
    write_config(plan.run, config)
    command = shlex.join(["python", "-m", "model.train", *sys.argv[1:]])
    with (plan.run / "revision.txt").open("a", encoding="utf-8") as file:
        file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S %z')}  {code()}  {command}\n")
    log.info("%s: %s, %d parameters, on %d songs, %d to validate with; %s", config.model.tier,
             ", ".join(plan.stems), sum(p.numel() for p in task.network.parameters()),
             len(data.training), len(data.validation), plan.run)
    for note in data.notes:
        log.warning("%s", note)


def _start_from(init: Path, task: SeparationTask) -> str:
    """Copies what fits and returns a line about it. Raises CheckpointError."""
    weights = (read_weights(init) if init.is_dir() or not init.suffix
               else load_reference(init).network.state_dict())
    kept = assign_matching(task.network, weights)
    return f"starting from {init}" + f"; not in it: {', '.join(kept)}" * bool(kept)


def _describe(config: Config, plan: Plan, steps: int, processes: int) -> Description:
    options, network = config.train, plan.network
    hop = network.hop_length if isinstance(network, ReferenceSection) else network.hop
    earlier = ""
    if options.init is not None:
        earlier = ", after " + (describe(options.init).trained_on if options.init.is_dir()
                                else options.init.name)
    return Description(network, (
        f"{config.data.description or 'songs'}: {steps} steps of {options.batch * processes} "
        f"segments of {plan.segment / plan.sample_rate:.4g} s at hop {hop}{earlier}"), plan.target)


def _resumable(last: Path, plan: Plan) -> int:
    """The step at which the checkpoint was written. Raises CheckpointError where it cannot be
    read or is of another network."""
    try:
        content = torch.load(last, map_location="meta", weights_only=True)
        before, step = content[IDENTITY], int(content["global_step"])
    except Exception as error:  # broken bytes raise nearly anything
        raise CheckpointError(f"{last}: cannot be resumed from ({type(error).__name__}); take it "
                              "away to begin anew") from error
    now = plan.identity()
    other = [key for key in {**now, **before} if now.get(key) != before.get(key)]
    if other:
        raise CheckpointError(f"{plan.run}: was begun with another network ({', '.join(other)} "
                              "differ); choose another train.run")
    return step


def _goes_on(last: Path, plan: Plan) -> str:
    return (f"the same command goes on from step {_resumable(last, plan)}" if last.exists()
            else "nothing was trained yet")
