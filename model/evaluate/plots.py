"""Pictures of an evaluation: how each stem scores over the songs, and what one song looks like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from model.evaluate.scores import Scores

EXCERPT_S = 10.0
N_FFT, HOP = 4096, 512
RANGE_DB = 80  # of a spectrogram, below the loudest value of the mixture
LOWEST_HZ, ROWS = 30, 240  # of a spectrogram, whose frequencies are spaced as pitches are


@dataclass(frozen=True)
class Example:
    """A few seconds from the middle of a song. mixture [channels, samples]; targets, estimates
    [stems, channels, samples]."""

    song: str
    stems: Sequence[str]
    sample_rate: int
    mixture: np.ndarray
    targets: np.ndarray
    estimates: np.ndarray

    @classmethod
    def cut(cls, song: str, stems: Sequence[str], sample_rate: int, mixture: np.ndarray,
            targets: np.ndarray, estimates: np.ndarray) -> Example:
        size = int(EXCERPT_S * sample_rate)
        start = max(0, (mixture.shape[-1] - size) // 2)
        return cls(song, stems, sample_rate, *(
            x[..., start:start + size].copy() for x in (mixture, targets, estimates)))


def plot_stems(scores: Mapping[str, Scores], title: str, path: Path) -> None:
    """Per stem the uSDR and cSDR of every song, with their quartiles, and the best gain's."""
    stems = list(next(iter(scores.values())))
    figure = Figure(figsize=(1.5 + 1.6 * len(stems), 4), layout="constrained")
    axes = figure.subplots()
    for shift, key, name in ((-0.27, "usdr", "uSDR"), (0.0, "csdr", "cSDR"),
                             (0.27, "best_gain", "best constant gain")):
        colour = f"C{int(shift > 0) * 2 + int(shift == 0)}"
        columns = [np.array([song[stem][key] for song in scores.values()]) for stem in stems]
        columns = [column[np.isfinite(column)] for column in columns]
        places = np.arange(len(stems)) + shift
        axes.boxplot(columns, positions=places, widths=0.2, showfliers=False, manage_ticks=False,
                     boxprops={"color": colour}, medianprops={"color": colour},
                     whiskerprops={"color": colour}, capprops={"color": colour})
        for i, (place, column) in enumerate(zip(places, columns, strict=True)):
            axes.plot(np.full(len(column), place), column, ".", color=colour, alpha=0.5,
                      label=name if i == 0 else None)
    axes.set_xticks(range(len(stems)), stems)
    axes.set_ylabel("dB")
    axes.set_title(f"{title}, {len(scores)} songs", fontsize="medium")
    axes.grid(axis="y", alpha=0.3)
    axes.legend(fontsize="small")
    figure.savefig(path, dpi=120)


def plot_spectrograms(example: Example, path: Path) -> None:
    spectrograms(example).savefig(path, dpi=110)


def spectrograms(example: Example) -> Figure:
    """The mixture above, then target and estimate of every stem side by side."""
    rate, seconds = example.sample_rate, example.mixture.shape[-1] / example.sample_rate
    mixture = spectrogram(example.mixture, rate)
    top = float(mixture.max())
    figure = Figure(figsize=(10, 1 + 1.8 * (1 + len(example.stems))), layout="constrained")
    grid = figure.subplots(1 + len(example.stems), 2, sharex=True, sharey=True, squeeze=False)
    image = draw_spectrogram(grid[0, 0], "mixture", mixture, top, rate, seconds)
    grid[0, 1].axis("off")
    for row, stem, target, estimate in zip(grid[1:], example.stems, example.targets,
                                           example.estimates, strict=True):
        draw_spectrogram(row[0], f"{stem}: target", spectrogram(target, rate), top, rate, seconds)
        draw_spectrogram(row[1], f"{stem}: estimate", spectrogram(estimate, rate), top, rate,
                         seconds)
    figure.supxlabel("s", fontsize="medium")
    figure.supylabel("kHz", fontsize="medium")
    figure.suptitle(example.song, fontsize="medium")
    figure.colorbar(image, ax=grid, shrink=0.5, label="dB, relative to the mixture's loudest")
    return figure


def draw_spectrogram(axes: Axes, title: str, values: np.ndarray, top: float, sample_rate: int,
                     seconds: float) -> AxesImage:
    """values as `spectrogram` gives them; `top`: the level in dB of the brightest colour."""
    extent = (0, seconds, *np.log10([LOWEST_HZ, sample_rate / 2]))
    ticks = [hertz for hertz in (100, 1000, 10_000) if hertz < sample_rate / 2]
    axes.set_yticks(np.log10(ticks), [f"{hertz / 1000:g}" for hertz in ticks])
    axes.set_title(title, fontsize="small", loc="left")
    return axes.imshow(values - top, origin="lower", aspect="auto", vmin=-RANGE_DB, vmax=0,
                       cmap="magma", extent=extent)


def spectrogram(x: np.ndarray, rate: int) -> np.ndarray:
    """[channels, samples] -> dB [ROWS, frames] of the channels' mean power, in rows of equal width
    on a logarithmic scale from LOWEST_HZ to rate / 2."""
    missing = max(0, N_FFT - x.shape[-1])
    padded = np.pad(x, ((0, 0), (0, missing)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, N_FFT, -1)[:, ::HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(N_FFT))) ** 2
    below = np.cumsum(np.pad(power.mean(0).T, ((1, 0), (0, 0))), 0)  # [bins + 1, frames]
    # a row's mean, also where it is a part of a bin or reaches over many
    edges = np.geomspace(LOWEST_HZ, rate / 2, ROWS + 1) * N_FFT / rate + 0.5
    bins = np.minimum(edges.astype(int), len(below) - 2)
    at = below[bins] + (edges - bins)[:, None] * (below[bins + 1] - below[bins])
    return 10 * np.log10(np.diff(at, axis=0) / np.diff(edges)[:, None] + 1e-10)
