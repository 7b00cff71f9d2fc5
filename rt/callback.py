"""The audio callback, compiled: no GIL, no allocation, nothing but copying, mixing and counting.

Apart because it runs on the device's own thread, where a Python callback was later than its
period half of the time. PortAudio calls it through a C pointer; the clock thread that drives the
null output calls the same code, and so do the tests.

Positions are absolute. The call at position p takes input [p, p + n), plays stems
[p - queue, ...) out of the ring, and knows the dry signal that belongs to them: input
[p - queue - alignment, ...). Late stems are skipped, never appended, so latency cannot grow.
While stems are missing it plays the dry signal at the level the stems had under the present
gains, so that a muted vocal stays down. Bypass is the dry signal too. Every switch is without a
step: gains and bypass slew, missing stems come back with a crossfade, and where they end without
warning the step is measured and decays.

Compiled code is cached by file, so it must not freeze a number that stands elsewhere: addresses
reach it in `context`, whose layout stands here and which rt.binding fills.
"""

from __future__ import annotations

import ctypes
import math
import sys
from typing import Any

import numpy as np
from llvmlite import ir
from numba import cfunc, from_dtype, njit, types
from numba.extending import intrinsic
from numba.np.numpy_support import carray

from rt.rings import load_acquire, store_release

# context, int64: addresses in this process, then constants
(PLAYED, INPUT_END, BLOCK_MAX, BLOCK_GCD, UNDERRUNS, SOURCE_MISSES, STEMS_END, QUEUE, ALIGNMENT,
 SOURCE_END, LENGTH, BYPASS, GAINS, LEVELS, SOURCE, INPUTS, OUTPUTS, STEMS, STATE,
 CAPACITY, STEM_COUNT, TAKES, IN_CHANNELS, IN_LEFT, IN_RIGHT, OUT_CHANNELS, OUT_LEFT, OUT_RIGHT,
 WAKE_FD, WAKE_STEP, CONTEXT_SIZE) = range(31)
FROM_DEVICE, FROM_SOURCE, FROM_SILENCE = range(3)  # what TAKES says

# state, float64: the callback's own memory; per-stem gains and energies follow from PER_STEM
(BYPASSED, WETNESS, RATIO, STEP_LEFT, STEP_RIGHT, LAST_LEFT, LAST_RIGHT, LAST_QUEUE,
 SLEW, FADE, DECLICK, ENERGY_SHARE, LEVEL_FALL, PER_STEM) = range(14)

TINY = 1e-9  # below this a decaying value is zero, lest it turn denormal

_jit = njit(nogil=True, cache=True)
_ulong = from_dtype(np.dtype(ctypes.c_ulong))  # 32 bits on Windows
SIGNATURE = types.intc(types.CPointer(types.float32), types.CPointer(types.float32), _ulong,
                       types.voidptr, _ulong, types.CPointer(types.int64))

if sys.platform == "win32":
    @_jit
    def _wake(fd, byte_address):
        pass  # the worker polls
else:
    _write = types.ExternalFunction("write", types.intp(types.intc, types.intp, types.intp))

    @_jit
    def _wake(fd, byte_address):
        if fd >= 0:
            _write(types.intc(fd), byte_address, 1)  # non-blocking: a full pipe is awake already


def _pointer(kind) -> Any:
    def cast(_context, address):
        pointer = types.CPointer(kind)

        def codegen(context, builder, _, args):
            return builder.inttoptr(args[0], context.get_value_type(pointer))
        return pointer(types.int64), codegen
    return intrinsic(cast)


_floats, _doubles = _pointer(types.float32), _pointer(types.float64)


def _to_address(_context, pointer):
    def codegen(_, builder, __, args):
        return builder.ptrtoint(args[0], ir.IntType(64))
    return types.int64(pointer), codegen


_address_of: Any = intrinsic(_to_address)


@_jit
def _gcd(a, b):
    while b:
        a, b = b, a % b
    return a


@_jit
def _peak_of(levels, index, peak, fall):
    """A meter: at least `peak`, otherwise falling."""
    levels[index] = max(np.float32(peak), levels[index] * np.float32(fall))
    if levels[index] < TINY:
        levels[index] = 0


@_jit
def _take(context, state, inp, position, n, wanted):
    """Input [position, position + n) into its ring; silence past `wanted` samples."""
    capacity = context[CAPACITY]
    mask = capacity - 1
    ring = carray(_floats(context[INPUTS]), (capacity, 2))
    take = context[TAKES]
    there = wanted
    if take == FROM_SOURCE:
        there = min(wanted, max(0, load_acquire(context[SOURCE_END]) - position))
        source = carray(_floats(context[SOURCE]), (capacity, 2))
        for k in range(there):
            i = (position + k) & mask
            ring[i, 0], ring[i, 1] = source[i, 0], source[i, 1]
        if there < wanted:
            store_release(context[SOURCE_MISSES], load_acquire(context[SOURCE_MISSES]) + 1)
    elif take == FROM_DEVICE and _address_of(inp) != 0:
        channels = context[IN_CHANNELS]
        device = carray(inp, (n * channels,))
        left, right = context[IN_LEFT], context[IN_RIGHT]
        for k in range(there):
            i = (position + k) & mask
            ring[i, 0] = device[k * channels + left]
            ring[i, 1] = device[k * channels + right]
    else:
        there = 0
    for k in range(there, n):
        i = (position + k) & mask
        ring[i, 0], ring[i, 1] = 0, 0
    peak = np.float32(0)
    for k in range(n):
        i = (position + k) & mask
        peak = max(peak, abs(ring[i, 0]), abs(ring[i, 1]))
    levels = carray(_floats(context[LEVELS]), (2,))
    _peak_of(levels, 0, peak, 1 - min(1.0, n * state[LEVEL_FALL]))


@_jit
def _ratio(current, energy):
    """Level of the stems under the present gains, relative to unity gains; at most 1."""
    weighted = total = plain = 0.0
    for s in range(current.shape[0]):
        weighted += current[s] * current[s] * energy[s]
        plain += current[s] * current[s]
        total += energy[s]
    if total < TINY:
        return min(1.0, math.sqrt(plain / current.shape[0]))
    return min(1.0, math.sqrt(weighted / total))


@_jit
def _dry(inputs, x, mask):
    if x < 0:
        return 0.0, 0.0
    return np.float64(inputs[x & mask, 0]), np.float64(inputs[x & mask, 1])


@_jit
def _sum(stems, x, mask, gains):
    left = right = 0.0
    if x >= 0:
        for s in range(gains.shape[0]):
            left += stems[x & mask, s, 0] * gains[s]
            right += stems[x & mask, s, 1] * gains[s]
    return left, right


@_jit
def _mix(context, state, position, n, queue):
    """Output [position, position + n) into its ring; True when all the stems were there."""
    capacity, count = context[CAPACITY], context[STEM_COUNT]
    mask = capacity - 1
    inputs = carray(_floats(context[INPUTS]), (capacity, 2))
    outputs = carray(_floats(context[OUTPUTS]), (capacity, 2))
    stems = carray(_floats(context[STEMS]), (capacity, count, 2))
    gains = carray(_doubles(context[GAINS]), (count,))
    levels = carray(_floats(context[LEVELS]), (2 + count,))
    own = carray(_doubles(context[STATE]), (PER_STEM + 3 * count,))
    current = own[PER_STEM:PER_STEM + count]
    energy = own[PER_STEM + count:PER_STEM + 2 * count]
    peaks = own[PER_STEM + 2 * count:]
    slew, fade, declick = state[SLEW], state[FADE], state[DECLICK]
    bypass_target = 1.0 if load_acquire(context[BYPASS]) != 0 else 0.0
    bypassed, wetness = state[BYPASSED], state[WETNESS]
    step_l, step_r = state[STEP_LEFT], state[STEP_RIGHT]
    last_l, last_r = state[LAST_LEFT], state[LAST_RIGHT]
    jumped = queue != state[LAST_QUEUE] and state[LAST_QUEUE] >= 0
    first = position - queue
    there = min(n, max(0, load_acquire(context[STEMS_END]) - first))
    align = load_acquire(context[ALIGNMENT])
    ratio = state[RATIO]
    ratio_step = (_ratio(current, energy) - ratio) / n
    share = state[ENERGY_SHARE]
    peak = 0.0
    for s in range(count):
        peaks[s] = 0
    for k in range(n):
        for s in range(count):
            current[s] += min(slew, max(-slew, gains[s] - current[s]))
        bypassed += min(slew, max(-slew, bypass_target - bypassed))
        ratio += ratio_step
        x = first + k
        dry_l, dry_r = _dry(inputs, x - align, mask)
        if k < there:
            left = right = 0.0
            if x >= 0:
                for s in range(count):
                    a, b = np.float64(stems[x & mask, s, 0]), np.float64(stems[x & mask, s, 1])
                    energy[s] += share * (a * a + b * b - energy[s])
                    a, b = a * current[s], b * current[s]
                    left, right = left + a, right + b
                    peaks[s] = max(peaks[s], abs(a), abs(b))
            wetness = min(1.0, wetness + fade)
            if wetness < 1.0:
                left = left * wetness + dry_l * ratio * (1 - wetness)
                right = right * wetness + dry_r * ratio * (1 - wetness)
        else:
            left, right = dry_l * ratio, dry_r * ratio
            jumped = jumped or wetness > 0
            wetness = 0.0
        if jumped:  # from where this would have come, had it always played
            if k < there:
                was_l, was_r = _sum(stems, x - 1, mask, current)
            else:
                was_l, was_r = _dry(inputs, x - 1 - align, mask)
                was_l, was_r = was_l * ratio, was_r * ratio
            step_l, step_r = last_l - was_l, last_r - was_r
            jumped = False
        last_l, last_r = left + step_l, right + step_r
        step_l = step_l * declick if abs(step_l) > TINY else 0.0
        step_r = step_r * declick if abs(step_r) > TINY else 0.0
        i = (position + k) & mask
        outputs[i, 0] = last_l * (1 - bypassed) + dry_l * bypassed
        outputs[i, 1] = last_r * (1 - bypassed) + dry_r * bypassed
        peak = max(peak, abs(outputs[i, 0]), abs(outputs[i, 1]))
    for s in range(count):
        if energy[s] < TINY * TINY:
            energy[s] = 0
        _peak_of(levels, 2 + s, peaks[s], 1 - min(1.0, n * state[LEVEL_FALL]))
    _peak_of(levels, 1, peak, 1 - min(1.0, n * state[LEVEL_FALL]))
    state[BYPASSED], state[WETNESS], state[RATIO] = bypassed, wetness, ratio
    state[STEP_LEFT], state[STEP_RIGHT] = step_l, step_r
    state[LAST_LEFT], state[LAST_RIGHT], state[LAST_QUEUE] = last_l, last_r, queue
    return there == n


@_jit
def _give(context, out, position, n, frames):
    """The output ring to the device's chosen channels; silence everywhere else."""
    capacity, channels = context[CAPACITY], context[OUT_CHANNELS]
    mask = capacity - 1
    ring = carray(_floats(context[OUTPUTS]), (capacity, 2))
    device = carray(out, (frames * channels,))
    left, right = context[OUT_LEFT], context[OUT_RIGHT]
    for k in range(frames * channels):
        device[k] = 0
    for k in range(n):
        i = (position + k) & mask
        if left == right:
            device[k * channels + left] = np.float32(0.5) * (ring[i, 0] + ring[i, 1])
        else:
            device[k * channels + left] = ring[i, 0]
            device[k * channels + right] = ring[i, 1]


@cfunc(SIGNATURE, cache=True)
def audio_callback(inp, out, frames, _time, _flags, user):
    context = carray(user, (CONTEXT_SIZE,))
    state = carray(_doubles(context[STATE]), (PER_STEM,))
    frames = np.int64(frames)
    position = load_acquire(context[PLAYED])
    queue = load_acquire(context[QUEUE])
    length = load_acquire(context[LENGTH])
    n = wanted = frames
    if length >= 0:  # the end is in sight: then what is still inside the latency, then nothing
        wanted = min(n, max(0, length - position))
        n = min(n, max(0, length + max(0, queue) + load_acquire(context[ALIGNMENT]) - position))
    store_release(context[BLOCK_MAX], max(load_acquire(context[BLOCK_MAX]), frames))
    if n > 0:
        store_release(context[BLOCK_GCD],
                      _gcd(_gcd(load_acquire(context[BLOCK_GCD]), position), frames))
        _take(context, state, inp, position, n, wanted)
        store_release(context[INPUT_END], position + n)
        if (position + n) // context[WAKE_STEP] > position // context[WAKE_STEP]:
            _wake(context[WAKE_FD], context[STATE])
        if queue >= 0:
            if not _mix(context, state, position, n, queue):
                store_release(context[UNDERRUNS], load_acquire(context[UNDERRUNS]) + 1)
        else:
            outputs = carray(_floats(context[OUTPUTS]), (context[CAPACITY], 2))
            for k in range(n):
                i = (position + k) & (context[CAPACITY] - 1)
                outputs[i, 0], outputs[i, 1] = 0, 0
    if _address_of(out) != 0:
        _give(context, out, position, n, frames)
    store_release(context[PLAYED], position + n)
    return 0
