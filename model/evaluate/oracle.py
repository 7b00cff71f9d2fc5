"""python -m model.evaluate.oracle --data DIR: what masks that know the answer would score.

The bound that a tier's windows set, whatever the network; `network.live.synthesis=1024` and the
like ask for other windows.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from model.data import DataError
from model.data.musdb import find_tracks
from model.data.tracks import open_track
from model.evaluate.scores import (
    Scores,
    score_song,
    song_heading,
    song_row,
    summarise,
    summary_table,
)
from model.network import as_complex
from model.stft import STFT
from rt.config import ConfigError, load_config
from rt.sections import NetworkSection


@torch.no_grad()
def ideal_ratio(stft: STFT, targets: np.ndarray) -> np.ndarray:
    """The mixture under ideal ratio masks, |stem|^2 over the sum of all |stem|^2 in every bin, as
    estimates like targets, [stems, channels, samples].

    The bound of Wiener-like masks of real gains in this STFT pair (Vincent et al., "Oracle
    estimators for the benchmarking of source separation algorithms", 2007). A network of complex
    masks may pass it.
    """
    spectra = [as_complex(stft(torch.from_numpy(np.ascontiguousarray(target))[None]))
               for target in targets]
    power = torch.stack([z.abs().square() for z in spectra]).sum(0).clamp(min=1e-20)
    mixture = torch.stack(spectra).sum(0) / power
    return np.stack([stft.inverse(mixture * z.abs().square(), targets.shape[-1])[0].numpy()
                     for z in spectra])


def score(network: NetworkSection, stem_map: dict[str, str], data: Path) -> dict[str, Any]:
    """What model.evaluate.scores.summarise gives, printed song by song. Raises DataError."""
    stft, stems = STFT(network.stream_spec()), network.stems
    scores: dict[str, Scores] = {}
    print(song_heading(stems))
    for path in find_tracks(data):
        track = open_track(path, stems, stem_map, network.sample_rate)
        targets = np.stack([track.read(stem) for stem in stems])
        scores[track.name] = score_song(stems, targets, ideal_ratio(stft, targets), targets.sum(0),
                                        network.sample_rate)
        print(song_row(track.name, scores[track.name]))
    return summarise(list(scores.values()))


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m model.evaluate.oracle",
        description="Scores ideal ratio masks in a tier's windows on a folder of songs.")
    add: Callable[..., Any] = parser.add_argument
    add("--tier", default="live", help="a network of config.yaml (default live)")
    add("--data", type=Path, required=True, help="songs in the MUSDB18-HQ layout")
    add("--config", type=Path, help="instead of config.yaml")
    add("overrides", nargs="*", metavar="key.sub=value", help="settings of network and data")
    args = parser.parse_intermixed_args(argv)
    torch.set_num_threads(1)
    try:
        config = load_config(args.config, [f"model.tier={args.tier}", *args.overrides])
        if args.tier not in config.network:
            raise ConfigError(f"--tier {args.tier}: a streaming network is expected, "
                              f"{', '.join(config.network)}")
        summary = score(config.network[args.tier], config.data.stem_map, args.data)
    except (ConfigError, DataError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(summary_table(summary))
    return 0


if __name__ == "__main__":
    sys.exit(main())
