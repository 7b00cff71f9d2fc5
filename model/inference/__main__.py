"""Separates sound files: python -m model.inference -i IN -o OUT [-t TARGET] [-c CKPT] [-d DEVICE]
or, for an archive, --manifest FILE instead of -i, and --cluster for many processes or machines.

The command line.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from model.inference.jobs import Job, find_jobs, read_manifest, without_clashes
from model.inference.offline import OfflineError
from model.inference.packaged import best_for, table
from model.inference.result_table import ResultTable
from model.inference.separation import Result, Settings, run_here
from model.inference.stem_files import Encoding, StemFileError
from rt.session import SessionError

ATTEMPTS = 3
SUBTYPES = {"float": "FLOAT", "16": "PCM_16", "24": "PCM_24"}


def main(argv: list[str] | None = None) -> int:
    """0: all is done; 1: some of many files failed; 2: it cannot be done at all."""
    options = _parse(argv)
    single = options.manifest is None and options.input.is_file()
    try:
        jobs = find_jobs(options.input, options.output) if options.manifest is None else \
            read_manifest(options.manifest, options.output)
        table = None if single else ResultTable(options.output)
        counts = _report(_results(options, jobs), table)
    except (StemFileError, OfflineError) as error:
        return _fail(str(error))
    except SessionError as error:  # speaks of rt.live's options
        return _fail(str(error).replace("--provider", "-d").replace("--model", "-c"))
    except KeyboardInterrupt:
        print("interrupted: nothing is left half-written; the same command goes on from here",
              file=sys.stderr)
        return 130
    if single:
        return 2 if counts["failed"] else 0
    print(f"{counts['done']} separated, {counts['skipped']} skipped, {counts['failed']} failed")
    return 1 if counts["failed"] else 0


def _results(options: argparse.Namespace, jobs: Sequence[Job]) -> Generator[Result]:
    subtype = options.subtype or ("24" if options.flac else "float")
    encoding = Encoding("FLAC" if options.flac else "WAV", SUBTYPES[subtype])
    target = options.two_stems or options.target
    settings = Settings(
        options.checkpoint or best_for(target), options.device, options.threads, options.batch,
        options.step, target, options.two_stems is not None, encoding, options.rate,
        options.overwrite)
    jobs, clashing = without_clashes(jobs)
    if options.cluster is None:
        run = run_here(settings, jobs)
    else:
        try:
            from model.inference.cluster import run_on_ray
        except ModuleNotFoundError as error:
            raise OfflineError(f"--cluster needs {error.name}: pip install "
                               "'bandsplit-live[cluster]'") from error
        run = run_on_ray(settings, jobs, options.cluster, options.workers, options.attempts)
    with closing(run):
        yield from run
    for job, message in clashing:
        yield Result(job.source, "failed", message)


def _report(results: Generator[Result], table: ResultTable | None) -> Counter[str]:
    """Tells of every file as it is finished; how many are done, skipped and failed."""
    counts: Counter[str] = Counter()
    try:
        with closing(results):
            for result in results:
                counts[result.status] += 1
                if table is not None:
                    table.add(result)
                if result.status == "failed":
                    print(f"error: {result.line}", file=sys.stderr, flush=True)
                else:
                    print(result.line, flush=True)
    finally:
        if table is not None and counts:
            table.close()
    return counts


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = _parser()
    options = parser.parse_args(argv)
    if options.flac and options.subtype == "float":
        parser.error("--flac has no --subtype float: it holds 16 or 24 bits")
    if options.target and options.two_stems and options.target != options.two_stems:
        parser.error(f"--two-stems {options.two_stems} does not give -t {options.target}")
    if options.cluster is None and (options.workers or options.attempts):
        parser.error("--workers and --attempts are for --cluster")
    options.attempts = options.attempts or ATTEMPTS
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m model.inference",
                                     description="Separates sound files into stems.")
    add = parser.add_argument
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "-i", "--input", type=Path, metavar="IN",
        help="a sound file, or a folder whose sound files, at any depth, are all separated")
    source.add_argument(
        "--manifest", type=Path, metavar="FILE",
        help="a text file of one path a line; after a tab, where its stems go below OUT")
    add("-o", "--output", type=Path, required=True, metavar="OUT", help="folder for the stems")
    add("-c", "--checkpoint", metavar="CKPT",
        help="a packaged tier (--list), an .onnx file of python -m export, or a reference "
             "checkpoint (.pt or .ckpt with hparams.yaml beside it); default: the packaged tier "
             "that scores best at the target")
    add("--list", action=_List, nargs=0, help="show the packaged tiers and their scores")
    what = parser.add_argument_group("what is written")
    what.add_argument("-t", "--target", metavar="STEM", help="one stem instead of all")
    what.add_argument("--two-stems", metavar="STEM",
                      help="that stem and the accompaniment: the mixture minus the stem")
    what.add_argument("--rate", type=_rate, default="input", metavar="input|model|HZ",
                      help="sample rate of the stems (default: the input's)")
    what.add_argument("--subtype", choices=SUBTYPES,
                      help="float, or bits of an integer (default: float; 24 for FLAC)")
    what.add_argument("--flac", action="store_true", help="FLAC instead of WAV")
    what.add_argument("--overwrite", action="store_true",
                      help="separate again what is there already, instead of skipping it")
    how = parser.add_argument_group("how it is computed")
    how.add_argument("-d", "--device", choices=("auto", "cpu", "cuda"), default="auto")
    how.add_argument("--threads", type=_positive, metavar="N",
                     help="of the processor (default: 1; PyTorch's own choice for a reference)")
    how.add_argument("--batch", type=_positive, metavar="N",
                     help="reference: segments at once (default: 1 on the CPU, else as published)")
    how.add_argument("--step", type=_seconds, metavar="S",
                     help="reference: seconds between segments (default: as published, 0.54); "
                          "more is faster and averages less")
    where = parser.add_argument_group("where many files are computed (extra: cluster)")
    where.add_argument("--cluster", metavar="local|auto|HOST:PORT",
                       help="on Ray: started on this machine, or a cluster that runs already")
    where.add_argument("--workers", type=_positive, metavar="N",
                       help="at a time (default: one a processor; with -d cuda one a GPU)")
    where.add_argument("--attempts", type=_positive, metavar="N",
                       help=f"at a file whose worker dies (default {ATTEMPTS})")
    return parser


class _List(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        print(table())
        parser.exit()


def _rate(text: str) -> str | int:
    if text in ("input", "model"):
        return text
    if not text.isdigit() or not 1000 <= int(text) <= 384_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not input, model or 1000 to 384000 Hz")
    return int(text)


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 60:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds, at most 60")
    return value


def _fail(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
