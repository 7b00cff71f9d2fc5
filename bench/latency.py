"""python -m bench.latency: what one step costs, paced at the hop rate as a live engine runs it.

Back to back a step is up to three times faster, because its caches stay warm, so that figure says
nothing about a performance; here every hop waits for its time to come.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import time
from pathlib import Path

import numpy as np

from rt.config import ConfigError, load_config
from rt.priority import raise_priority
from rt.separator import Separator
from rt.session import Session, SessionError, packaged_model
from rt.spec import CHANNELS

PARTS = ("analysis", "network", "synthesis")
ROWS = ("step", *PARTS, "cpu")


class Stopwatch:
    """A Masker that notes when the network's share of a step begins and ends."""

    def __init__(self, session: Session) -> None:
        self.spec = session.spec
        self._session = session
        self.began = self.ended = 0.0

    def step(self, spectrum: np.ndarray) -> np.ndarray:
        self.began = time.perf_counter()
        masks = self._session.step(spectrum)
        self.ended = time.perf_counter()
        return masks

    def reset(self) -> None:
        self._session.reset()


def measure(session: Session, seconds: float) -> dict[str, np.ndarray]:
    """Milliseconds of the whole step and its parts, one value per hop; `cpu` of them this thread
    computed, whatever else the machine did; `late` in ms past the deadline that the next hop sets
    (negative: in time)."""
    watch = Stopwatch(session)
    separator = Separator(watch)
    spec = session.spec
    hops = max(1, round(seconds / spec.deadline_s))
    rng = np.random.default_rng(0)
    noise = 0.1 * rng.standard_normal((64, spec.hop, CHANNELS)).astype(np.float32)
    times = np.zeros((hops, 4))
    due, computed = np.zeros(hops), np.zeros(hops)
    for k in range(64):  # compilation, caches, arenas
        separator.step(noise[k])
    gc.collect()
    gc.freeze()
    start = time.perf_counter() + spec.deadline_s
    for k in range(hops):
        due[k] = start + k * spec.deadline_s
        while (wait := due[k] - time.perf_counter()) > 0:
            time.sleep(wait)
        began, before = time.perf_counter(), time.thread_time()
        separator.step(noise[k % 64])
        times[k] = began, watch.began, watch.ended, time.perf_counter()
        computed[k] = time.thread_time() - before
    spent = 1e3 * np.diff(times, axis=1)
    return {"step": 1e3 * (times[:, 3] - times[:, 0]), "cpu": 1e3 * computed,
            **{part: spent[:, i] for i, part in enumerate(PARTS)},
            "late": 1e3 * (times[:, 3] - due - spec.deadline_s)}


def report(session: Session, threads: int, times: dict[str, np.ndarray]) -> dict[str, object]:
    deadline = 1e3 * session.spec.deadline_s
    rtf = np.percentile(times["step"] / deadline, [50, 99])
    return {
        "model": session.path.name, "tier": session.spec.tier, "hop": session.spec.hop,
        "deadline_ms": round(deadline, 4), "provider": session.provider, "threads": threads,
        "hops": len(times["step"]), "late_hops": int((times["late"] > 0).sum()),
        "rtf": {"p50": round(float(rtf[0]), 4), "p99": round(float(rtf[1]), 4)},
        **{f"{name}_ms": _quantiles(times[name]) for name in ROWS},
    }


def _quantiles(values: np.ndarray) -> dict[str, float]:
    p50, p99, p999 = np.percentile(values, [50, 99, 99.9])
    return {key: round(float(v), 4) for key, v in
            (("p50", p50), ("p99", p99), ("p999", p999), ("max", values.max()))}


def _print(result: dict, priority: str) -> None:
    print(f"{result['model']} (tier {result['tier']}): hop {result['hop']}, "
          f"deadline {result['deadline_ms']:.2f} ms, {result['provider']}, "
          f"{result['threads']} thread(s), {priority}")
    print(f"{'ms':>10} {'p50':>8} {'p99':>8} {'p99.9':>8} {'max':>8}")
    for name in ROWS:
        row = result[f"{name}_ms"]
        print(f"{name:>10} " + " ".join(f"{row[q]:8.3f}" for q in ("p50", "p99", "p999", "max")))
    print(f"RTF p50 {result['rtf']['p50']:.3f}, p99 {result['rtf']['p99']:.3f}; "
          f"{result['late_hops']} of {result['hops']} hops past the next one's start")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.latency", description=__doc__)
    parser.add_argument("--tier", help="packaged model: live or ultra")
    parser.add_argument("--model", type=Path, help="an .onnx file instead of a tier")
    parser.add_argument("--provider", help="auto, cpu, cuda, ...")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--json", type=Path, metavar="F", help="also write the result here")
    parser.add_argument("--config", type=Path)
    parser.add_argument("overrides", nargs="*", metavar="key.sub=value")
    args = parser.parse_intermixed_args(argv)
    if not 0 < args.seconds <= 3600:
        parser.error(f"--seconds {args.seconds}: between 0 and 3600")
    flags = {"model.tier": args.tier, "engine.provider": args.provider,
             "engine.threads": args.threads}
    try:
        config = load_config(args.config, args.overrides, flags)
        path = args.model or config.model.path or packaged_model(
            config.model.tier, config.model.precision, config.engine.provider)
        session = Session(path, config.engine.provider, config.engine.threads)
    except (ConfigError, SessionError) as error:
        print(f"bench.latency: {error}", file=sys.stderr)
        return 2
    granted = raise_priority() if config.engine.realtime else "normal priority"
    result = report(session, config.engine.threads, measure(session, args.seconds))
    _print(result, str(granted))
    if args.json:
        partial = args.json.with_name(f".{args.json.name}.partial")
        partial.write_text(json.dumps(result, indent=2) + "\n")
        os.replace(partial, args.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
