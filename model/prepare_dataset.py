"""Finds where each stem sounds: python -m model.prepare_dataset -i MUSDB_DIR -o OUT

Writes `{TARGET}_{SUBSET}.txt` (`valid` instead of the subset for the validation split): lines
`TRACK<tab>START<tab>END`, in samples at the song's rate, the end left out. With --songs it also
converts the tracks to the 16-bit WAV folders that model.train maps. Tracks are done in parallel;
an interrupted run goes on where it stopped, and only new or changed tracks are done again.
"""

from __future__ import annotations

import argparse
import multiprocessing
import shutil
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from pydantic import ValidationError
from tqdm import tqdm

from model.data import DataError
from model.data.activity import ActivitySettings, active_segments, list_name, write_list
from model.data.conversion import PARTIAL, write_song
from model.data.journal import Active, Journal, Stamp, stamp_of
from model.data.musdb import SPLITS, SUBSETS, find_tracks
from model.data.tracks import is_silent, open_track, track_name
from rt.config import Config, ConfigError, load_config
from rt.sections import first_problem


@dataclass(frozen=True)
class Plan:
    """What is done to every track."""

    stems: tuple[str, ...]
    stem_map: dict[str, str]
    sample_rate: int
    targets: tuple[str, ...]
    settings: ActivitySettings
    songs: Path | None


@dataclass
class Outcome:
    """What became of one track; `active` is None where it cannot be used."""

    track: str
    stamp: Stamp = (0, 0)
    active: Active | None = None
    problems: list[str] = field(default_factory=list)
    left_out: int = 0  # single stems


def prepare_track(path: Path, plan: Plan) -> Outcome:
    outcome = Outcome(track_name(path))
    try:
        outcome.stamp = stamp_of(path)
        track = open_track(path, plan.stems, plan.stem_map, plan.sample_rate)
        window = plan.settings.part(plan.sample_rate) * plan.settings.parts
        if track.samples < window:
            raise DataError(f"{path}: {track.samples} samples are shorter than one window "
                            f"({window})")
        active: Active = {}
        for target in plan.targets:
            if target in track.sounds:
                samples = track.read(target)
                if is_silent(samples):
                    outcome.problems.append(f"{path}: {target} is silent")
                    outcome.left_out += 1
                active[target] = active_segments(samples, plan.sample_rate, plan.settings)
        if plan.songs is not None and (clipped := write_song(track, plan.songs, plan.sample_rate)):
            outcome.problems.append(f"{path}: {clipped} values were over full scale and are "
                                    "clipped in its WAV files")
        outcome.active = active
    except (DataError, OSError) as error:
        outcome.problems.append(str(error))
    return outcome


def prepare(config: Config, source: Path, out: Path, *, subset: str = "train",
            split: str | None = None, settings: ActivitySettings | None = None,
            targets: Sequence[str] = (), songs: Path | None = None, jobs: int = 1) -> list[str]:
    """Writes the lists and returns lines about what was found.

    Raises DataError where no track can be used or none has a target that was asked for, OSError
    where the output cannot be written.
    """
    network = config.network[config.model.tier]
    settings = settings or ActivitySettings()
    for target in targets:
        if target not in network.stems:
            raise DataError(f"-t {target}: no such stem, there is {', '.join(network.stems)}")
    plan = Plan(network.stems, config.data.stem_map, network.sample_rate,
                tuple(dict.fromkeys(targets)) or network.stems, settings, songs)
    paths = find_tracks(source, subset, split)
    name = "valid" if split == "valid" else subset
    out.mkdir(parents=True, exist_ok=True)
    if songs is not None:
        songs.mkdir(parents=True, exist_ok=True)
    journal = Journal(out / f"activity_{name}.jsonl", {
        "sad": settings.model_dump(), "targets": sorted(plan.targets),
        "stem_map": plan.stem_map, "sample_rate": plan.sample_rate})

    found: dict[str, Active] = {}
    todo = []
    for path in paths:
        known = journal.get(track_name(path), stamp_of(path))
        converted = songs is None or (songs / track_name(path)).exists()
        if known is None or not converted:
            todo.append(path)
        else:
            found[track_name(path)] = known
    before, skipped, left_out = len(found), 0, 0
    with tqdm(total=len(paths), initial=before, unit="track", disable=None) as bar:
        for outcome in _run(todo, plan, jobs):
            for problem in outcome.problems:
                bar.write(f"skipped: {problem}" if outcome.active is None else f"note: {problem}",
                          file=sys.stderr)
            left_out += outcome.left_out
            if outcome.active is None:
                skipped += 1
            else:
                journal.add(outcome.track, outcome.stamp, outcome.active)
                found[outcome.track] = outcome.active
            bar.update()
    if songs is not None:
        shutil.rmtree(songs / PARTIAL, ignore_errors=True)
    if not found:
        raise DataError(f"{source}: none of its {len(paths)} tracks can be used")
    for target in plan.targets:
        if not any(target in active for active in found.values()):
            raise DataError(f"{source}: no track has the stem {target!r}")

    lines = []
    for target in plan.targets:
        segments = {track: active.get(target, []) for track, active in found.items()}
        file = out / list_name(target, name)
        write_list(file, segments)
        lines.append(f"{file}: {sum(map(len, segments.values()))} segments in "
                     f"{sum(map(bool, segments.values()))} of {len(found)} tracks")
    lines.append(f"{len(found)} tracks, {before} of them done before; met now: {skipped} tracks "
                 f"skipped, {left_out} silent stems")
    return lines


def _run(paths: Sequence[Path], plan: Plan, jobs: int) -> Iterator[Outcome]:
    """Outcomes as they come; every process has its own decoder, so memory grows with `jobs`."""
    if jobs == 1 or len(paths) < 2:
        for path in paths:
            yield prepare_track(path, plan)
        return
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(jobs, len(paths)), mp_context=spawn) as pool:
        futures = [pool.submit(prepare_track, path, plan) for path in paths]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool as error:
            raise DataError("a process ended before its track was done, perhaps for want of "
                            "memory: give fewer --jobs; finished tracks are kept") from error
        finally:
            pool.shutdown(cancel_futures=True)


def read_settings(path: Path) -> ActivitySettings:
    """Raises DataError."""
    try:
        return ActivitySettings.model_validate(
            yaml.safe_load(path.read_text(encoding="utf-8")) or {})
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not valid YAML") from error
    except ValidationError as error:
        raise DataError(f"{path}: {first_problem(error)}; there is "
                        f"{', '.join(ActivitySettings.model_fields)}") from error


def main(argv: list[str] | None = None) -> int:
    parser = _parser()
    options = parser.parse_intermixed_args(argv)
    if options.jobs < 1:
        parser.error(f"--jobs {options.jobs}: must be at least 1")
    if options.split and options.subset != "train":
        parser.error(f"--split {options.split}: only the train subset is split")
    try:
        config = load_config(options.config, options.settings)
        settings = read_settings(options.sad_cfg) if options.sad_cfg else None
        for line in prepare(config, options.input, options.output, subset=options.subset,
                            split=options.split, settings=settings, targets=options.target,
                            songs=options.songs, jobs=options.jobs):
            print(line)
    except (ConfigError, DataError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: the same command goes on from here", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m model.prepare_dataset",
                                     description="Finds where the stems of a dataset sound.")
    add = parser.add_argument
    add("-i", "--input", type=Path, required=True, metavar="MUSDB_DIR",
        help="MUSDB18-HQ, MUSDB18 (.stem.mp4) or songs in either layout")
    add("-o", "--output", type=Path, required=True, metavar="OUT", help="folder for the lists")
    add("--subset", choices=SUBSETS, default="train")
    add("--split", choices=SPLITS, help="the official 86/14 split of the train subset")
    add("--sad-cfg", type=Path, metavar="FILE",
        help="YAML with any of " + ", ".join(ActivitySettings.model_fields))
    add("-t", "--target", action="extend", nargs="+", default=[], metavar="TARGET",
        help="stems (default: all)")
    add("--songs", type=Path, metavar="DIR",
        help="also convert every track to 16-bit WAV here, as model.train needs it")
    add("--jobs", type=int, default=1, metavar="N", help="processes (default 1)")
    add("--config", type=Path, help="instead of config.yaml")
    add("settings", nargs="*", metavar="key.sub=value", help="overrides, such as data.stem_map={}")
    return parser


if __name__ == "__main__":
    sys.exit(main())
