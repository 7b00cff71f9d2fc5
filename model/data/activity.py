"""Source activity detection: in which windows of a track a stem really sounds.

Luo & Yu, arXiv 2209.15174, section 4.1.1. Pure arithmetic on arrays, and the text lists that keep
its result; `model.prepare_dataset` writes them and `mixes` reads them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field, PositiveInt

from model.data.songs import DataError
from rt.sections import Section

Segments = Sequence[tuple[int, int]]  # start and end in samples, the end left out


class ActivitySettings(Section):
    """The paper's numbers. A window is kept where more than `share` of its `parts` exceed the
    threshold: the `quantile` of the RMS of all parts of the track, but at least `floor`."""

    window_s: Annotated[float, Field(gt=0, le=600)] = 6.0
    overlap: Annotated[float, Field(ge=0, lt=1)] = 0.5  # of a window with the next
    parts: PositiveInt = 10
    quantile: Annotated[float, Field(ge=0, le=1)] = 0.15
    floor: Annotated[float, Field(gt=0, le=1)] = 1e-3  # linear, full scale is 1
    share: Annotated[float, Field(ge=0, lt=1)] = 0.5

    def part(self, sample_rate: int) -> int:
        """Samples in a part."""
        return max(1, round(self.window_s * sample_rate / self.parts))


def active_segments(samples: np.ndarray, sample_rate: int,
                    settings: ActivitySettings) -> list[tuple[int, int]]:
    """Windows of samples [channels, n] in which the stem sounds, overlapping as they were cut.

    A window reaches from start up to end (samples, the end left out); what is left after the last
    whole window belongs to none.
    """
    part = settings.part(sample_rate)
    window = part * settings.parts
    step = max(1, round(window * (1 - settings.overlap)))
    starts = np.arange(0, samples.shape[1] - window + 1, step)
    if len(starts) == 0:
        return []
    power = np.concatenate([[0], np.cumsum(np.square(samples, dtype=np.float64).mean(0))])
    borders = starts[:, None] + part * np.arange(settings.parts + 1)
    rms = np.sqrt(np.diff(power[borders]) / part)  # [windows, parts]
    threshold = max(float(np.quantile(rms, settings.quantile)), settings.floor)
    active = (rms > threshold).mean(1) > settings.share
    return [(int(start), int(start) + window) for start in starts[active]]


def list_name(target: str, subset: str) -> str:
    return f"{target}_{subset}.txt"


def write_list(path: Path, segments: Mapping[str, Segments]) -> None:
    """Writes `TRACK<tab>START<tab>END` lines; the file appears whole or not at all."""
    partial = path.with_name(f".{path.name}.part")
    with partial.open("w", encoding="utf-8") as file:
        for track, found in sorted(segments.items()):
            file.writelines(f"{track}\t{start}\t{end}\n" for start, end in found)
    os.replace(partial, path)


def read_list(path: Path) -> dict[str, list[tuple[int, int]]]:
    """What `write_list` wrote, by track. Raises DataError."""
    segments: dict[str, list[tuple[int, int]]] = {}
    try:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            try:
                track, start, end = line.split("\t")
                span = int(start), int(end)
            except ValueError:
                raise DataError(f"{path}: line {number} is not TRACK, START and END (samples), "
                                "with a tab between them") from None
            if not 0 <= span[0] < span[1]:
                raise DataError(f"{path}: line {number}: {span[0]} to {span[1]} is no segment")
            segments.setdefault(track, []).append(span)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error}); python -m model.prepare_dataset "
                        "writes it") from error
    return segments
