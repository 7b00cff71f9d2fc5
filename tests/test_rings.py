"""Rings: wrapping, awkward sizes, two processes, readers that fall behind."""

from __future__ import annotations

import multiprocessing
import time

import numpy as np
import pytest

from rt.rings import UNKNOWN, BlockError, SharedBlock, StemReader, ring_get, ring_put

SIZES = (1, 63, 64, 65, 441)


@pytest.fixture
def block():
    block = SharedBlock.create(4, 8000)
    yield block
    block.unlink()
    block.close()


def pattern(position: int, n: int) -> np.ndarray:
    """[n, 2], a different value for every position."""
    t = np.arange(position, position + n, dtype=np.float32)
    return np.stack([t, -t], 1)


@pytest.mark.parametrize("size", SIZES)
def test_what_is_put_is_got_back_around_the_end(size: int) -> None:
    ring = np.zeros((512, 2), np.float32)
    for position in range(0, 4000, size):
        ring_put(ring, position, pattern(position, size))
        out = np.empty((size, 2), np.float32)
        ring_get(ring, position, out)
        np.testing.assert_array_equal(out, pattern(position, size))


def test_a_ring_holds_four_seconds_at_every_rate() -> None:
    for rate in (44_100, 48_000, 96_000):
        block = SharedBlock.create(2, rate)
        try:
            assert block.capacity >= 4 * rate
            assert block.capacity & (block.capacity - 1) == 0
            assert block.stems.shape == (block.capacity, 2, 2)
        finally:
            block.unlink()
            block.close()


def test_words_are_apart_and_start_at_nothing(block: SharedBlock) -> None:
    assert block.get("queue") == block.get("length") == UNKNOWN
    block.set("played", 7)
    block.add("played", 3)
    assert block.get("played") == 10
    assert block.get("input_end") == 0
    assert abs(block.address("played") - block.address("input_end")) >= 64


def _write(name: str) -> None:
    """The other process: a producer that laps the ring several times, at its own pace."""
    block = SharedBlock.attach(name, 4, 8000)
    rng = np.random.default_rng(1)
    position, end = 0, 3 * block.capacity
    while position < end:
        n = min(int(rng.choice(SIZES)), end - position)
        while position + n - block.get("played") > block.capacity:
            time.sleep(0.0005)
        ring_put(block.inputs, position, pattern(position, n))
        position += n
        block.set("input_end", position)


def test_two_processes(block: SharedBlock) -> None:
    writer = multiprocessing.get_context("spawn").Process(target=_write, args=(block.name,))
    writer.start()
    read, deadline = 0, time.monotonic() + 30
    while read < 3 * block.capacity:
        assert time.monotonic() < deadline
        n = min(441, block.get("input_end") - read)
        if n == 0:
            time.sleep(0.0005)
            continue
        out = np.empty((n, 2), np.float32)
        ring_get(block.inputs, read, out)
        np.testing.assert_array_equal(out, pattern(read, n))
        read += n
        block.set("played", read)
    writer.join(10)
    assert writer.exitcode == 0


def publish(block: SharedBlock, position: int, n: int, align: int) -> None:
    """Input [position, position + n) and stems that add up to it, `align` later."""
    ring_put(block.inputs, position, pattern(position, n))
    block.set("input_end", position + n)
    late = pattern(position - align, n)
    ring_put(block.stems, position, np.repeat(late[:, None] / 4, 4, 1))
    block.set("stems_end", position + n)


@pytest.mark.parametrize("size", SIZES)
def test_a_reader_gets_stems_and_the_mixture_they_add_up_to(block: SharedBlock, size: int) -> None:
    align = 100
    block.set("alignment", align)
    reader = StemReader(block)
    got = 0
    for position in range(0, 2 * block.capacity, 4096):
        publish(block, position, 4096, align)
        while True:
            first, mixture, stems = reader.read(size * 7)
            assert first == got
            if not len(mixture):
                break
            np.testing.assert_array_equal(mixture, pattern(first, len(mixture)))
            np.testing.assert_allclose(stems.sum(1), mixture)
            got = first + len(mixture)
    assert got == 2 * block.capacity - align
    assert reader.lost == 0


def test_a_reader_that_was_lapped_says_what_it_lost(block: SharedBlock) -> None:
    reader = StemReader(block)
    total = 3 * block.capacity
    for position in range(0, total, 4096):
        publish(block, position, 4096, 0)
    first, mixture, _ = reader.read(1000)
    assert first == reader.lost == total - block.capacity + StemReader.GUARD
    np.testing.assert_array_equal(mixture, pattern(first, 1000))


def test_a_reader_stops_where_the_input_ended(block: SharedBlock) -> None:
    block.set("alignment", 100)
    block.set("length", 5000)
    publish(block, 0, 8192, 100)
    first, mixture, _ = StemReader(block).read(100_000)
    assert (first, len(mixture)) == (0, 5000)


def test_too_little_shared_memory_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")
    monkeypatch.setattr("os.posix_fallocate", full, raising=False)
    with pytest.raises(BlockError, match=r"not enough shared memory: .* MB refused"):
        SharedBlock.create(4, 44_100)
