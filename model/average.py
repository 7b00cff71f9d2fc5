"""python -m model.average A B ... -o OUT: one checkpoint out of several of the same network.

The mean of the weights, after Wortsman et al., "Model soups" (arXiv 2203.05482): checkpoints that
one run or fine-tuning leads to from another often lie in one basin, and their mean scores above
each. It need not: `model.evaluate` tells.

`--forget X` shortens the memory of the recurrences across time: their update gates' biases are
lowered by X. A unit that keeps most of its state, sigmoid(a) of it at every hop, loses about
exp(-a) of it, so its time constant becomes exp(-X) of what it was. For a network that remembers a
little longer than tests/test_stream.py allows.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from model.checkpoint import (
    CheckpointError,
    Description,
    assign,
    describe,
    load,
    read_weights,
    save,
)


def average(folders: Sequence[Path], out: Path, trained_on: str | None = None,
            forget: float = 0.0) -> None:
    """Writes the mean of at least one checkpoint; trained_on: the line for people, by default
    those of all of them; forget: what update gates' biases lose. Raises CheckpointError where
    their networks differ, or OSError."""
    network, first = load(folders[0]), describe(folders[0])
    weights = [read_weights(folder) for folder in folders]
    for folder, read in zip(folders, weights, strict=True):
        assign(network, read, folder)
        if describe(folder).network != first.network:
            raise CheckpointError(f"{folder}: is of another network than {folders[0]}")
    mean = {key: torch.stack([read[key] for read in weights]).mean(0) for key in weights[0]}
    for layer in range(network.config.layers):
        hidden = network.config.hidden  # gates: reset, update, new
        mean[f"layers.{layer}.time.bias_ih_l0"][hidden:2 * hidden] -= forget
    save(out, mean, Description(first.network, trained_on or "the mean of " + "; and ".join(
        describe(folder).trained_on for folder in folders)))


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m model.average",
                                     description="The mean of checkpoints of one network.")
    add = parser.add_argument
    add("checkpoints", type=Path, nargs="+", help="folders (model.checkpoint)")
    add("-o", "--out", type=Path, required=True, metavar="OUT", help="folder of the mean")
    add("--forget", type=float, default=0.0, metavar="X",
        help="lower the update gates' biases: time constants become exp(-X) of theirs (default 0)")
    add("--trained-on", metavar="TEXT", help="a line for people (default: that of each)")
    args = parser.parse_args(argv)
    if not 0 <= args.forget < 10:
        parser.error(f"--forget {args.forget:g}: must be from 0 to less than 10")
    try:
        average(args.checkpoints, args.out, args.trained_on, args.forget)
    except (CheckpointError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"written to {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
