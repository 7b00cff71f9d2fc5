"""What `model.prepare_dataset` has finished, so that an interrupted run goes on where it stopped.

One JSON object per line: the settings first, then a track per line, appended as it is done. Apart
from the lists because those are sorted, hold no track without activity, and appear when all is
done.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

Stamp = tuple[int, int]  # of a track's files: bytes, newest modification in ns
Active = dict[str, list[tuple[int, int]]]  # target -> segments


def stamp_of(path: Path) -> Stamp:
    """Tells a track whose files were replaced from the one that was read. Raises OSError."""
    files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
    stats = [file.stat() for file in files]
    return sum(s.st_size for s in stats), max((s.st_mtime_ns for s in stats), default=0)


class Journal:
    """Belongs to one folder of lists and one subset; `settings` is what its results depend on."""

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        """Takes over what the file holds under the same settings and drops everything else, such
        as a last line that was cut short. Raises OSError."""
        self.path = path
        self._tracks: dict[str, tuple[Stamp, Active]] = {}
        lines = _objects(path)
        if lines and lines[0].get("settings") == settings:
            for line in lines[1:]:
                self._tracks[line["track"]] = _entry(line)
        partial = path.with_name(f"{path.name}.part")
        with partial.open("w", encoding="utf-8") as file:
            print(json.dumps({"settings": settings}), file=file)
            for track, (stamp, active) in self._tracks.items():
                print(_line(track, stamp, active), file=file)
        os.replace(partial, path)

    def get(self, track: str, stamp: Stamp) -> Active | None:
        """The activity of a track whose files are still the same."""
        known, active = self._tracks.get(track, (None, None))
        return active if known == stamp else None

    def add(self, track: str, stamp: Stamp, active: Active) -> None:
        self._tracks[track] = stamp, active
        with self.path.open("a", encoding="utf-8") as file:
            print(_line(track, stamp, active), file=file)


def _line(track: str, stamp: Stamp, active: Active) -> str:
    return json.dumps({"track": track, "stamp": stamp, "active": active})


def _entry(line: dict[str, Any]) -> tuple[Stamp, Active]:
    size, modified = line["stamp"]
    return (size, modified), {target: [(start, end) for start, end in segments]
                              for target, segments in line["active"].items()}


def _objects(path: Path) -> list[dict[str, Any]]:
    """The lines up to the first one that is not a whole object."""
    found: list[dict[str, Any]] = []
    if path.exists():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                found.append(json.loads(line))
            except json.JSONDecodeError:
                break
    return found
