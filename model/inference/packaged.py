"""The checkpoints that ship: what each scores, and which one serves a target best.

Their scores are what `python -m model.evaluate` wrote when they were made, kept as it was beside
the weights (`model/pretrained/TIER/scores.json`); nothing here is typed in by hand.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from model.inference.offline import OfflineError

FOLDER = Path(__file__).parent.parent / "pretrained"
ALL = "mean"  # over the stems, as model.evaluate calls it


@dataclass(frozen=True)
class Scored:
    """How a tier does at one target; scores in dB."""

    tier: str
    target: str
    latency_ms: float  # of the live program with blocks as long as hops
    usdr: float
    best_gain: float
    csdr: float
    data: str


@cache
def packaged() -> tuple[Scored, ...]:
    """Every stem of every tier, and their mean."""
    found = []
    for file in sorted(FOLDER.glob("*/scores.json")):
        network = yaml.safe_load(file.with_name("config.yaml").read_text(encoding="utf-8"))
        latency_ms = 1e3 * network["network"]["synthesis"] / network["network"]["sample_rate"]
        summary = json.loads(file.read_text(encoding="utf-8"))["summary"]
        found += [Scored(file.parent.name, target, latency_ms, row["usdr"], row["best_gain"],
                         row["csdr"], network["trained_on"]) for target, row in summary.items()]
    return tuple(found)


def best_for(target: str | None) -> str:
    """The tier with the highest uSDR for a stem, or for all of them. Raises OfflineError where
    there is none."""
    rows = [row for row in packaged() if row.target == (target or ALL)]
    if not rows:
        have = dict.fromkeys(row.target for row in packaged() if row.target != ALL)
        raise OfflineError(f"no packaged checkpoint gives {target!r}: there is "
                           f"{', '.join(have)}; or name one with -c")
    return max(rows, key=lambda row: row.usdr).tier


def table() -> str:
    rows = [f"{'target':8} {'tier':6} {'latency':>8}  {'uSDR':>5} {'(best gain)':11} {'cSDR':>5}  "
            "trained on"]
    rows += [f"{row.target:8} {row.tier:6} {row.latency_ms:5.1f} ms  {row.usdr:5.2f} "
             f"{f'({row.best_gain:.2f})':11} {row.csdr:5.2f}  {row.data}"
             for row in sorted(packaged(), key=lambda row: (row.target == ALL, row.target))]
    return "\n".join(rows)
