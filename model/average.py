"""python -m model.average A B ... -o OUT: one checkpoint out of several of the same network.

The mean of the weights, after Wortsman et al., "Model soups" (arXiv 2203.05482): checkpoints that
one run or fine-tuning leads to from another often lie in one basin, and their mean scores above
each. It need not: `model.evaluate` tells.
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


def average(folders: Sequence[Path], out: Path, trained_on: str | None = None) -> None:
    """Writes the mean of at least one checkpoint; trained_on: the line for people, by default
    those of all of them. Raises CheckpointError where their networks differ, or OSError."""
    network, first = load(folders[0]), describe(folders[0])
    weights = [read_weights(folder) for folder in folders]
    for folder, read in zip(folders, weights, strict=True):
        assign(network, read, folder)
        if describe(folder).network != first.network:
            raise CheckpointError(f"{folder}: is of another network than {folders[0]}")
    mean = {key: torch.stack([read[key] for read in weights]).mean(0) for key in weights[0]}
    save(out, mean, Description(first.network, trained_on or "the mean of: " + "; and ".join(
        describe(folder).trained_on for folder in folders)))


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m model.average",
                                     description="The mean of checkpoints of one network.")
    add = parser.add_argument
    add("checkpoints", type=Path, nargs="+", help="folders (model.checkpoint)")
    add("-o", "--out", type=Path, required=True, metavar="OUT", help="folder of the mean")
    add("--trained-on", metavar="TEXT", help="a line for people (default: that of each)")
    args = parser.parse_args(argv)
    try:
        average(args.checkpoints, args.out, args.trained_on)
    except (CheckpointError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"written to {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
