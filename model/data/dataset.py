"""The songs that a run trains on and validates with, opened from `data.root`.

Songs that cannot be used are left out by name; a run ends only where none is left. Apart from
`songs`, which opens one song and knows no folders around it, and from `musdb`, which knows folders
and opens nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from model.data.musdb import VALIDATION, find_tracks
from model.data.songs import DataError, Song, open_song
from model.data.tracks import STEM_FILE, track_name
from model.data.variations import Variations
from rt.config import ConfigError
from rt.sections import DataSection


@dataclass(frozen=True)
class Dataset:
    """`notes`: a line for every song that is left out, their count, and the silent stems."""

    training: list[Song]
    validation: list[Song]
    notes: list[str]


def open_dataset(data: DataSection, stems: Sequence[str], sample_rate: int,
                 segment: int, shortest: int = 1) -> Dataset:
    """Opens `data.root`/`data.train` and `data.root`/`data.valid`; where there is no such folder of
    validation songs, MUSDB18's official ones are taken out of the training songs.

    segment: samples in a training item; a training song must have enough for the fastest one.
    shortest: samples that a validation song must have.
    Raises ConfigError where `data.root` is not set, DataError where a folder is missing or has no
    song that can be used.
    """
    if data.root is None:
        raise ConfigError(f"data.root is not set: give the folder that holds {data.train}/ and "
                          f"{data.valid}/, or MUSDB18-HQ's own train/")
    train, valid = data.root / data.train, data.root / data.valid
    everything = find_tracks(train)
    if valid.is_dir():
        split = everything, find_tracks(valid)
    elif any(track_name(path) in VALIDATION for path in everything):
        split = find_tracks(train, split="train"), find_tracks(train, split="valid")
    else:
        raise DataError(f"{valid}: no such folder; it should hold songs to validate with, since "
                        f"none of MUSDB18's validation songs is in {train}")
    reach = Variations(data, stems, sample_rate).furthest(segment)
    training, skipped = _open(split[0], data, stems, sample_rate, reach, "one segment")
    validation, more = _open(split[1], data, stems, sample_rate, shortest, "the loss's window")
    skipped = [f"skipped: {problem}" for problem in (*skipped, *more)]
    songs = [*training, *validation]
    silent = [f"{stem} is silent throughout, and left out, in {len(names)} of {len(songs)} songs: "
              f"{', '.join(names)}" for stem in stems
              if (names := [song.name for song in songs if stem in song.silent])]
    count = [f"{len(skipped)} of {len(skipped) + len(songs)} songs are left out"] * bool(skipped)
    return Dataset(training, validation, [*skipped, *silent, *count])


def open_songs(folder: Path, data: DataSection, stems: Sequence[str], sample_rate: int,
               segment: int = 1) -> tuple[list[Song], list[str]]:
    """The songs of one folder that can be used, and what is wrong with the others.

    segment: samples that a song must have at least. Raises DataError where the folder is missing
    or has no song that can be used.
    """
    return _open(find_tracks(folder), data, stems, sample_rate, segment, "one segment")


def _open(paths: Sequence[Path], data: DataSection, stems: Sequence[str], sample_rate: int,
          shortest: int, what: str) -> tuple[list[Song], list[str]]:
    """The songs that can be used, and what is wrong with the others."""
    songs, problems = [], []
    for path in paths:
        try:
            if path.name.endswith(STEM_FILE):
                raise DataError(f"{path}: cannot be mapped; python -m model.prepare_dataset "
                                "--songs converts it")
            song = open_song(path, stems, data.stem_map, sample_rate)
            if song.samples < shortest:
                raise DataError(f"{path}: has {song.samples} samples, shorter than {what} "
                                f"({shortest})")
            songs.append(song)
        except DataError as error:
            problems.append(str(error))
    if not songs:
        raise DataError(f"{paths[0].parent}: none of its {len(paths)} songs can be used; the first "
                        f"one: {problems[0]}")
    return songs, problems
