"""Jobs: which files are to be separated, and under which names their stems are kept.

Apart from `separation`, which does a job, so that whoever hands jobs out needs no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from model.inference.offline import OfflineError
from model.inference.stem_files import Encoding
from model.sound import SUFFIXES


@dataclass(frozen=True)
class Job:
    """One file, and the path its stems' names begin with."""

    source: Path
    base: Path

    def paths(self, names: Sequence[str], encoding: Encoding) -> list[Path]:
        return [self.base.with_name(f"{self.base.name}_{name}{encoding.suffix}")
                for name in names]

    def absolute(self) -> Job:
        """The same for a process with another working directory."""
        return Job(self.source.absolute(), self.base.absolute())


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


def read_manifest(manifest: Path, out: Path) -> list[Job]:
    """A job for every line of a text file: `PATH`, or `PATH<tab>NAME`.

    A relative PATH is relative to the manifest's folder. NAME is where the stems go below `out`
    and what their names begin with (`album/song`); without one it is the path below the
    manifest's folder, or, for a file elsewhere, the whole path: neither changes when lines are
    added, so that a run can be taken up again. Empty lines and lines that begin with # are left
    out. Raises OfflineError naming the line.
    """
    try:
        lines = manifest.read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise OfflineError(f"{manifest}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise OfflineError(f"{manifest}: is not a manifest, a text file (UTF-8) of one path a "
                           "line") from error
    folder = manifest.absolute().parent
    jobs = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        given, *rest = line.rstrip("\r").split("\t")
        name = rest[0].strip() if rest else ""
        if not given or len(rest) > 1 or (name and not _stays_inside(name)):
            raise OfflineError(f"{manifest}, line {number}: {line!r} is not PATH or "
                               "PATH<tab>NAME with a relative NAME")
        source = folder / given
        if not name:
            below = folder if source.is_relative_to(folder) else Path(source.anchor)
            name = str(source.relative_to(below).with_suffix(""))
        jobs.append(Job(source, out / name))
    if not jobs:
        raise OfflineError(f"{manifest}: no file is named in it")
    return jobs


def _stays_inside(name: str) -> bool:
    path = PurePosixPath(name.replace("\\", "/"))
    return not path.is_absolute() and ":" not in path.parts[0] and ".." not in path.parts \
        and bool(path.name)


def without_clashes(jobs: Sequence[Job]) -> tuple[list[Job], list[tuple[Job, str]]]:
    """The jobs whose stems have names of their own, and the others with what is wrong."""
    taken: dict[Path, Job] = {}
    clashing = []
    for job in jobs:
        other = taken.setdefault(job.base, job)
        if other is not job and other.source != job.source:
            clashing.append((job, f"{job.source}: its stems would have the names of those of "
                                  f"{other.source.name}; rename one"))
    return list(taken.values()), clashing
