"""The comparison as rows: on the screen, in a TSV file and as a picture."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from bench.peers.peers import Peer
from model.evaluate.scores import Scores

MEAN = "mean"


@dataclass(frozen=True)
class Row:
    """A peer and its figures; `scores` is empty where there is nothing trained to score."""

    peer: Peer
    cpu: float  # seconds per second of audio
    scores: Scores

    def values(self) -> dict[str, Any]:
        peer = self.peer
        found: dict[str, Any] = {
            "peer": peer.name, "latency_ms": round(peer.latency_ms, 2),
            "latency_samples": peer.window, "hop": peer.hop, "parameters": peer.parameters,
            "cpu_ms_per_s": round(1e3 * self.cpu, 1), "segments": peer.segments,
            "heard_s": peer.heard_s}
        for stem in (*peer.stems, MEAN):
            one = self.scores.get(stem, {})
            for key in ("usdr", "csdr", "best_gain"):
                value = one.get(key, math.nan)
                found[f"{key}_{stem}"] = None if math.isnan(value) else round(value, 3)
        return found | {"trained_on": peer.trained_on}


def text(rows: Sequence[Row]) -> str:
    stems = (*rows[0].peer.stems, MEAN)
    lines = [f"{'':18} {'latency':>8} {'weights':>8} {'CPU':>9} {'heard':>7}  uSDR "
             + "".join(f"{stem:>8}" for stem in stems) + "   cSDR"
             + "".join(f"{stem:>8}" for stem in stems),
             f"{'':18} {'ms':>8} {'M':>8} {'ms per s':>9} {'h':>7}  dB"]
    for row in rows:
        peer = row.peer
        heard = "-" if peer.heard_s is None else f"{peer.heard_s / 3600:.2f}"
        lines.append(
            f"{peer.name[:18]:18} {peer.latency_ms:8.1f} {peer.parameters / 1e6:8.2f} "
            f"{1e3 * row.cpu:9.1f} {heard:>7}       "
            + "".join(_cell(row.scores, stem, "usdr") for stem in stems) + "       "
            + "".join(_cell(row.scores, stem, "csdr") for stem in stems))
    if gain := next((row.scores for row in rows if row.scores), None):
        lines.append(f"{'best constant gain':18} {'':35}       "
                     + "".join(_cell(gain, stem, "best_gain") for stem in stems))
    lines += [f"{row.peer.name}: {row.peer.trained_on or 'not trained, so not scored'}"
              for row in rows]
    return "\n".join(lines)


def against(rows: Sequence[Row], other: Row) -> list[str]:
    """A line for each other row: what it does better or worse than `other`."""
    lines = []
    for row in rows:
        if row is other:
            continue
        better = ""
        if row.scores and other.scores:
            gained = row.scores[MEAN]["usdr"] - other.scores[MEAN]["usdr"]
            better = f"{gained:+.2f} dB mean uSDR, "
        lines.append(f"{row.peer.name} against {other.peer.name}: {better}"
                     f"{row.peer.window / other.peer.window:.2f} of its latency, "
                     f"{row.cpu / other.cpu:.2f} of its CPU time")
    return lines


def write(rows: Sequence[Row], folder: Path) -> list[Path]:
    """peers.tsv, peers.json and, where something is scored, peers.png. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    values = [row.values() for row in rows]
    tsv = "\n".join(["\t".join(values[0]),
                     *("\t".join("" if v is None else str(v) for v in row.values())
                       for row in values)]) + "\n"
    written = [_whole(folder / "peers.tsv", tsv),
               _whole(folder / "peers.json", json.dumps(values, indent=1) + "\n")]
    if any(row.scores for row in rows):
        partial = folder / ".peers.png.partial"
        _plot([row for row in rows if row.scores]).savefig(partial, dpi=110, format="png")
        os.replace(partial, folder / "peers.png")
        written.append(folder / "peers.png")
    return written


def _cell(scores: Scores, stem: str, key: str) -> str:
    value = scores.get(stem, {}).get(key, math.nan)
    return f"{'-':>8}" if math.isnan(value) else f"{value:8.2f}"


def _whole(path: Path, content: str) -> Path:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(content, encoding="utf-8")
    os.replace(partial, path)
    return path


def _plot(rows: Sequence[Row]) -> Figure:
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for i, row in enumerate(rows):
        x, y = row.peer.latency_ms, row.scores[MEAN]["usdr"]
        axes.scatter(x, y, s=2e3 * row.cpu, color=f"C{i}", alpha=0.6)
        axes.annotate(f"{row.peer.name}, {1e3 * row.cpu:.0f} ms", (x, y),
                      xytext=(0, 4 + math.sqrt(2e3 * row.cpu) / 2), ha="center", va="bottom",
                      textcoords="offset points", fontsize="small")
    gain = rows[0].scores[MEAN]["best_gain"]
    axes.axhline(gain, color="grey", linestyle=":")
    axes.annotate("best constant gain of the mixture", (0.99, gain), xytext=(0, 3), ha="right",
                  xycoords=("axes fraction", "data"), textcoords="offset points",
                  fontsize="small", color="grey")
    axes.set_xlim(0, 1.35 * max(row.peer.latency_ms for row in rows))
    axes.margins(y=0.35)
    axes.set_xlabel("latency, ms (synthesis window)")
    axes.set_ylabel("mean uSDR, dB")
    axes.set_title("quality against latency; area and ms: CPU time per second of audio",
                   fontsize="medium")
    axes.grid(alpha=0.3)
    return figure
