"""What stands between the stream and the separator when the device's rate is not the model's.

A polyphase filter of our own, because latency is the point: linear phase, flat to 20 kHz, about
0.8 ms one way between 44.1 and 48 kHz, where soxr's streaming mode holds back some 20 ms at its
good settings (test_resampling measures both). Sound files, where waiting costs nothing, do go
through soxr.

Being a plain filter, it gives a number of samples that is known beforehand, so the queue that
keeps every deadline is computed, not guessed.
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
from numba import njit

from rt.separator import Separator
from rt.spec import CHANNELS, StreamSpec

PASS_HZ = 20_000.0
STOPBAND_DB = 100.0


class Resampler:
    """Streaming, for one thread. Output sample m is the input at time m / out_rate, less `delay`;
    it is there when `lag` input samples past m / out_rate have come."""

    def __init__(self, in_rate: int, out_rate: int, channels: int, largest: int = 4096,
                 delay: float = 0.0) -> None:
        """largest: samples per push at most; delay: input samples, from 0 to 1."""
        common = math.gcd(in_rate, out_rate)
        self.up, self.down = out_rate // common, in_rate // common
        self.lag, self._filters = _design(in_rate, out_rate, self.up, delay)
        self._buffer = np.zeros((2 * self.lag + largest, channels), np.float32)
        self._out = np.zeros((largest * self.up // self.down + 2, channels), np.float32)
        self.reset()

    def reset(self) -> None:
        self._buffer[:] = 0
        self._taken = self._given = 0

    def count(self, taken: int) -> int:
        """Output samples after `taken` input samples, however they were cut."""
        return max(0, -(-(taken - self.lag) * self.up // self.down))

    def push(self, samples: np.ndarray) -> np.ndarray:
        """[n, channels] float32, n at most `largest` -> [m, channels], overwritten next time."""
        keep, n = 2 * self.lag, len(samples)
        self._buffer[keep:keep + n] = samples
        m = self.count(self._taken + n) - self._given
        out = self._out[:m]
        # buffer[0] is input sample taken - keep
        _filter(self._buffer, self._filters, out, self._given, self.up, self.down,
                self._taken - keep + self.lag - 1)
        self._buffer[:keep] = self._buffer[n:n + keep]
        self._taken += n
        self._given += m
        return out


@njit(nogil=True, fastmath=True, cache=True)
def _filter(buffer, filters, out, given, up, down, origin):
    taps, channels = filters.shape[1], buffer.shape[1]
    for j in range(out.shape[0]):
        time = (given + j) * down
        first = time // up - origin
        phase = time % up
        for c in range(channels):
            out[j, c] = 0
        for k in range(taps):
            weight = filters[phase, k]
            for c in range(channels):
                out[j, c] += weight * buffer[first + k, c]


def _design(in_rate: int, out_rate: int, up: int, delay: float) -> tuple[int, np.ndarray]:
    """-> half the length in input samples, filters [up, 2 * half] (Kaiser-windowed sinc)."""
    low = min(in_rate, out_rate)
    passed = min(PASS_HZ, 0.4535 * low)
    stopped = low - passed  # what folds back stays above what is passed
    width = (stopped - passed) / in_rate
    reach = math.ceil((STOPBAND_DB - 8) / (2.285 * 2 * math.pi * width) / 2)
    half = reach + (delay > 0)
    beta = 0.1102 * (STOPBAND_DB - 8.7)
    fraction = np.arange(up)[:, None] / up - delay
    time = fraction + half - 1 - np.arange(2 * half)[None]
    window = np.i0(beta * np.sqrt(np.maximum(0, 1 - (time / reach) ** 2))) * (abs(time) < reach)
    filters = np.sinc(time * 2 * (passed + stopped) / 2 / in_rate) * window
    return half, (filters / filters.sum(1, keepdims=True)).astype(np.float32)


class Chain(Protocol):
    """Samples at the stream's rate in, stems at the stream's rate out. One thread at a time.

    Stem sample x answers to input sample x - alignment.
    """

    spec: StreamSpec
    alignment: int
    wake_step: int  # nothing is to be done until input crosses a multiple of this
    period: int  # what comes out when repeats after this many samples: start on a multiple of it

    def takes(self, available: int) -> int:
        """How many of the samples that are there the next push wants; 0 to wait for more."""
        ...

    def push(self, samples: np.ndarray, fresh: bool) -> tuple[np.ndarray, int]:
        """[n, 2] -> stems [m, stems, 2], overwritten by the next push, and hops stepped."""
        ...

    def waiting(self, block: int, grid: int) -> int:
        """The most samples that may be needed before they can be there: blocks of `block`, all
        positions on multiples of `grid`, a whole block to compute in."""
        ...

    def gathering(self, block: int, grid: int) -> int:
        """What of it is due to hops that end inside a block."""
        ...

    def reset(self) -> None: ...


class Direct:
    """The stream runs at the model's rate."""

    def __init__(self, separator: Separator) -> None:
        self.spec = separator.spec
        self._separator = separator
        self.alignment = self.spec.algorithmic_latency
        self.wake_step = self.period = self.spec.hop

    def takes(self, available: int) -> int:
        return self.spec.hop if available >= self.spec.hop else 0

    def push(self, samples: np.ndarray, fresh: bool) -> tuple[np.ndarray, int]:
        return self._separator.step(samples, fresh), 1

    def waiting(self, block: int, grid: int) -> int:
        return block + self.gathering(block, grid)

    def gathering(self, block: int, grid: int) -> int:
        return self.spec.hop - math.gcd(self.spec.hop, grid)

    def reset(self) -> None:
        self._separator.reset()


class Resampled:
    """The stream runs at `rate`, the model at its own."""

    def __init__(self, separator: Separator, rate: int) -> None:
        self.spec = spec = separator.spec
        self._separator, self._rate = separator, rate
        self._largest = max(1, spec.hop * rate // spec.sample_rate)
        self._in = Resampler(rate, spec.sample_rate, CHANNELS, self._largest)
        latency = spec.algorithmic_latency * rate / spec.sample_rate
        self.alignment = math.ceil(latency)  # the rest, less than a sample, is filled up
        self._back = Resampler(spec.sample_rate, rate, CHANNELS * len(spec.stems), spec.hop,
                               (self.alignment - latency) * spec.sample_rate / rate)
        self.wake_step = 1
        whole = self._in.down * spec.hop
        self._regular = whole <= rate  # else (44 099 Hz) the pattern is too long to keep in step
        self.period = whole if self._regular else spec.hop
        self._hop = np.zeros((spec.hop, CHANNELS), np.float32)
        self._filled = 0
        self._stems = np.zeros((2 * self._largest + 4, len(spec.stems), CHANNELS), np.float32)

    def takes(self, available: int) -> int:
        return min(available, self._largest)  # at most one step a push, two after rounding

    def push(self, samples: np.ndarray, fresh: bool) -> tuple[np.ndarray, int]:
        at_model_rate = self._in.push(samples)
        at = given = hops = 0
        while at < len(at_model_rate):
            n = min(self.spec.hop - self._filled, len(at_model_rate) - at)
            self._hop[self._filled:self._filled + n] = at_model_rate[at:at + n]
            self._filled += n
            at += n
            if self._filled == self.spec.hop:
                stems = self._separator.step(self._hop, fresh)
                back = self._back.push(stems.reshape(len(stems), -1))
                self._stems[given:given + len(back)] = back.reshape(len(back), *stems.shape[1:])
                given += len(back)
                hops += 1
                self._filled = 0
        return self._stems[:given], hops

    def waiting(self, block: int, grid: int) -> int:
        """Counts through once around, or on every sample for a second."""
        spec = self.spec
        step = grid if self._regular else 1
        end = math.lcm(self.period, grid) if self._regular else self._rate
        taken = np.arange(0, end, step, dtype=np.int64) + 8 * math.lcm(self.period, step)
        hops = -(-(taken - self._in.lag) * self._in.up // self._in.down) // spec.hop
        back = -(-(hops * spec.hop - self._back.lag) * self._back.up // self._back.down)
        return block + int((taken - back).max())

    def gathering(self, block: int, grid: int) -> int:
        return math.ceil((self.spec.hop - 1) * self._rate / self.spec.sample_rate)

    def reset(self) -> None:
        self._separator.reset()
        self._in.reset()
        self._back.reset()
        self._filled = 0


def chain_for(separator: Separator, rate: int) -> Direct | Resampled:
    if rate == separator.spec.sample_rate:
        return Direct(separator)
    return Resampled(separator, rate)


def slack_samples(spec: StreamSpec, rate: int, slack: int) -> int:
    return math.ceil(slack * spec.hop * rate / spec.sample_rate)
