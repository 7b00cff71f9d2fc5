"""What becomes of one file: its stems on disk and a Result.

Apart from the command line, so that a worker on another machine runs the same code.
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from model.inference.backend import open_model
from model.inference.jobs import Job
from model.inference.offline import OfflineSeparator, Outputs, length_at, separate_sound
from model.inference.stem_files import Encoding, StemFiles
from model.sound import Sound, SoundError


@dataclass(frozen=True)
class Settings:
    """All that the command line decides, as plain values that can travel. None leaves the choice
    to the model (`backend.open_model`)."""

    checkpoint: str
    device: str = "auto"
    threads: int | None = None
    batch: int | None = None
    step_s: float | None = None
    target: str | None = None
    rest: bool = False  # and the mixture minus the target
    encoding: Encoding = field(default_factory=Encoding)
    rate: str | int = "input"  # input, model, or Hz
    overwrite: bool = False


@dataclass(frozen=True)
class Result:
    """What became of one file, `line` being what the user is told."""

    source: Path
    status: str  # done, skipped or failed
    line: str
    sound_s: float | None = None
    compute_s: float | None = None
    attempts: int = 1


class Separation:
    """A model and what is to be written; call it with one job after the other, in one thread."""

    def __init__(self, separator: OfflineSeparator, outputs: Outputs, encoding: Encoding,
                 rate: str | int = "input", overwrite: bool = False) -> None:
        self.names = outputs.names
        self._separator, self._outputs, self._encoding = separator, outputs, encoding
        self._rate, self._overwrite = rate, overwrite

    @classmethod
    def open(cls, settings: Settings) -> Separation:
        """Raises OfflineError or SessionError."""
        separator = open_model(settings.checkpoint, settings.device, settings.threads,
                               settings.batch, settings.step_s)
        return cls(separator, Outputs(separator, settings.target, settings.rest),
                   settings.encoding, settings.rate, settings.overwrite)

    def __call__(self, job: Job, label: str | None = None) -> Result:
        """label: of a progress bar, None for no bar. A file that cannot be read is a failed
        Result. Raises StemFileError where the output cannot be written: the next one's could
        not either."""
        paths = job.paths(self.names, self._encoding)
        if not self._overwrite and all(path.is_file() for path in paths):
            return Result(job.source, "skipped",
                          f"{job.source}: separated before, skipped (--overwrite redoes it)")
        began = time.monotonic()
        try:
            sound_s, clipped = self._separate(Sound.open(job.source), paths, label)
        except SoundError as error:
            return Result(job.source, "failed", str(error), compute_s=time.monotonic() - began)
        compute_s = time.monotonic() - began
        line = (f"{job.source}: {', '.join(self.names)} in {job.base.parent} "
                f"({sound_s:.1f} s of sound in {compute_s:.1f} s)")
        if clipped:
            line += (f"; {clipped} values were over full scale and are clipped: "
                     "--subtype float keeps them")
        return Result(job.source, "done", line, sound_s, compute_s)

    def _separate(self, sound: Sound, paths: list[Path], label: str | None,
                  ) -> tuple[float, int]:
        """Seconds of sound that were written, and values that were clipped."""
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
        return written / rate, files.clipped


def run_here(settings: Settings, jobs: Sequence[Job]) -> Generator[Result]:
    """One file after the other in this process. Raises OfflineError, SessionError or
    StemFileError."""
    separation = Separation.open(settings)
    for number, job in enumerate(jobs, 1):
        yield separation(job, f"[{number}/{len(jobs)}] {job.source.name}")


def _bar(label: str | None, sound: Sound) -> tqdm:
    """Seconds of sound with the time left; it shows itself on a terminal only."""
    disable = True if label is None else None
    if sound.samples is None:
        return tqdm(desc=label, disable=disable, leave=False,
                    bar_format="{desc} {n:.0f} s in {elapsed}")
    return tqdm(total=sound.samples / sound.sample_rate, desc=label, disable=disable, leave=False,
                bar_format="{desc} {percentage:3.0f}% |{bar}| {elapsed}, {remaining} left")
