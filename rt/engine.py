"""The engine as the control process holds it: start, mix, look, stop.

Apart from what it steers: behind this handle are a supervised process (rt.supervisor, rt.process)
and a block of shared memory, and nobody else needs to know.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rt.messages import Hello
from rt.rings import STEP_BIN_MS, BlockError, SharedBlock, StemReader
from rt.settings import DEMO, EngineError, EngineSettings
from rt.sources import Feeder, FileSink, SoundFile, SourceError, demo_path, is_file
from rt.status import EngineInfo, Snapshot, Times
from rt.supervisor import Supervisor

__all__ = ["Engine", "EngineError", "EngineSettings"]
RECENT_S = 1.0


class Engine:
    """A performance, from `start` to `stop`; also a context manager that does both.

    Every method belongs to the control thread, except what `tap` returns, which belongs to one
    other thread. None of them makes the audio wait. After `stop`, `snapshot` and taps still read
    what there was.
    """

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        self._supervisor = Supervisor(settings)
        self._block: SharedBlock | None = None
        self._feeder: Feeder | None = None
        self._sink: FileSink | None = None
        self._gains: tuple[float, ...] | None = None
        self._bypass = False
        self._said = ""
        self._recent: deque[tuple[float, np.ndarray]] = deque()
        self._file: SoundFile | None = None

    def __enter__(self) -> Engine:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def info(self) -> EngineInfo | None:
        """Of the engine process that runs now."""
        return self._supervisor.info

    @property
    def pid(self) -> int | None:
        """Of the engine process."""
        return self._supervisor.pid

    def start(self) -> EngineInfo:
        """Returns when audio runs. Raises EngineError; nothing is left behind then."""
        try:
            self._open_files()
            return self._supervisor.start(self._meet)
        except (SourceError, BlockError) as error:
            self.stop()
            raise EngineError(str(error)) from error
        except BaseException:
            self.stop()
            raise

    def set_mix(self, gains: Sequence[float], bypass: bool) -> None:
        """Linear gain of every stem; heard within a block, plus the ramp. Before `start`: how the
        performance begins."""
        self._gains, self._bypass = tuple(gains), bypass
        if self._block is not None:
            self._apply_mix(self._block)

    def tap(self) -> StemReader:
        """Reads the stems (before gains) and the mixture they add up to, from the beginning."""
        if self._block is None:
            raise EngineError("the engine has not been started")
        return StemReader(self._block)

    def snapshot(self) -> Snapshot:
        block, supervisor = self._block, self._supervisor
        nothing = Times(0, 0, 0)
        if block is None or supervisor.info is None:
            stems = len(self._gains or ())
            return Snapshot(0, 0, 0, 0, 0, nothing, nothing, 0, (0.0,) * stems, 0, 0,
                            supervisor.state, supervisor.message)
        counts = block.step_times.copy()
        levels = block.levels.tolist()
        return Snapshot(
            seconds=block.get("played") / supervisor.info.sample_rate,
            hops=block.get("hops"), late_hops=block.get("late_hops"),
            underruns=block.get("underruns"), overruns=block.get("overruns"),
            step_ms=_times(counts - self._counts_before(counts)),
            total_step_ms=_times(counts, block.get("step_max_us") / 1000),
            input_level=levels[0], output_level=levels[1], stem_levels=tuple(levels[2:]),
            respawns=supervisor.respawns, state=supervisor.state,
            message=self._message(block))

    def stop(self) -> None:
        """Ends the audio, writes files to their end, frees names. Safe to call twice."""
        self._supervisor.stop()
        if self._feeder is not None:
            self._feeder.stop()
            self._feeder = None
        if self._sink is not None:
            sink, self._sink = self._sink, None
            try:
                sink.stop()
            except OSError as error:
                self._said = f"{sink.path}: cannot be finished ({error.strerror})"
        if self._block is not None:
            self._block.unlink()

    def _open_files(self) -> None:
        """Before anything is started. Raises SourceError."""
        source, sink = self._settings.input, self._settings.output
        if source == DEMO:
            self._file = SoundFile.check(demo_path())
        elif is_file(source):
            self._file = SoundFile.check(Path(str(source)))
        if is_file(sink):
            self._sink = FileSink(Path(str(sink)))

    def _meet(self, hello: Hello) -> SharedBlock:
        """The engine knows its model and devices: make the block, start what plays."""
        settings, rate = self._settings, hello.sample_rate
        self._block = block = SharedBlock.create(len(hello.spec.stems), rate)
        self._apply_mix(block)
        limit = None
        if settings.duration_s is not None:
            limit = round(settings.duration_s * rate)
            block.set("length", limit)
        if hello.feeds:
            file = self._file or SoundFile.check(demo_path())
            first, second = settings.input_channels
            self._feeder = Feeder(block, file, rate, pair=(first - 1, second - 1),
                                  loop=settings.loop, limit=limit, say=self._say)
            self._feeder.start()
            if not self._feeder.wait_ready():
                raise SourceError(f"{file.path}: is read too slowly to play")
        if hello.writes and self._sink is not None:
            self._sink.start(block, rate, self._say)
        return block

    def _apply_mix(self, block: SharedBlock) -> None:
        if self._gains is not None:
            if len(self._gains) != block.stem_count:
                raise EngineError(f"{len(self._gains)} gains for {block.stem_count} stems")
            block.gains[:] = self._gains
        block.set("bypass", int(self._bypass))

    def _say(self, text: str) -> None:
        self._said = text

    def _message(self, block: SharedBlock) -> str:
        if block.get("source_misses") and not self._said:
            return "the sound file is read too slowly: there are gaps in it"
        return self._said or self._supervisor.message

    def _counts_before(self, counts: np.ndarray) -> np.ndarray:
        """What the histogram was a second ago."""
        now, recent = time.monotonic(), self._recent
        while len(recent) > 1 and recent[1][0] <= now - RECENT_S:
            recent.popleft()
        if not recent or recent[-1][0] <= now - RECENT_S / 4:
            recent.append((now, counts))
        return recent[0][1] if recent[0][1] is not counts else np.zeros_like(counts)


def _times(counts: np.ndarray, longest_ms: float | None = None) -> Times:
    """Percentiles of a histogram, in ms, at the upper edge of their bins."""
    total = int(counts.sum())
    if total == 0:
        return Times(0, 0, 0)
    running = np.cumsum(counts)
    p50, p99, last = (round((np.searchsorted(running, share * total) + 1) * STEP_BIN_MS, 3)
                      for share in (0.5, 0.99, 1))
    return Times(p50, p99, last if longest_ms is None else longest_ms)
