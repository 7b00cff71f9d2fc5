"""What is said before and after a performance: the banner, the summary and --stats. Pure.

Apart from the consoles because scripts and benches print the same figures without either.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from rt.status import EngineInfo, Snapshot, Times

LATE_SHARE_WORTH_A_HINT = 0.01
_STEPS = re.compile(r": \d+ steps\b")  # of training; before it stands what a model has heard


def dbfs(level: float) -> float:
    """Linear peak -> dB below full scale; -inf for silence."""
    return 20 * math.log10(level) if level > 0 else -math.inf


def rtf(info: EngineInfo, step_ms: float) -> float:
    """Real-time factor: a step's time over its deadline, hop / model rate."""
    return step_ms / (1e3 * info.spec.deadline_s)


def banner(info: EngineInfo, more: Sequence[tuple[str, str]] = ()) -> str:
    """Everything a player should know before the first note; `more` adds (label, text) rows."""
    spec = info.spec
    rate = f"{info.sample_rate} Hz"
    if info.sample_rate != spec.sample_rate:
        rate += f", resampled to the model's {spec.sample_rate} Hz"
    trained = f"trained on {_STEPS.split(spec.trained_on)[0]}" if spec.trained_on else "untrained"
    rows = [
        ("input", info.input),
        ("output", info.output),
        ("rate", f"{rate}; blocks of {info.block}, hops of {spec.hop}"),
        ("model", f"{info.model}, tier {spec.tier}, {trained}"),
        ("stems", ", ".join(spec.stems)),
        ("provider", f"{info.provider} ({info.provider_reason})"),
        ("priority", info.priority),
        *more,
    ]
    lines = ["Bandsplit Live", *(f"  {label:9} {text}" for label, text in rows if text)]
    lines += _budget(info)
    untrained = ["this model is untrained, its stems mean nothing: use a packaged tier, or train "
                 "one"] * (not spec.trained)
    lines += [f"  warning: {warning}" for warning in (*untrained, *info.warnings)]
    return "\n".join(lines)


def _budget(info: EngineInfo) -> list[str]:
    total = ("sum", sum(line.samples for line in info.latency))
    rows = [*((line.what, line.samples) for line in info.latency), total]
    width = max(len(what) for what, _ in rows)
    return [
        f"  {'latency' if i == 0 else '':9} {what:{width}} {samples:8.10g} samples "
        f"{1e3 * samples / info.sample_rate:7.2f} ms"
        for i, (what, samples) in enumerate(rows)
    ]


def summary(info: EngineInfo, snapshot: Snapshot) -> str:
    """The performance in a few lines, with what to turn where it did not go well."""
    step = snapshot.total_step_ms
    late = snapshot.late_hops / max(1, snapshot.hops)
    lines = [
        f"Played {snapshot.seconds:.1f} s at {info.latency_ms:.1f} ms latency: "
        f"{snapshot.hops} hops, {snapshot.late_hops} late ({100 * late:.2f} %), "
        f"{snapshot.underruns} underruns, {snapshot.overruns} overruns.",
        f"Step p50 {step.p50:.2f} ms, p99 {step.p99:.2f} ms, max {step.max:.2f} ms "
        f"of {1e3 * info.spec.deadline_s:.2f} ms: "
        f"RTF p50 {rtf(info, step.p50):.2f}, p99 {rtf(info, step.p99):.2f}.",
    ]
    if snapshot.respawns:
        times = "once" if snapshot.respawns == 1 else f"{snapshot.respawns} times"
        lines.append(f"The engine was restarted {times}.")
    if late > LATE_SHARE_WORTH_A_HINT:
        more_ms = 1e3 * info.spec.deadline_s
        lines.append(f"Late hops: engine.slack={info.slack + 1} gives the worker {more_ms:.1f} ms "
                     "more and adds as much latency; a smaller model costs none.")
    return "\n".join(lines)


def stats(info: EngineInfo, snapshot: Snapshot) -> dict[str, Any]:
    """For --stats, ready for JSON. Latency in samples of the stream, times over the whole
    performance; hop in samples of the model."""
    step = snapshot.total_step_ms
    return {
        "sample_rate": info.sample_rate,
        "hop": info.spec.hop,
        "latency_samples": info.latency_samples,
        "latency_ms": info.latency_ms,
        "provider": info.provider,
        "hops": snapshot.hops,
        "late_hops": snapshot.late_hops,
        "underruns": snapshot.underruns,
        "overruns": snapshot.overruns,
        "step_ms": {"p50": step.p50, "p99": step.p99, "max": step.max},
        "rtf": _rtf_of(info, step),
        "seconds": snapshot.seconds,
    }


def _rtf_of(info: EngineInfo, step: Times) -> dict[str, float]:
    return {"p50": rtf(info, step.p50), "p99": rtf(info, step.p99)}
