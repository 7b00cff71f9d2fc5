"""Where the songs of a dataset are: MUSDB18-HQ, MUSDB18, or any folder laid out like them.

Knows folders and the official split, and opens nothing; `tracks` opens what is found here.
"""

from __future__ import annotations

from pathlib import Path

from model.data.songs import DataError
from model.data.tracks import STEM_FILE, track_name

SUBSETS = ("train", "test")
SPLITS = ("train", "valid")
# The 14 of the 100 training songs that MUSDB18's authors set aside for validation.
VALIDATION = frozenset((
    "ANiMAL - Rockshow", "Actions - One Minute Smile", "Alexander Ross - Goodbye Bolero",
    "Clara Berry And Wooldog - Waltz For My Victims", "Fergessen - Nos Palpitants",
    "James May - On The Line", "Johnny Lokke - Promises & Lies", "Leaf - Summerghost",
    "Meaxic - Take A Step", "Patrick Talbot - A Reason To Leave", "Skelpolu - Human Mistakes",
    "Traffic Experiment - Sirens", "Triviul - Angelsaint", "Young Griffo - Pennies"))


def find_tracks(root: Path, subset: str | None = None, split: str | None = None) -> list[Path]:
    """Song folders and `.stem.mp4` files, sorted by name.

    subset: the folder `train` or `test` below `root`; a root that has neither holds the songs
    itself, as it does for None. split: `valid` keeps the 14 official validation songs, `train`
    the others. Raises DataError where a folder is missing or nothing is found.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; it should hold one folder per song")
    divided = subset is not None and any((root / name).is_dir() for name in SUBSETS)
    folder = root / subset if divided and subset else root
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    found = sorted(path for path in folder.iterdir() if not path.name.startswith(".")
                   and (path.is_dir() or path.name.endswith(STEM_FILE)))
    if not found:
        raise DataError(f"{folder}: no song in it; a song is a folder with a sound file per stem, "
                        f"or a {STEM_FILE} file")
    if split is not None:
        found = [path for path in found
                 if (track_name(path) in VALIDATION) == (split == "valid")]
        if not found:
            raise DataError(f"{folder}: no song of the {split} split in it")
    return found
