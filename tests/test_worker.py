"""The worker and its late-hop policy, with the test as the audio thread and its own clock."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from rt.binding import Binding, Wiring
from rt.rings import UNKNOWN, SharedBlock, ring_get
from rt.separator import EqualShares
from rt.spec import StreamSpec
from rt.worker import Worker

SPEC = StreamSpec()
RATE, HOP = SPEC.sample_rate, SPEC.hop


class Gated(EqualShares):
    """Counts its steps, and holds each one while the gate is shut."""

    def __init__(self) -> None:
        super().__init__(SPEC)
        self.gate = threading.Event()
        self.gate.set()
        self.steps = self.resets = 0
        self.held = False

    def step(self, spectrum: np.ndarray) -> np.ndarray:
        self.held = not self.gate.is_set()
        self.gate.wait()
        self.steps += 1
        return super().step(spectrum)

    def reset(self) -> None:
        self.resets += 1


class Rig:
    def __init__(self, rate: int = RATE, slack: int = 0) -> None:
        self.block = SharedBlock.create(len(SPEC.stems), rate)
        self.masker = Gated()
        self.worker = Worker(lambda: self.masker, slack, realtime=False)
        self.worker.load()
        self.worker.start(self.block, rate)
        self.block.set("alignment", self.worker.chain.alignment)
        self.binding = Binding(self.block, Wiring(), rate, 20, self.worker.wake.fd,
                               self.worker.chain.wake_step)
        self.masker.steps = self.masker.resets = 0
        self._rate = rate

    def play(self, n: int) -> None:
        """The next n samples of three tones, in phase from block to block."""
        t = (self.block.get("played") + np.arange(n)) / self._rate
        tones = 0.15 * np.sin(2 * np.pi * np.outer((110, 3000, 12_000), t)).sum(0)
        stereo = np.repeat(tones.astype(np.float32), 2)
        self.binding.call(stereo, np.empty_like(stereo), n)

    def hold(self) -> None:
        """The worker stands in the middle of a step until the gate opens."""
        self.masker.gate.clear()
        self.play(256)
        until(lambda: self.masker.held)

    def settle(self) -> None:
        until(lambda: self.worker.done)

    def close(self) -> None:
        self.masker.gate.set()
        self.worker.stop()
        self.block.unlink()


def until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    yield rig
    rig.close()


def test_the_first_block_fixes_the_queue_and_a_larger_one_fixes_it_again(rig: Rig) -> None:
    assert rig.block.get("queue") == UNKNOWN
    rig.play(256)
    until(lambda: rig.block.get("queue") == SPEC.queue_latency(256))
    for _ in range(20):
        rig.play(256)
        rig.settle()
    rig.play(64)  # off the grid: a hop may now end anywhere in 64
    until(lambda: rig.block.get("queue") == 256 + 256 - 64)
    rig.play(1024)
    until(lambda: rig.block.get("queue") == 1024 + 256 - 64)
    assert rig.worker.fixed == (1024, 64)


@pytest.mark.parametrize("slack", [0, 2])
def test_with_every_hop_in_time_all_masks_are_fresh(slack: int) -> None:
    rig = Rig(slack=slack)
    try:
        for _ in range(50):
            rig.play(256)
            rig.settle()
        until(lambda: rig.masker.steps == 50)
        assert rig.block.get("queue") == SPEC.queue_latency(256, slack)
        assert rig.block.get("late_hops") == rig.block.get("underruns") == 0
        assert rig.block.get("hops") == rig.block.step_times.sum() == 50
    finally:
        rig.close()


def test_late_hops_get_the_last_masks_and_every_hop_is_written(rig: Rig) -> None:
    for _ in range(20):
        rig.play(256)
        rig.settle()
    before = rig.masker.steps
    rig.hold()
    for _ in range(9):
        rig.play(256)
    rig.masker.gate.set()
    rig.settle()
    # the held one and perhaps the last are fresh, those that were late when they began are not
    assert 1 <= rig.masker.steps - before <= 2
    assert rig.block.get("hops") == 30
    assert 8 <= rig.block.get("late_hops") <= 10
    assert rig.block.get("underruns") >= 8
    assert rig.block.get("overruns") == 0
    inputs, stems = np.empty((30 * 256, 2), np.float32), np.empty((30 * 256, 4, 2), np.float32)
    ring_get(rig.block.inputs, 0, inputs)
    ring_get(rig.block.stems, 0, stems)
    align = SPEC.algorithmic_latency
    np.testing.assert_allclose(stems.sum(1)[align:], inputs[:-align], atol=1e-5)
    fresh = rig.masker.steps
    rig.play(256)
    rig.settle()
    assert rig.masker.steps == fresh + 1  # latency is back, and so are fresh masks


def test_a_whole_ring_behind_it_jumps_and_starts_afresh(rig: Rig) -> None:
    rig.play(256)
    rig.settle()
    rig.hold()
    for _ in range(rig.block.capacity // 4096 + 2):
        rig.play(4096)
    rig.masker.gate.set()
    rig.settle()
    assert rig.block.get("overruns") == 1
    assert rig.masker.resets == 1
    end = rig.block.get("stems_end")
    assert rig.block.get("input_end") - end < HOP
    lost = np.empty((4096, 4, 2), np.float32)
    ring_get(rig.block.stems, end - 8192, lost)
    assert not lost.any()


@pytest.mark.parametrize("rate", [44_100, 48_000])
def test_a_second_worker_takes_up_where_the_first_died(rate: int) -> None:
    first = Rig(rate)
    for _ in range(400):
        first.play(256)
        first.settle()
    done = first.block.get("stems_end")
    first.worker.stop()
    for _ in range(6):
        first.play(256)  # nobody computes these
    second = Worker(Gated, 0, realtime=False)
    second.load()
    second.start(first.block, rate)
    try:
        until(lambda: second.done)
        end = first.block.get("stems_end")
        assert end > done
        span = end - done + 3000
        stems, inputs = np.empty((span, 4, 2), np.float32), np.empty((span, 2), np.float32)
        ring_get(first.block.stems, end - span, stems)
        ring_get(first.block.inputs, end - span - second.chain.alignment, inputs)
        error = np.abs(stems.sum(1) - inputs).max()
        assert error < (1e-5 if rate == RATE else 1e-4)
    finally:
        second.stop()
        first.close()


def test_what_the_masker_raises_reaches_the_main_thread() -> None:
    def broken() -> Gated:
        raise ValueError("no such model")
    with pytest.raises(ValueError, match="no such model"):
        Worker(broken, 0, realtime=False).load()
