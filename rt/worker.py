"""The inference worker: input ring in, stem ring out, as fast as hops come.

Apart because it is the one thread that computes: it owns the network, the chain around it and the
late-hop policy, and knows nothing of devices.
"""

from __future__ import annotations

import os
import select
import sys
import threading
import time
from collections.abc import Callable

import numpy as np

from rt.priority import Priority, normal_priority, raise_priority
from rt.resampling import Chain, chain_for, slack_samples
from rt.rings import STEP_BIN_MS, STEP_BINS, UNKNOWN, SharedBlock, ring_get, ring_put
from rt.separator import Masker, Separator
from rt.spec import CHANNELS

_WARM_UP_S = 0.3  # of stream: compilation, caches, arenas
_PRE_ROLL_S = 0.5  # of input heard again by a respawned worker, so that its state is warm
_POLL_S = 0.0003
_WAIT_S = 0.1


class Wake:
    """How the callback wakes the worker: a byte in a pipe, which every POSIX system has.

    The callback writes to `fd` without the GIL; the worker alone waits. On Windows, where a pipe
    cannot be waited for, the worker polls: it costs some 0.3 ms of each deadline.
    """

    def __init__(self) -> None:
        self.fd = self._reader = -1
        if sys.platform != "win32":
            self._reader, self.fd = os.pipe()
            os.set_blocking(self.fd, False)
            os.set_blocking(self._reader, False)

    def wait(self) -> None:
        """Until there may be something to do, or 0.1 s."""
        if self._reader < 0:
            time.sleep(_POLL_S)
        elif select.select([self._reader], [], [], _WAIT_S)[0]:
            os.read(self._reader, 4096)


class Worker:
    """Runs on its own thread from `start` to `stop`; both belong to the engine's main thread.

    Wherever the backlog is more than the queue allows, hops are computed with the masks of the
    last one that was in time (a tenth of the work) until none is late, so every hop is
    written and recordings stay whole. Only a backlog that the ring has lost is jumped over.
    """

    def __init__(self, masker: Callable[[], Masker], slack: int | str, realtime: bool) -> None:
        """masker: makes the Masker, on the worker's thread (denormals and children inherit)."""
        self._make, self._asked_slack, self._realtime = masker, slack, realtime
        self.wake = Wake()
        self.masker: Masker
        self.chain: Chain
        self.priority: Priority
        self.slack = 0
        self.failure: Exception | None = None
        self._block: SharedBlock
        self._rate = 0
        self._loaded, self._given, self._ready = (threading.Event() for _ in range(3))
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="worker", daemon=True)
        self._seen: tuple[int, int] | None = None  # block and grid last looked at
        self.fixed: tuple[int, int] | None = None  # block and grid that the queue is for
        self._counts_from = 0  # stems before this were due when there was no queue yet

    def load(self) -> Masker:
        """Raises what making the masker raised."""
        self._thread.start()
        self._loaded.wait()
        if self.failure is not None:
            raise self.failure
        return self.masker

    def start(self, block: SharedBlock, rate: int) -> None:
        """Returns when it is warm and has caught up with what is in the block."""
        self._block, self._rate = block, rate
        self._given.set()
        self._ready.wait()
        if self.failure is not None:
            raise self.failure

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(1.0)

    @property
    def done(self) -> bool:
        """Nothing is left to compute."""
        return self.chain.takes(self._block.get("input_end") - self._taken) == 0

    def fix_queue(self, block: int, grid: int) -> None:
        """For device blocks of at most `block` samples on multiples of `grid`: by the worker, or
        by the main thread before the stream starts."""
        queue = self.chain.waiting(block, grid)
        queue += slack_samples(self.chain.spec, self._rate, self.slack)
        self._counts_from = max(self._counts_from, self._block.get("played") - queue)
        self.fixed = (block, grid)
        self._block.set("queue", queue)

    def _run(self) -> None:
        try:
            self.masker = self._make()
            self._loaded.set()
            self._given.wait()
            self.chain = chain_for(Separator(self.masker), self._rate)
            self._warm_up()
            self.priority = raise_priority() if self._realtime else normal_priority()
            self.slack = self.priority.slack if self._asked_slack == "auto" \
                else int(self._asked_slack)
            self._resume()
        except Exception as error:  # handed to the main thread, which tells the player
            self.failure = error
            self._loaded.set()
            self._ready.set()
            return
        self._ready.set()
        while not self._stopping.is_set():
            self.wake.wait()
            self._follow_block()
            self._catch_up()

    def _warm_up(self) -> None:
        """Real steps on noise, then back to silence."""
        noise = np.random.default_rng(0).uniform(
            -0.1, 0.1, (round(_WARM_UP_S * self._rate), CHANNELS)).astype(np.float32)
        while n := self.chain.takes(len(noise)):
            self.chain.push(noise[:n], True)
            noise = noise[n:]
        self.chain.reset()

    def _resume(self) -> None:
        """Takes up where stems end: at the beginning, or where another worker died."""
        start = max(0, self._block.get("stems_end") - round(_PRE_ROLL_S * self._rate))
        self._taken = start // self.chain.period * self.chain.period
        self._written = self._taken  # where the chain's next stem sample belongs
        self._hop = np.zeros((max(self.chain.spec.hop, self._rate // 10), CHANNELS), np.float32)
        self._catch_up()

    def _follow_block(self) -> None:
        """A first or a larger block, or one off the grid, calls for another queue."""
        seen = (self._block.get("block_max"), self._block.get("block_gcd"))
        if seen in ((0, 0), self._seen):
            return
        self._seen = seen
        if self.fixed is None or self.chain.waiting(*seen) > self.chain.waiting(*self.fixed):
            self._catch_up()
            self.fix_queue(*seen)

    def _catch_up(self) -> None:
        block = self._block
        while not self._stopping.is_set():
            available = block.get("input_end") - self._taken
            if available > block.capacity - 2 * self._rate:
                self._jump()
                continue
            n = self.chain.takes(available)
            if n == 0:
                return
            self._push(n)

    def _push(self, n: int) -> None:
        block = self._block
        queue = block.get("queue")
        start, end = self._written, block.get("stems_end")
        samples = self._hop[:n]
        ring_get(block.inputs, self._taken, samples)
        fresh = queue == UNKNOWN or start < end or start >= block.get("input_end") - queue
        began = time.perf_counter_ns()
        stems, hops = self.chain.push(samples, fresh)
        took_us = (time.perf_counter_ns() - began) // 1000
        self._written += len(stems)
        if self._written > end:  # else pre-roll: another worker has written these
            new = stems[max(0, end - start):]
            ring_put(block.stems, self._written - len(new), new)
            block.set("stems_end", self._written)
            self._count(start, hops, queue, took_us if fresh else None)
        self._taken += n  # last: `done` says that it is published

    def _count(self, start: int, hops: int, queue: int, took_us: int | None) -> None:
        """hops whose stems begin at `start`; took_us: of steps with fresh masks."""
        block = self._block
        if not hops:
            return
        block.add("hops", hops)
        if queue != UNKNOWN and self._counts_from <= start < block.get("played") - queue:
            block.add("late_hops", hops)
        if took_us is not None:
            block.step_times[min(STEP_BINS - 1, int(took_us / 1000 / STEP_BIN_MS))] += 1
            block.set("step_max_us", max(block.get("step_max_us"), took_us))

    def _jump(self) -> None:
        """A ring behind: silence for what is lost, and a fresh start on the newest input."""
        block, end = self._block, self._block.get("stems_end")
        start = block.get("input_end") // self.chain.period * self.chain.period
        while end < start:
            n = min(len(self._hop), start - end)
            ring_put(block.stems, end, np.zeros((n, block.stem_count, CHANNELS), np.float32))
            end += n
        block.set("stems_end", end)
        block.add("overruns", 1)
        self.chain.reset()
        self._taken = self._written = start
