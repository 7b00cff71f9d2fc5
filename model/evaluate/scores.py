"""The scores of one song, their summary over songs, and the tables that show them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from model.metrics import best_gain_usdr, csdr, muting, usdr

# stem -> usdr, best_gain, csdr, attenuation and damage in dB (model.metrics), NaN where silent
Scores = dict[str, dict[str, float]]


def score_song(stems: Sequence[str], targets: np.ndarray, estimates: np.ndarray,
               mixture: np.ndarray, sample_rate: int) -> Scores:
    """targets, estimates [stems, channels, samples]; mixture [channels, samples]."""
    medians = csdr(targets, estimates, sample_rate)
    scores: Scores = {}
    for stem, target, estimate, median in zip(stems, targets, estimates, medians, strict=True):
        attenuation, damage = muting(target, estimate, mixture)
        scores[stem] = {
            "usdr": usdr(target, estimate), "best_gain": best_gain_usdr(target, mixture),
            "csdr": float(median), "attenuation": attenuation, "damage": damage}
    return scores


def summarise(scores: Sequence[Scores]) -> Scores:
    """Per stem, over the songs that have it: mean, standard deviation and median of uSDR, the
    same of cSDR (of which the median is the one to quote), means of the best constant gain and of
    what muting does; `mean` is the mean over stems."""
    summary: Scores = {}
    for stem in scores[0]:
        values = {key: _known([score[stem][key] for score in scores]) for key in scores[0][stem]}
        if songs := len(values["usdr"]):
            summary[stem] = {
                "usdr": _mean(values["usdr"]), "median": _median(values["usdr"]),
                "std": _std(values["usdr"]), "best_gain": _mean(values["best_gain"]),
                "csdr": _median(values["csdr"]), "csdr_mean": _mean(values["csdr"]),
                "csdr_std": _std(values["csdr"]), "attenuation": _mean(values["attenuation"]),
                "damage": _mean(values["damage"]), "songs": songs}
    if summary:
        keys = [key for key in next(iter(summary.values())) if key != "songs"]
        summary["mean"] = {key: _mean(_known([row[key] for row in summary.values()]))
                           for key in keys}
    return summary


def song_heading(stems: Sequence[str]) -> str:
    return f"{'uSDR cSDR (dB)':32}" + "".join(f"  {stem:>13}" for stem in stems)


def song_row(song: str, scores: Scores) -> str:
    cells = "".join(f"  {_number(one['usdr'])} {_number(one['csdr'])}" for one in scores.values())
    return f"{song[:32]:32}{cells}"


def summary_table(summary: Scores) -> str:
    rows = [f"{'stem':8} {'uSDR':>6} {'± std':>6} {'median':>6} {'best gain':>9}   {'cSDR':>6} "
            f"{'mean':>6} {'± std':>6}   {'muted by':>8} {'damage':>6}   (dB)"]
    rows += [f"{stem:8} {_number(row['usdr'])} {_number(row['std'])} {_number(row['median'])} "
             f"{_number(row['best_gain'], 9)}   {_number(row['csdr'])} "
             f"{_number(row['csdr_mean'])} {_number(row['csdr_std'])}   "
             f"{_number(row['attenuation'], 8)} {_number(row['damage'])}"
             for stem, row in summary.items()]
    return "\n".join(rows)


def comparison_table(summaries: Mapping[str, Scores]) -> str:
    """Checkpoints below each other, with the mean over stems and every stem."""
    stems = list(dict.fromkeys(stem for summary in summaries.values() for stem in summary))
    stems.sort(key=lambda stem: stem != "mean")
    none = {"usdr": math.nan, "csdr": math.nan}
    rows = [song_row(name[-32:], {stem: summary.get(stem, none) for stem in stems})
            for name, summary in summaries.items()]
    return "\n".join([song_heading(stems), *rows])


def _known(values: Sequence[float]) -> np.ndarray:
    array = np.array(values)
    return array[~np.isnan(array)]


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else math.nan


def _median(values: np.ndarray) -> float:
    return float(np.median(values)) if len(values) else math.nan


def _std(values: np.ndarray) -> float:
    return float(values.std()) if len(values) else math.nan


def _number(value: float, width: int = 6) -> str:
    return f"{'-':>{width}}" if math.isnan(value) else f"{value:{width}.2f}"
