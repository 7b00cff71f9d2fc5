"""The shared block: every word and ring that the engine and the control process share.

One shared-memory segment, written by several hands but every word and ring by one only. Rings are
indexed by absolute position (samples since the performance began), so nobody keeps a read pointer
in here: a reader remembers how far it got and is told what was overwritten before it came.

Rings, all at the stream's rate, `capacity` samples long (a power of two, at least four seconds):
  source   what a file or the demo plays in, written ahead of time by the control process
  inputs   what the callback took in
  stems    stems before gains; sample x belongs to the input sample x - alignment, whatever the
           queue, so recordings need not know how late the stems are played
  outputs  what the callback gave out
"""

from __future__ import annotations

import contextlib
import os
from multiprocessing import shared_memory
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from rt.spec import CHANNELS

WORDS = (
    # the callback
    "played", "input_end", "block_max", "block_gcd", "underruns", "source_misses",
    # the worker
    "stems_end", "hops", "late_hops", "overruns", "step_max_us", "queue",
    # the engine's main thread
    "beat", "running", "alignment",
    # the control process
    "source_end", "length", "bypass", "stop",
)
UNKNOWN = -1  # of queue: no block has come yet; of length: the end is not in sight
STEP_BIN_MS = 0.01
STEP_BINS = 10_000  # the last one holds everything longer
RING_S = 4
_LINE = 8  # words per 64-byte cache line: hot words share none


class BlockError(RuntimeError):
    """No shared memory to be had; the message is one line for the user."""


def _load_acquire(_context, address):
    def codegen(_, builder, __, args):
        word = builder.inttoptr(args[0], ir.IntType(64).as_pointer())
        return builder.load_atomic(word, "acquire", 8)
    return types.int64(types.int64), codegen


def _store_release(_context, address, value):
    def codegen(context, builder, _, args):
        word = builder.inttoptr(args[0], ir.IntType(64).as_pointer())
        builder.store_atomic(args[1], word, "release", 8)
        return context.get_dummy_value()
    return types.void(types.int64, types.int64), codegen


# in compiled code: load_acquire(address) -> int64, after which all that its writer wrote before is
# visible; store_release(address, value), which makes all that was written before visible
load_acquire: Any = intrinsic(_load_acquire)
store_release: Any = intrinsic(_store_release)


@njit(types.int64(types.int64), nogil=True, cache=True)
def _load(address):
    return load_acquire(address)


@njit(types.void(types.int64, types.int64), nogil=True, cache=True)
def _store(address, value):
    store_release(address, value)


def ring_get(ring: np.ndarray, position: int, out: np.ndarray) -> None:
    """Fills out [n, ...] from ring positions [position, position + n)."""
    at, n = position % len(ring), len(out)
    first = min(n, len(ring) - at)
    out[:first] = ring[at:at + first]
    out[first:] = ring[:n - first]


def ring_put(ring: np.ndarray, position: int, samples: np.ndarray) -> None:
    at, n = position % len(ring), len(samples)
    first = min(n, len(ring) - at)
    ring[at:at + first] = samples[:first]
    ring[:n - first] = samples[first:]


class SharedBlock:
    """The segment, seen from one process.

    Any thread may read anything. Of every word and ring there is one writer, listed in WORDS and
    above; `gains` is written by the control process, `levels` by the callback, `step_times` by
    the worker. The control process creates and unlinks; a spawned engine attaches by name (a
    spawned child shares its parent's resource tracker, so attaching does not shorten the
    segment's life, and when both are killed the tracker removes it).
    """

    def __init__(self, stems: int, capacity: int, memory: shared_memory.SharedMemory) -> None:
        self._memory = memory
        self.stem_count, self.capacity = stems, capacity
        assert memory.buf is not None
        views = _carve(memory.buf, stems, capacity)
        self._words: np.ndarray = views["words"]
        self.gains: np.ndarray = views["gains"]  # [stems] float64, linear targets
        self.levels: np.ndarray = views["levels"]  # [input, output, stems...] float32 peaks
        self.step_times: np.ndarray = views["step_times"]  # [STEP_BINS] int64 counts
        self.source: np.ndarray = views["source"]  # [capacity, 2] float32
        self.inputs: np.ndarray = views["inputs"]  # [capacity, 2] float32
        self.outputs: np.ndarray = views["outputs"]  # [capacity, 2] float32
        self.stems: np.ndarray = views["stems"]  # [capacity, stems, 2] float32
        self._address = {name: self._words.ctypes.data + 8 * _LINE * i
                         for i, name in enumerate(WORDS)}

    @classmethod
    def create(cls, stems: int, sample_rate: int) -> SharedBlock:
        """Raises BlockError."""
        capacity = 1 << (RING_S * sample_rate - 1).bit_length()
        size = _size(stems, capacity)
        try:
            memory = shared_memory.SharedMemory(create=True, size=size)
        except OSError as error:
            raise BlockError(f"no shared memory: {size >> 20} MB refused ({error})") from error
        if hasattr(os, "posix_fallocate") and hasattr(memory, "_fd"):
            try:  # a full /dev/shm would otherwise kill whoever touches the page
                os.posix_fallocate(memory._fd, 0, size)  # type: ignore[attr-defined]
            except OSError as error:
                memory.close()
                memory.unlink()
                raise BlockError(f"not enough shared memory: {size >> 20} MB refused "
                                 f"({error.strerror}); free or enlarge /dev/shm") from error
        block = cls(stems, capacity, memory)
        block.gains[:] = 1
        block.set("queue", UNKNOWN)
        block.set("length", UNKNOWN)
        return block

    @classmethod
    def attach(cls, name: str, stems: int, sample_rate: int) -> SharedBlock:
        """For a child process spawned by the creator's."""
        capacity = 1 << (RING_S * sample_rate - 1).bit_length()
        return cls(stems, capacity, shared_memory.SharedMemory(name=name))

    @property
    def name(self) -> str:
        return self._memory.name

    def get(self, word: str) -> int:
        return _load(self._address[word])

    def set(self, word: str, value: int) -> None:
        _store(self._address[word], value)

    def add(self, word: str, value: int) -> None:
        """By the word's one writer."""
        self.set(word, self.get(word) + value)

    def address(self, word: str) -> int:
        """In this process."""
        return self._address[word]

    def touch(self) -> None:
        """Faults every page in, so that the callback does not have to."""
        for array in (self.source, self.inputs, self.outputs, self.stems):
            array.ravel()[::512].sum()

    def unlink(self) -> None:
        """Takes the name away: memory goes when the last process lets go. Safe to call twice."""
        with contextlib.suppress(FileNotFoundError):
            self._memory.unlink()

    def close(self) -> None:
        """Lets go of the memory: no view of it may be used afterwards."""
        for name in ("_words", "gains", "levels", "step_times", "source", "inputs", "outputs",
                     "stems"):
            self.__dict__.pop(name, None)
        self._memory.close()

    def __del__(self) -> None:
        if hasattr(self, "_memory"):
            with contextlib.suppress(BufferError):  # somebody kept a view; the exit frees it
                self.close()


def _layout(stems: int, capacity: int) -> dict[str, tuple[type, tuple[int, ...]]]:
    return {
        "words": (np.int64, (len(WORDS) * _LINE,)),
        "gains": (np.float64, (stems,)),
        "levels": (np.float32, (2 + stems,)),
        "step_times": (np.int64, (STEP_BINS,)),
        "source": (np.float32, (capacity, CHANNELS)),
        "inputs": (np.float32, (capacity, CHANNELS)),
        "outputs": (np.float32, (capacity, CHANNELS)),
        "stems": (np.float32, (capacity, stems, CHANNELS)),
    }


def _bytes(kind: type, shape: tuple[int, ...]) -> int:
    return -(-int(np.prod(shape)) * np.dtype(kind).itemsize // 64) * 64


def _size(stems: int, capacity: int) -> int:
    return sum(_bytes(*part) for part in _layout(stems, capacity).values())


def _carve(buffer: memoryview, stems: int, capacity: int) -> dict[str, np.ndarray]:
    views, offset = {}, 0
    for name, (kind, shape) in _layout(stems, capacity).items():
        views[name] = np.ndarray(shape, kind, buffer, offset)
        offset += _bytes(kind, shape)
    return views


class StemReader:
    """Reads stems and the mixture they add up to, behind the engine, without it noticing.

    One thread per reader; any number of readers. It keeps its own position, starts with the
    first sample of the performance (or with the newest, `start="now"`), and skips what was
    overwritten before it came.
    """

    GUARD = 8192  # samples next to the writer's head that may be overwritten during a copy

    def __init__(self, block: SharedBlock, start: str = "beginning") -> None:
        self._block = block
        # samples before the alignment answer to input from before the beginning
        self._next = block.get("alignment")
        if start == "now":
            self._next = max(self._next, block.get("stems_end"))
        self.lost = 0  # samples overwritten before they were read

    def read(self, max_samples: int) -> tuple[int, np.ndarray, np.ndarray]:
        """-> position, mixture [n, 2], stems [n, stems, 2] with n <= max_samples, both copies.

        Never waits: n is 0 where nothing is new. `position` is that of the first mixture sample
        in the input; one past the end of the last read means that the samples between are lost.
        At equal rates the stems add up to the mixture sample by sample.
        """
        block, align = self._block, self._block.get("alignment")
        keep = block.capacity - self.GUARD - align
        while True:
            end = block.get("stems_end")
            length = block.get("length")
            if length != UNKNOWN:
                end = min(end, length + align)
            self._skip_to(max(block.get("stems_end"), block.get("input_end")) - keep)
            n = max(0, min(max_samples, end - self._next))
            mixture = np.empty((n, CHANNELS), np.float32)
            stems = np.empty((n, block.stem_count, CHANNELS), np.float32)
            ring_get(block.inputs, self._next - align, mixture)
            ring_get(block.stems, self._next, stems)
            overwritten = max(block.get("stems_end"), block.get("input_end")) - keep
            if overwritten <= self._next or n == 0:  # nobody wrote over it meanwhile
                break
        position = self._next - align
        self._next += n
        return position, mixture, stems

    def _skip_to(self, first: int) -> None:
        if first > self._next:
            self.lost += first - self._next
            self._next = first
