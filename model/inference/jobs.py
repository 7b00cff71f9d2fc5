"""Jobs: which files are to be separated, and what becomes of each.

Apart from the command line, which chooses the model, so that another one can run the same jobs.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from model.inference.offline import (
    OfflineError,
    OfflineSeparator,
    Outputs,
    length_at,
    separate_sound,
)
from model.inference.stem_files import Encoding, StemFiles
from model.sound import SUFFIXES, Sound, SoundError


@dataclass(frozen=True)
class Job:
    """One file, and the path its stems' names begin with."""

    source: Path
    base: Path

    def paths(self, names: Sequence[str], encoding: Encoding) -> list[Path]:
        return [self.base.with_name(f"{self.base.name}_{name}{encoding.suffix}")
                for name in names]


def find_jobs(source: Path, out: Path) -> list[Job]:
    """The file, or every sound file below the folder, whose tree is kept. Hidden files are left
    out, and so is `out` where it lies inside. Raises OfflineError."""
    if source.is_file():
        return [Job(source, out / source.stem)]
    if not source.is_dir():
        raise OfflineError(f"{source}: no such file or folder")
    if source.resolve() == out.resolve():
        raise OfflineError(f"{out}: is the input folder itself, and stems in it would be "
                           "separated again the next time; choose another")
    files = [path for path in sorted(source.rglob("*"))
             if path.suffix.lower() in SUFFIXES and path.is_file()
             and not any(part.startswith(".") for part in path.relative_to(source).parts)
             and not path.resolve().is_relative_to(out.resolve())]
    if not files:
        raise OfflineError(f"{source}: no sound file in it")
    return [Job(path, out / path.relative_to(source).with_suffix("")) for path in files]


class Run:
    """All jobs with one model; `failed`, `skipped` and `done` count files."""

    def __init__(self, separator: OfflineSeparator, outputs: Outputs, encoding: Encoding,
                 rate: str | int, overwrite: bool) -> None:
        """rate: input, model, or Hz."""
        self._separator, self._outputs, self._encoding = separator, outputs, encoding
        self._rate, self._overwrite = rate, overwrite
        self.done = self.skipped = self.failed = 0

    def run(self, jobs: Sequence[Job]) -> Iterator[tuple[str, bool]]:
        """One line about every file, and whether its stems are there now. A file that cannot be
        read is reported and the rest goes on. Raises StemFileError where the output cannot be
        written: the next one's could not either."""
        taken: dict[Path, Path] = {}
        for number, job in enumerate(jobs, 1):
            paths = job.paths(self._outputs.names, self._encoding)
            other = taken.setdefault(job.base, job.source)
            try:
                if other != job.source:
                    raise SoundError(f"{job.source}: its stems would have the names of those of "
                                     f"{other.name}; rename one")
                if not self._overwrite and all(path.is_file() for path in paths):
                    self.skipped += 1
                    yield f"{job.source}: separated before, skipped (--overwrite redoes it)", True
                    continue
                line = self._separate(job, paths, f"[{number}/{len(jobs)}] {job.source.name}")
                self.done += 1
                yield line, True
            except SoundError as error:
                self.failed += 1
                yield str(error), False

    def _separate(self, job: Job, paths: list[Path], label: str) -> str:
        began = time.monotonic()
        sound = Sound.open(job.source)
        model_rate = self._separator.sample_rate
        rates: dict[str | int, int] = {"input": sound.sample_rate, "model": model_rate}
        rate = int(rates.get(self._rate, self._rate))
        expected = None if sound.samples is None else \
            length_at(rate, sound.samples, sound.sample_rate)
        with StemFiles(paths, rate, sound.channels, self._encoding, expected) as files, \
                _bar(label, sound) as bar:

            def advance(samples: int) -> None:  # an announced length may be a little short
                ahead = math.inf if bar.total is None else bar.total - bar.n
                bar.update(min(samples / sound.sample_rate, ahead))

            written = 0
            for block in separate_sound(sound, self._outputs, model_rate, rate, advance):
                files.write(block)
                written += len(block)
        line = (f"{job.source}: {', '.join(self._outputs.names)} in {job.base.parent} "
                f"({written / rate:.1f} s of sound in {time.monotonic() - began:.1f} s)")
        if files.clipped:
            line += (f"; {files.clipped} values were over full scale and are clipped: "
                     "--subtype float keeps them")
        return line


def _bar(label: str, sound: Sound) -> tqdm:
    """Seconds of sound with the time left; it shows itself on a terminal only."""
    if sound.samples is None:
        return tqdm(desc=label, disable=None, leave=False,
                    bar_format="{desc} {n:.0f} s in {elapsed}")
    return tqdm(total=sound.samples / sound.sample_rate, desc=label, disable=None, leave=False,
                bar_format="{desc} {percentage:3.0f}% |{bar}| {elapsed}, {remaining} left")
