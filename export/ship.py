"""python -m export.ship TIER --data SONGS: puts a tier's step graphs into the package.

One command from a checkpoint to what `rt` runs: exports fp32 and int8, verified, scores both on
whole songs through the live separator, times both at the pace of a performance, and writes

    rt/models/TIER.onnx, TIER.int8.onnx
    rt/models/TIER.json     the figures, and which of the two the CPU runs by default
    scores.json             beside the checkpoint: all scores of that one (model.evaluate)

int8 becomes the CPU's default only where it costs no stem more than 0.2 dB of uSDR and a step
takes less CPU time.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

import numpy as np

from bench.latency import measure
from export.__main__ import main as export
from model.data import DataError
from model.evaluate.__main__ import evaluate
from model.evaluate.results import finite
from rt.session import PACKAGED, Session, SessionError

PRECISIONS = ("fp32", "int8")
LARGEST_LOSS_DB = 0.2
ROUNDS = 3
MODELS = Path(__file__).resolve().parent.parent / "model" / "pretrained"


def step_ms(graphs: dict[str, Path], seconds: float) -> dict[str, float]:
    """Median milliseconds of CPU time in a paced step on one thread; the graphs take turns, so that
    what disturbs one disturbs the other."""
    sessions = {name: Session(path, "cpu") for name, path in graphs.items()}
    steps: dict[str, list[np.ndarray]] = {name: [] for name in graphs}
    for _ in range(ROUNDS):
        for name, session in sessions.items():
            steps[name].append(measure(session, seconds / ROUNDS)["cpu"])
    return {name: float(np.median(np.concatenate(times))) for name, times in steps.items()}


def decide(usdr_db: dict[str, dict[str, float]], step: dict[str, float]) -> tuple[str, str]:
    """(precision, why): which graph the CPU runs by default."""
    fp32, int8 = (usdr_db[name] for name in PRECISIONS)
    loss, worst = max((fp32[stem] - int8[stem], stem) for stem in fp32)
    quality = f"costs {worst} {loss:.2f} dB" if loss > 0 else "costs no stem anything"
    speed = f"a step takes {step['int8']:.2f} ms instead of {step['fp32']:.2f} ms"
    if loss > LARGEST_LOSS_DB:
        return "fp32", f"int8 {quality}, more than {LARGEST_LOSS_DB} dB"
    if step["int8"] >= step["fp32"]:
        return "fp32", f"int8 is not faster: {speed}"
    return "int8", f"int8 {quality} and {speed}"


def ship(tier: str, checkpoint: Path, data: Path, seconds: float, folder: Path) -> int:
    """Exit code of the export. Raises DataError, SessionError or OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".ship-") as made:
        graphs = {"fp32": Path(made) / f"{tier}.onnx", "int8": Path(made) / f"{tier}.int8.onnx"}
        if code := export(["-c", str(checkpoint), "-o", str(graphs["fp32"]), "--tier", tier,
                           "--int8"]):
            return code
        step = step_ms(graphs, seconds)
        results = {name: evaluate(graph, data) for name, graph in graphs.items()}
        usdr_db = {name: {stem: row["usdr"] for stem, row in result["summary"].items()}
                   for name, result in results.items()}
        cpu, why = decide(usdr_db, step)
        for name in PRECISIONS:
            print(f"{name}  step {step[name]:.2f} ms  uSDR "
                  + "  ".join(f"{stem} {value:.2f}" for stem, value in usdr_db[name].items()))
        print(f"the CPU runs {cpu}: {why}")
        note = {"cpu": cpu, "why": why, "songs": len(results[cpu]["songs"]),
                "usdr_db": _rounded(usdr_db), "step_ms": _rounded({"": step})[""]}
        text, table = Path(made) / f"{tier}.json", checkpoint / ".scores.json.partial"
        text.write_text(json.dumps(finite(note), indent=1) + "\n", encoding="utf-8")
        scored = results[cpu] | {"checkpoint": graphs[cpu].name}
        table.write_text(json.dumps(finite(scored), indent=1) + "\n", encoding="utf-8")
        for file in (*graphs.values(), text):
            os.replace(file, folder / file.name)
        os.replace(table, checkpoint / "scores.json")
    print(f"written to {folder}")
    return 0


def _rounded(values: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    return {name: {key: round(value, 3) for key, value in inner.items()}
            for name, inner in values.items()}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m export.ship", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("tier", help="name of the packaged model")
    add("--data", type=Path, required=True, metavar="SONGS",
        help="songs to score on: 16-bit WAV in the MUSDB18-HQ layout")
    add("-c", "--checkpoint", type=Path, help="folder (default: model/pretrained/TIER)")
    add("--seconds", type=float, default=12.0, help="of paced steps for each graph (default 12)")
    add("--out", type=Path, default=PACKAGED, help="instead of rt/models")
    args = parser.parse_args(argv)
    if not 0 < args.seconds <= 600:
        parser.error(f"--seconds {args.seconds:g}: between 0 and 600")
    try:
        return ship(args.tier, args.checkpoint or MODELS / args.tier, args.data, args.seconds,
                    args.out)
    except (DataError, SessionError) as error:
        print(f"export.ship: {error}", file=sys.stderr)
    except OSError as error:
        print(f"export.ship: {error.filename or args.out}: {error.strerror}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
