"""The command line of training: messages and exit codes."""

from __future__ import annotations

import argparse
import logging
import sys
import warnings
from pathlib import Path

from lightning.fabric.utilities.warnings import PossibleUserWarning
from lightning.pytorch.utilities import rank_zero_only

from model.checkpoint import CheckpointError
from model.data import DataError
from model.train.run import Stopped, train
from rt.config import ConfigError, load_config


def main(argv: list[str] | None = None) -> int:
    """0: the run is at its end; 1: it stopped on the way; 2: it cannot be begun; 130: Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m model.train",
        description="Trains the network of model.tier (live, ultra, or the paper's: "
                    "model=reference) on the songs of data.root. The same command resumes.")
    parser.add_argument("--config", type=Path, help="instead of config.yaml")
    parser.add_argument("settings", nargs="*", metavar="key.sub=value",
                        help="overrides, such as train.max_steps=2000 train.target=bass")
    options = parser.parse_args(argv)
    # advice about workers, which on a small machine take the cores that train, and about curves
    warnings.filterwarnings("ignore", category=PossibleUserWarning)
    warnings.filterwarnings("ignore", message=".*exists and is not empty.*")  # a run that resumes
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")  # between Lightning and PyTorch
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    try:
        run = train(load_config(options.config, options.settings))
    except (ConfigError, DataError, CheckpointError) as error:
        return _fail(f"error: {error}", 2)
    except OSError as error:  # no permission, a full disk
        place = f"{error.filename}: " if error.filename else ""
        return _fail(f"error: {place}{error.strerror or error}", 2)
    except Stopped as error:
        return _fail(f"error: {error}", 1)
    except KeyboardInterrupt as error:
        return _fail(str(error) or "interrupted", 130)
    if rank_zero_only.rank == 0:
        print(f"weights: {run / 'weights'}")
    return 0


def _fail(message: str, code: int) -> int:
    if rank_zero_only.rank == 0:  # once, however many processes there are
        print(message, file=sys.stderr)
    return code
