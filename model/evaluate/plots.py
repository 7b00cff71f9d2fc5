"""Pictures of an evaluation: how each stem scores over the songs, and what one song looks like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from model.evaluate.scores import Scores

EXCERPT_S = 10.0
N_FFT, HOP = 2048, 512
RANGE_DB = 80  # of a spectrogram, below the loudest value of the mixture


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
    """The mixture above, then target and estimate of every stem side by side."""
    mixture = spectrogram(example.mixture)
    top = float(mixture.max())
    seconds = example.mixture.shape[-1] / example.sample_rate
    rows = 1 + len(example.stems)
    figure = Figure(figsize=(10, 2.1 * rows), layout="constrained")
    grid = figure.subplots(rows, 2, sharex=True, sharey=True, squeeze=False)
    pictures = [("mixture", mixture), None]
    for stem, target, estimate in zip(example.stems, example.targets, example.estimates,
                                      strict=True):
        pictures += [(f"{stem}: target", spectrogram(target)),
                     (f"{stem}: estimate", spectrogram(estimate))]
    for axes, picture in zip(grid.flat, pictures, strict=True):
        if picture is None:
            axes.axis("off")
            continue
        name, values = picture
        draw_spectrogram(axes, name, values, top, example.sample_rate, seconds)
    figure.supxlabel("s")
    figure.supylabel("kHz")
    figure.suptitle(example.song, fontsize="medium")
    figure.savefig(path, dpi=110)


def draw_spectrogram(axes: Axes, title: str, values: np.ndarray, top: float, sample_rate: int,
                     seconds: float) -> None:
    """values as `spectrogram` gives them; `top`: the level in dB of the brightest colour."""
    axes.imshow(values, origin="lower", aspect="auto", vmin=top - RANGE_DB, vmax=top,
                cmap="magma", extent=(0, seconds, 0, sample_rate / 2000))
    axes.set_title(title, fontsize="small", loc="left")


def spectrogram(x: np.ndarray) -> np.ndarray:
    """[channels, samples] -> dB [bins, frames] of the channels' mean power."""
    missing = max(0, N_FFT - x.shape[-1])
    padded = np.pad(x, ((0, 0), (0, missing)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, N_FFT, -1)[:, ::HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(N_FFT))) ** 2
    return 10 * np.log10(power.mean(0).T + 1e-10)
