"""The files that an evaluation leaves behind: scores, a log and two plots, in one folder."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any


class ResultFiles:
    """`results.json`, `test.log`, `stems.png` and `spectrograms.png` in one folder; for another
    name than results.json the others carry its stem in front (`live.json`, `live.test.log`)."""

    def __init__(self, json_file: Path) -> None:
        """Raises OSError where the folder cannot be made."""
        self.json = json_file
        self.folder = json_file.parent
        self._prefix = "" if json_file.name == "results.json" else f"{json_file.stem}."
        self.folder.mkdir(parents=True, exist_ok=True)
        self._log_mode = "w"  # the first line begins the log anew

    def path(self, name: str) -> Path:
        return self.folder / f"{self._prefix}{name}"

    def log(self, line: str) -> None:
        """Prints a line and keeps it, so that an interrupted evaluation leaves what it found."""
        print(line, flush=True)
        with self.path("test.log").open(self._log_mode, encoding="utf-8") as file:
            print(line, file=file)
        self._log_mode = "a"

    def write(self, results: dict[str, Any]) -> None:
        partial = self.folder / f".{self.json.name}.part"
        text = json.dumps(finite(results), indent=1, ensure_ascii=False)
        partial.write_text(text + "\n", encoding="utf-8")
        os.replace(partial, self.json)


def finite(value: Any) -> Any:
    """JSON has no NaN: the score of a silent stem is null."""
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
