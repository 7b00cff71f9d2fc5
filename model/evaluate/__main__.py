"""Scores a model on songs: python -m model.evaluate -d RUN_OR_CHECKPOINT [--data DIR]

uSDR and cSDR per stem (dB), absolute, beside what the best constant gain of the mixture reaches:
that is the score of not separating at all. And what muting a stem does: how far the stem goes down
and what happens to the rest. Every song is separated from the zero state, or with --continuous all
of them as one long stream. --streaming and --onnx score the live separator's own signal path.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from model.checkpoint import CONFIG, WEIGHTS, CheckpointError
from model.data import DataError
from model.data.musdb import SPLITS, find_tracks
from model.data.tracks import Track, is_silent, open_track
from model.evaluate.passes import Pass, open_pass
from model.evaluate.plots import Example, plot_spectrograms, plot_stems
from model.evaluate.results import ResultFiles
from model.evaluate.scores import (
    Scores,
    comparison_table,
    score_song,
    song_heading,
    song_row,
    summarise,
    summary_table,
)
from model.inference.offline import REST, OfflineError
from rt.config import Config, ConfigError, load_config
from rt.session import SessionError
from rt.spec import CHANNELS


def evaluate(checkpoint: Path, data: Path, continuous: bool = False, *,
             streaming: bool = False, device: str = "auto", threads: int = 1,
             split: str | None = None, config: Config | None = None,
             files: ResultFiles | None = None) -> dict[str, Any]:
    """What `results.json` holds; with `files`, it and the log and plots are written.

    checkpoint: a run's or checkpoint's folder, a step graph (.onnx), or a reference checkpoint.
    Raises CheckpointError, SessionError, OfflineError, DataError or OSError.
    """
    config = config or load_config()
    log = files.log if files else print
    way = open_pass(checkpoint, device, streaming, threads)
    tracks, skipped = _open_tracks(find_tracks(data, split=split), way, config)
    log(f"{checkpoint} ({way.kind}) on {data}: {len(tracks)} songs")
    log(song_heading(way.stems))
    scores: dict[str, Scores] = {}
    example: Example | None = None
    for stream in [tracks] if continuous else [[track] for track in tracks]:
        for name, part in _separated(way, stream, skipped):
            scores[name] = score_song(way.stems, *part, way.sample_rate)
            targets, estimates, mixture = part
            example = example or Example.cut(name, way.stems, way.sample_rate, mixture, targets,
                                             estimates)
            log(song_row(name, scores[name]))
    for reason in skipped:
        log(f"skipped: {reason}")
    if example is None:
        raise DataError(f"{data}: none of its songs can be used: {skipped[0]}")
    summary = summarise(list(scores.values()))
    log(summary_table(summary))
    log(f"{len(scores)} songs, {len(skipped)} skipped")
    results = {"checkpoint": str(checkpoint), "data": str(data), "pass": way.kind,
               "continuous": continuous, **way.sizes, "summary": summary, "songs": scores,
               "skipped": skipped}
    if files:
        files.write(results)
        plot_stems(scores, f"{checkpoint} on {data}", files.path("stems.png"))
        plot_spectrograms(example, files.path("spectrograms.png"))
    return results


Part = tuple[np.ndarray, np.ndarray, np.ndarray]  # targets, estimates, mixture of a song


def _open_tracks(paths: Sequence[Path], way: Pass, config: Config,
                 ) -> tuple[list[Track], list[str]]:
    """The songs that can be opened, and why the others cannot."""
    # a model of few stems still needs all of a song's for its mixture
    stems = dict.fromkeys(stem for stem in (*way.stems, *config.data.stems)
                          if stem != REST and (stem in way.stems or stem not in
                                               config.data.stem_map))
    tracks, skipped = [], []
    for path in paths:
        try:
            tracks.append(open_track(path, tuple(stems), config.data.stem_map, way.sample_rate))
        except DataError as error:
            skipped.append(str(error))
    return tracks, skipped


def _separated(way: Pass, tracks: Sequence[Track], skipped: list[str],
               ) -> Iterator[tuple[str, Part]]:
    """Songs separated one after the other as one stream, by name; what turns out to be broken or
    silent is added to `skipped`."""
    usable: list[tuple[Track, np.ndarray, np.ndarray]] = []
    for track in tracks:
        try:
            targets, mixture = _read(track, way.stems)
        except DataError as error:
            skipped.append(str(error))
            continue
        if is_silent(targets):
            skipped.append(f"{track.path}: is silent")
            continue
        usable.append((track, targets, mixture))
    if not usable:
        return
    estimates = way(np.concatenate([mixture for _, _, mixture in usable], -1))
    start = 0
    for track, targets, mixture in usable:
        stop = start + track.samples
        yield track.name, (targets, estimates[..., start:stop], mixture)
        start = stop


def _read(track: Track, stems: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Targets [stems, channels, samples] and mixture; the rest of the mixture is a target too
    where the model has a stem for it."""
    rest = sum((track.read(stem) for stem in sorted(track.sounds.keys() - set(stems))),
               np.zeros((CHANNELS, track.samples), np.float32))
    targets = np.stack([rest if stem == REST else track.read(stem) for stem in stems])
    return targets, targets.sum(0) + (0 if REST in stems else rest)


def find_checkpoints(path: Path) -> list[Path]:
    """Every checkpoint's folder below a run's; `path` itself where it has no more than one."""
    below = sorted({file.parent for file in path.rglob(WEIGHTS)}) if path.is_dir() else []
    return below if len(below) > 1 else [path]


def songs_of(run: Path) -> Path:
    """The test songs of the data that a run was trained on, or its validation songs where there
    are no others. Raises ConfigError."""
    file = run / CONFIG
    if (run / WEIGHTS).exists() or not file.exists():  # a checkpoint's folder, or no run's
        raise ConfigError(f"{run}: no run's folder, whose configuration would name its songs; "
                          "give them with --data")
    data = load_config(file).data
    if data.root is None:
        raise ConfigError(f"{file}: names no songs; give them with --data")
    test = data.root / data.test
    return test if test.is_dir() else data.root / data.valid


def _default_out(source: Path, run: Path | None) -> Path:
    """A folder's scores go into it; a file's beside it, or into the run's folder that it is of."""
    if source.is_dir():
        return source / "results.json"
    return (run if run and run.is_dir() else source.parent) / f"{source.stem}.json"


def main(argv: list[str] | None = None) -> int:
    parser = _parser()
    options = parser.parse_args(argv)
    run: Path | None = options.checkpoint
    onnx: Path | None = options.onnx
    if options.threads < 1:
        parser.error(f"--threads {options.threads}: must be at least 1")
    sources = [onnx] if onnx else find_checkpoints(run) if run else []
    if not sources:
        parser.error("give -d or --onnx")
    torch.set_num_threads(options.threads)
    try:
        if options.out and len(sources) > 1:
            raise CheckpointError(f"{run}: holds {len(sources)} checkpoints; name "
                                  "one of them, or leave out --out")
        config = load_config(options.config)
        data = options.data or songs_of(run or sources[0])
        summaries = {}
        for source in sources:
            files = ResultFiles(options.out or _default_out(source, run))
            results = evaluate(
                source, data, options.continuous, streaming=options.streaming,
                device=options.device, threads=options.threads, split=options.split,
                config=config, files=files)
            print(f"written to {files.json}")
            summaries[source] = results["summary"]
        if run and len(sources) > 1:
            ResultFiles(run / "results.json").log(comparison_table(
                {str(source.relative_to(run)): row for source, row in summaries.items()}))
    except (CheckpointError, ConfigError, DataError, OfflineError, SessionError,
            OSError) as error:
        # other programs' messages name their own options
        text = str(error).replace("--provider", "--device").replace("-d cpu", "--device cpu")
        print(f"error: {text}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m model.evaluate",
                                     description="Scores a model on a folder of songs.")
    add: Callable[..., Any] = parser.add_argument
    add("-d", "--checkpoint", type=Path, metavar="RUN_DIR",
        help="a run's folder (every checkpoint in it), a checkpoint's, or a reference checkpoint")
    add("--onnx", type=Path, metavar="FILE",
        help="score this step graph, as the live system runs it")
    add("--data", type=Path,
        help="songs: folders of WAV in the MUSDB18-HQ layout, or .stem.mp4 (default: the test "
             "songs of the run's own data, else its validation songs)")
    add("--split", choices=SPLITS, help="of MUSDB18's training songs, the official split")
    add("--streaming", action="store_true",
        help="hop by hop through the live separator instead of offline: slower, same scores")
    add("--continuous", action="store_true",
        help="all songs as one stream: does the network hold out for minutes?")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto")
    add("--threads", type=int, default=1, help="of the processor (default 1)")
    add("--out", type=Path, metavar="FILE",
        help="where scores go, log and plots beside it (RUN_DIR/results.json)")
    add("--config", type=Path, help="instead of config.yaml")
    return parser


if __name__ == "__main__":
    sys.exit(main())
