"""The same jobs on many processes or machines: Ray workers, each with the model loaded once.

The only file that imports ray (extra `cluster`). Ray starts workers, moves jobs and notices
deaths; what is done about a death is decided here, so that attempts can be counted.
"""

from __future__ import annotations

import logging
import os
import re
import socket
import sys
import tempfile
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # before ray is imported

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError
from tqdm import tqdm

from model.inference.jobs import Job
from model.inference.offline import OfflineError
from model.inference.separation import Result, Separation, Settings
from model.inference.stem_files import StemFileError, part_of
from rt.session import SessionError

LOCAL = "local"
OBJECT_STORE = 80_000_000  # bytes, near Ray's least: sound goes through files, never through Ray
CONNECT_S = 5


class Worker:
    """An actor. Expected errors come back as values: Ray would wrap them in tracebacks."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def open(self) -> tuple[str, ...] | Exception:
        """The names of the stems."""
        try:
            self._separation = Separation.open(self._settings)
        except (OfflineError, SessionError) as error:
            return error
        return self._separation.names

    def separate(self, job: Job) -> Result | Exception:
        try:
            return self._separation(job)
        except (OfflineError, StemFileError) as error:
            return error


@dataclass(frozen=True)
class _Task:
    """What a worker is busy with; no job: opening the model."""

    worker: Any
    job: Job | None
    attempt: int


def run_on_ray(settings: Settings, jobs: Sequence[Job], address: str, workers: int | None,
               attempts: int) -> Generator[Result]:
    """Results in the order in which files finish.

    address: local (Ray is started here and stopped at the end), auto or HOST:PORT. workers: None
    for one a processor, or with `device` cuda one a GPU. A job whose worker dies is given to a
    new one, `attempts` times in all; then it is a failed Result. Raises OfflineError,
    SessionError or StemFileError.
    """
    # a worker is given processors, not the machine: what is left open is decided here
    settings = replace(settings, threads=settings.threads or 1,
                       device="cpu" if settings.device == "auto" else settings.device)
    if (checkpoint := Path(settings.checkpoint)).suffix:  # a file; a tier has none
        settings = replace(settings, checkpoint=str(checkpoint.absolute()))
    with _connected(address, (workers or 0) * (settings.threads or 1) or None):
        gpus = 1 if settings.device == "cuda" else 0
        count = min(_workers(workers, settings.threads or 1, gpus), len(jobs))
        # a worker that dies is replaced here, not by Ray, which would not say so
        actor = ray.remote(Worker).options(  # type: ignore[call-overload]
            num_cpus=settings.threads, num_gpus=gpus, max_restarts=0)
        pool = _Pool(actor, settings, attempts)
        with tqdm(total=len(jobs), unit="file", disable=None, leave=False) as bar, \
                closing(pool.run(jobs, count)) as results:
            for result in results:
                bar.clear()
                yield result
                bar.update()


class _Pool:
    def __init__(self, actor: Any, settings: Settings, attempts: int) -> None:
        self._actor, self._settings, self._attempts = actor, settings, attempts
        self._busy: dict[Any, _Task] = {}
        self._workers: list[Any] = []
        self._names: tuple[str, ...] = ()
        self._stillborn = 0  # workers in a row that died before they had the model

    def run(self, jobs: Sequence[Job], count: int) -> Generator[Result]:
        waiting = deque((job.absolute(), 1) for job in jobs)
        try:
            for _ in range(count):
                self._start()
            while self._busy:
                ready = ray.wait(list(self._busy))[0][0]
                task = self._busy.pop(ready)
                try:
                    value = ray.get(ready)
                except RayError as error:
                    ray.kill(task.worker)  # it lives on where only its task failed
                    self._workers.remove(task.worker)
                    if (result := self._died(task, error)) is not None:
                        yield result
                    elif task.job is not None:
                        waiting.appendleft((task.job, task.attempt + 1))
                    if waiting:
                        self._start()
                    continue
                if isinstance(value, Exception):
                    raise value
                if isinstance(value, Result):
                    yield replace(value, attempts=task.attempt)
                else:
                    self._names, self._stillborn = value, 0
                if waiting:
                    job, attempt = waiting.popleft()
                    self._busy[task.worker.separate.remote(job)] = _Task(task.worker, job, attempt)
        finally:
            for worker in self._workers:
                ray.kill(worker)
            for task in self._busy.values():
                self._discard(task.job)

    def _start(self) -> None:
        worker = self._actor.remote(self._settings)
        self._workers.append(worker)
        self._busy[worker.open.remote()] = _Task(worker, None, 1)

    def _died(self, task: _Task, error: RayError) -> Result | None:
        """The failed Result of a job that has had all its attempts. Raises OfflineError where
        workers do not even start."""
        why = _reason(error)
        if task.job is None:
            self._stillborn += 1
            if self._stillborn >= self._attempts:
                raise OfflineError(f"the workers cannot start: {why}")
            return None
        if task.attempt < self._attempts:
            return None
        self._discard(task.job)
        return Result(task.job.source, "failed", f"{task.job.source}: given up after "
                      f"{task.attempt} attempts: {why}", attempts=task.attempt)

    def _discard(self, job: Job | None) -> None:
        """What a killed worker has left behind."""
        if job is not None:
            for path in job.paths(self._names, self._settings.encoding):
                part_of(path).unlink(missing_ok=True)


@contextmanager
def _connected(address: str, processors: int | None) -> Iterator[None]:
    """A connection to Ray, whose own processes and files are gone afterwards where it is local.
    Raises OfflineError."""
    options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    # sockets are in this folder, and their paths must be short: not macOS's own temporary one
    short = None if sys.platform == "win32" else "/tmp"
    with tempfile.TemporaryDirectory(prefix="ray-", dir=short,
                                     ignore_cleanup_errors=True) as folder:
        if address == LOCAL:
            options |= {"num_cpus": processors, "include_dashboard": False, "_temp_dir": folder,
                        "object_store_memory": OBJECT_STORE}
        else:
            _must_answer(address)
        try:
            ray.init(address, **options)
        except (OSError, RuntimeError, ValueError) as error:
            raise OfflineError(f"--cluster {address}: {_first_line(error)}") from error
        try:
            yield
        finally:
            ray.shutdown()


def _must_answer(address: str) -> None:
    """Raises OfflineError where there is no cluster. Ray itself would wait for minutes."""
    if address == "auto":
        return
    match = re.fullmatch(r"\[?([^\[\]/]+)\]?:(\d+)", address)
    if match is None:
        raise OfflineError(f"--cluster {address}: is not local, auto or HOST:PORT")
    try:
        socket.create_connection((match[1], int(match[2])), CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise OfflineError(f"--cluster {address}: no Ray cluster answers there ({error})"
                           ) from error


def _workers(asked: int | None, threads: int, gpus: int) -> int:
    """How many of them the cluster has room for. Raises OfflineError where it is not enough."""
    have = ray.cluster_resources()
    room = int(have.get("CPU", 0)) // threads
    if gpus:
        room = min(room, int(have.get("GPU", 0)) // gpus)
    if room < (asked or 1):
        raise OfflineError(
            f"the cluster has {have.get('CPU', 0):g} processors and {have.get('GPU', 0):g} GPUs, "
            f"not enough for {asked or 1} workers with {threads} processors"
            f"{' and a GPU' * gpus} each")
    return asked or room


def _reason(error: RayError) -> str:
    if isinstance(error, RayTaskError):
        return f"{type(error.cause).__name__}: {_first_line(error.cause)}"
    if isinstance(error, RayActorError):
        return "its worker died (out of memory, killed, or its machine is gone)"
    return _first_line(error)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
