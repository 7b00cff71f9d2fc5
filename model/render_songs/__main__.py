"""Command line of the renderer."""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import sys
import time
from pathlib import Path

from model.render_songs import CorpusError
from model.render_songs.jobs import open_corpus, render_one
from model.render_songs.sources import SPLITS


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m model.render_songs",
        description="Renders songs with separate stems from a sound corpus (docs/corpus.md).")
    parser.add_argument("--corpus", type=Path, required=True, help="folder of sound material")
    parser.add_argument("--out", type=Path, required=True, help="where the song folders go")
    parser.add_argument("--songs", type=int, default=8, help="how many (default 8)")
    parser.add_argument("--seconds", type=float, default=30.0, help="length of each (default 30)")
    parser.add_argument("--seed", type=int, default=0, help="of the first song; then seed+1, ...")
    parser.add_argument("--split", choices=SPLITS, default="train",
                        help="valid and test use held-out voices, kits and instruments only")
    parser.add_argument("--jobs", type=int, default=1, help="processes (default 1)")
    options = parser.parse_args(argv)
    for name, least in (("songs", 1), ("seconds", 4), ("seed", 0), ("jobs", 1)):
        if getattr(options, name) < least:
            parser.error(f"--{name} {getattr(options, name)}: must be at least {least}")
    return options


def main(argv: list[str] | None = None) -> int:
    options = parse(argv)
    began = time.monotonic()
    seeds = range(options.seed, options.seed + options.songs)
    work = functools.partial(render_one, corpus=options.corpus, out=options.out,
                             seconds=options.seconds, split=options.split)
    try:
        open_corpus(options.corpus)
        options.out.mkdir(parents=True, exist_ok=True)
        if options.jobs == 1:
            for seed in seeds:
                print(work(seed), flush=True)
        else:
            # A fresh process per worker: the soundfont player must not be shared by a fork.
            with multiprocessing.get_context("spawn").Pool(options.jobs) as pool:
                for line in pool.imap_unordered(work, seeds):
                    print(line, flush=True)
    except (CorpusError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    spent = time.monotonic() - began
    print(f"{options.songs} songs of {options.seconds:g} s in {spent:.0f} s: "
          f"{options.songs * options.seconds / spent:.1f} times real time")
    return 0


if __name__ == "__main__":
    sys.exit(main())
