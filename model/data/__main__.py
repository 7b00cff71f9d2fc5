"""How fast training items load: python -m model.data --root DIR [--workers N,N] [key.sub=value]

Opens the songs as `model.train` does, names what it leaves out, and reads items for a while with
each number of loader processes. To keep a GPU busy, segments per second must exceed what the
network trains on.
"""

from __future__ import annotations

import argparse
import sys
import time
from itertools import count
from pathlib import Path

from torch.utils.data import DataLoader

from model.data import DataError, RandomMixes, open_dataset
from rt.config import Config, ConfigError, load_config


def paces(mixes: RandomMixes, batch: int, workers: int, seconds: float) -> tuple[float, float]:
    """Segments per second, and per second of this process's own CPU time; from the first batch on,
    since that one waits for the loader processes to start."""
    batches = iter(DataLoader(mixes, batch_size=batch, num_workers=workers))
    next(batches)
    began, cpu = time.monotonic(), time.process_time()
    for read in count(1):
        next(batches)
        if (passed := time.monotonic() - began) >= seconds:
            return read * batch / passed, read * batch / (time.process_time() - cpu)
    raise AssertionError


def measure(config: Config, workers: list[int], seconds: float) -> None:
    """Prints what was found and a line per number of workers. Raises ConfigError, DataError."""
    network, train = config.network[config.model.tier], config.train
    samples = int(train.segment_s * network.sample_rate)
    songs = open_dataset(config.data, network.stems, network.sample_rate, samples)
    for note in songs.notes:
        print(note, file=sys.stderr)
    print(f"{len(songs.training)} songs to train on, {len(songs.validation)} to validate with; "
          f"segments of {train.segment_s:g} s and {len(network.stems)} stems, {train.batch} a step")
    print("workers  segments/s  seconds of mixture/s  CPU ms/segment")
    for number in workers:
        mixes = RandomMixes(songs.training, network.stems, config.data, samples, train.seed,
                            first=0, items=sys.maxsize)
        pace, alone = paces(mixes, train.batch, number, seconds)
        cost = "" if number else f"{1000 / alone:16.1f}"  # where others read, it is not known here
        print(f"{number:7d}  {pace:10.1f}  {pace * train.segment_s:20.1f}{cost}", flush=True)


def worker_counts(text: str) -> list[int]:
    numbers = [int(part) for part in text.split(",")]
    if min(numbers) < 0:
        raise ValueError
    return numbers


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m model.data",
                                     description="Measures how fast training items load.")
    add = parser.add_argument
    add("--root", type=Path, metavar="DIR", help="songs; the same as data.root=DIR")
    add("--workers", type=worker_counts, default=[0, 1, 2], metavar="N,N",
        help="loader processes, measured one after the other (default 0,1,2)")
    add("--seconds", type=float, default=10.0, metavar="S", help="of each measurement")
    add("--config", type=Path, help="instead of config.yaml")
    add("settings", nargs="*", metavar="key.sub=value", help="overrides, such as data.stretched=1")
    options = parser.parse_intermixed_args(argv)
    try:
        config = load_config(options.config, options.settings, {"data.root": options.root})
        measure(config, options.workers, options.seconds)
    except (ConfigError, DataError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
