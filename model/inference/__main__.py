"""Separates sound files: python -m model.inference -i IN -o OUT [-t TARGET] [-c CKPT] [-d DEVICE]

The command line.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from model.inference.backend import open_model
from model.inference.jobs import Run, find_jobs
from model.inference.offline import OfflineError, Outputs
from model.inference.stem_files import Encoding, StemFileError
from rt.session import SessionError

SUBTYPES = {"float": "FLOAT", "16": "PCM_16", "24": "PCM_24"}


def main(argv: list[str] | None = None) -> int:
    """0: all is done; 1: some files of a folder failed; 2: it cannot be done at all."""
    parser = _parser()
    options = parser.parse_args(argv)
    if options.flac and options.subtype == "float":
        parser.error("--flac has no --subtype float: it holds 16 or 24 bits")
    if options.target and options.two_stems and options.target != options.two_stems:
        parser.error(f"--two-stems {options.two_stems} does not give -t {options.target}")
    subtype = options.subtype or ("24" if options.flac else "float")
    encoding = Encoding("FLAC" if options.flac else "WAV", SUBTYPES[subtype])
    try:
        jobs = find_jobs(options.input, options.output)
        separator = open_model(options.checkpoint, options.device, options.threads,
                               options.batch, options.step)
        outputs = Outputs(separator, options.two_stems or options.target,
                          options.two_stems is not None)
    except OfflineError as error:
        return _fail(str(error))
    except SessionError as error:  # speaks of rt.live's options
        return _fail(str(error).replace("--provider", "-d").replace("--model", "-c"))
    run = Run(separator, outputs, encoding, options.rate, options.overwrite)
    try:
        for line, good in run.run(jobs):
            if good:
                print(line, flush=True)
            else:
                print(f"error: {line}", file=sys.stderr, flush=True)
    except (StemFileError, OfflineError) as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        print("interrupted: nothing is left half-written; the same command goes on from here",
              file=sys.stderr)
        return 130
    if options.input.is_file():
        return 2 if run.failed else 0
    print(f"{run.done} separated, {run.skipped} skipped, {run.failed} failed")
    return 1 if run.failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m model.inference",
                                     description="Separates sound files into stems.")
    add = parser.add_argument
    add("-i", "--input", type=Path, required=True, metavar="IN",
        help="a sound file, or a folder whose sound files, at any depth, are all separated")
    add("-o", "--output", type=Path, required=True, metavar="OUT", help="folder for the stems")
    add("-c", "--checkpoint", default="live", metavar="CKPT",
        help="a packaged tier (live, ultra), an .onnx file of python -m export, or a reference "
             "checkpoint (.pt or .ckpt with hparams.yaml beside it); default live")
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
    return parser


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
