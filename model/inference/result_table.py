"""OUT/results.tsv: what became of every file, for people and for the program that comes next.

A row is added when a file is finished, and at the end the table is put in order, with one row a
file; so a run that is killed leaves what it knew, and the next one goes on from there.
"""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path
from typing import IO

from model.inference.offline import OfflineError
from model.inference.separation import Result
from model.inference.stem_files import PART, StemFileError

NAME = "results.tsv"
COLUMNS = ("file", "status", "sound_s", "compute_s", "attempts", "error")
Row = tuple[str, ...]


class ResultTable:
    """`file` is an absolute path, `status` is done, skipped (it was there already, and no row
    tells more) or failed; seconds of sound and of computing; attempts; `error` is one line."""

    def __init__(self, folder: Path) -> None:
        """Reads what an earlier run left and writes nothing. Raises OfflineError where a file
        of that name is something else."""
        self.path = folder / NAME
        self._rows = _read(self.path)
        self._begun = False

    def add(self, result: Result) -> None:
        """Raises StemFileError where it cannot be written."""
        key = str(result.source.absolute())
        if result.status == "skipped" and self._rows.get(key, ("", ""))[1] == "done":
            return  # it tells more
        row = (key, result.status, _seconds(result.sound_s), _seconds(result.compute_s),
               str(result.attempts), result.line if result.status == "failed" else "")
        self._rows[key] = row
        if not self._begun:
            self.close()  # what is there is whole and ends in a new line
            self._begun = True
            return
        try:
            with _open(self.path, "a") as file:
                file.write(_text([row]))
        except OSError as error:
            raise StemFileError(f"{self.path}: cannot be written ({error.strerror})") from error

    def close(self) -> None:
        """The whole table in order, in one stroke; nothing where there is no row. Raises
        StemFileError."""
        if not self._rows:
            return
        partial = self.path.with_name(NAME + PART)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            text = _text([COLUMNS, *(self._rows[key] for key in sorted(self._rows))])
            with _open(partial, "w") as file:
                file.write(text)
            os.replace(partial, self.path)
        except OSError as error:
            raise StemFileError(f"{self.path}: cannot be written ({error.strerror})") from error


def _open(path: Path, mode: str = "r") -> IO[str]:
    # the names of files can be any bytes
    return path.open(mode, newline="", encoding="utf-8", errors="surrogateescape")


def _read(path: Path) -> dict[str, Row]:
    try:
        with _open(path) as file:
            header, *rows = csv.reader(file, "excel-tab")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, csv.Error):
        header, rows = [], []
    if tuple(header) != COLUMNS:
        raise OfflineError(f"{path}: is not a table of results, which would be written there; "
                           "choose another folder")
    # the last row of a run that was killed may be short
    return {row[0]: tuple(row) for row in rows if len(row) == len(COLUMNS)}


def _text(rows: list[Row]) -> str:
    text = io.StringIO()
    csv.writer(text, "excel-tab", lineterminator="\n").writerows(rows)
    return text.getvalue()


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
