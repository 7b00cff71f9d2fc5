"""Streaming STFT pair, one hop at a time, for stereo in and stereo stems out.

Left and right travel as one complex signal (left + i·right), so a stereo frame costs one complex
FFT, and a stem one more. The last stem needs none: it is what the others leave of the input, so
that the stems add up to it whatever the masks are. Compiled without the GIL: a step must not wait
for whatever else Python does. `python -m bench.latency` times it apart from the network.

A spectrum is float32 [bins, 4]: real left, real right, imaginary left, imaginary right.
Masks are float32 [stems - 1, bins, 4] in the same order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from rt.spec import CHANNELS, COMPRESSION, FLOOR, StreamSpec

_jit: Any = njit(nogil=True, fastmath=True, cache=True)
# Indices are unsigned: signed ones may be negative in Python, and checking that keeps a loop from
# being vectorised.
_0, _1, _2, _3, _4 = (np.uint64(i) for i in range(5))


@_jit
def _butterfly(xr, xi, yr, yi, a, step, o, apart, c1, s1, c2, s2, c3, s3):
    """Radix 4: values at a, a + step ... of x to o, o + apart ... of y, the last three turned by
    the factors c + i·s."""
    b, c, d = a + step, a + _2 * step, a + _3 * step
    sum_ac_r, sum_ac_i = xr[a] + xr[c], xi[a] + xi[c]
    dif_ac_r, dif_ac_i = xr[a] - xr[c], xi[a] - xi[c]
    sum_bd_r, sum_bd_i = xr[b] + xr[d], xi[b] + xi[d]
    rot_bd_r, rot_bd_i = xi[d] - xi[b], xr[b] - xr[d]
    yr[o], yi[o] = sum_ac_r + sum_bd_r, sum_ac_i + sum_bd_i
    ur, ui = dif_ac_r - rot_bd_r, dif_ac_i - rot_bd_i
    yr[o + apart], yi[o + apart] = ur * c1 - ui * s1, ur * s1 + ui * c1
    ur, ui = sum_ac_r - sum_bd_r, sum_ac_i - sum_bd_i
    yr[o + _2 * apart], yi[o + _2 * apart] = ur * c2 - ui * s2, ur * s2 + ui * c2
    ur, ui = dif_ac_r + rot_bd_r, dif_ac_i + rot_bd_i
    yr[o + _3 * apart], yi[o + _3 * apart] = ur * c3 - ui * s3, ur * s3 + ui * c3


@_jit
def _fft(xr, xi, yr, yi, cos, sin):
    """Stockham FFT, radix 4 with one pass of radix 2 where needed.

    Returns True when the result is in (xr, xi), False when it is in (yr, yi); the other pair is
    scratch. Real and imaginary part swapped on the way in and out make it the inverse.
    """
    quarter = np.uint64(cos.shape[0]) >> _2
    for p in range(quarter):  # every butterfly has factors of its own: vectors run across them
        c1, s1 = cos[p], sin[p]
        c2, s2 = c1 * c1 - s1 * s1, c1 * s1 + c1 * s1
        c3, s3 = c1 * c2 - s1 * s2, c1 * s2 + s1 * c2
        _butterfly(xr, xi, yr, yi, p, quarter, p << _2, _1, c1, s1, c2, s2, c3, s3)
    in_x = False
    xr, xi, yr, yi = yr, yi, xr, xi
    n = quarter
    m = _4  # butterflies with the same factors, which lie side by side
    while n >= _4:
        for p in range(n >> _2):
            w = p * m
            c1, s1 = cos[w], sin[w]
            c2, s2 = cos[_2 * w], sin[_2 * w]
            c3, s3 = cos[_3 * w], sin[_3 * w]
            for t in range(m):
                _butterfly(xr, xi, yr, yi, w + t, quarter, _4 * w + t, m, c1, s1, c2, s2, c3, s3)
        xr, xi, yr, yi = yr, yi, xr, xi
        in_x = not in_x
        n >>= _2
        m <<= _2
    if n == _2:
        for t in range(m):
            ar, ai, br, bi = xr[t], xi[t], xr[m + t], xi[m + t]
            yr[t], yi[t] = ar + br, ai + bi
            yr[m + t], yi[m + t] = ar - br, ai - bi
        in_x = not in_x
    return in_x


@_jit
def _window(history, oldest, window, ar, ai):
    """The frame, oldest sample first, out of a circular history [n_fft, 2]."""
    n = np.uint64(window.shape[0])
    start = np.uint64(oldest)
    turn = n - start
    for k in range(turn):
        ar[k] = history[start + k, 0] * window[k]
        ai[k] = history[start + k, 1] * window[k]
    for k in range(start):
        ar[turn + k] = history[k, 0] * window[turn + k]
        ai[turn + k] = history[k, 1] * window[turn + k]


@_jit
def _push(history, at, hop):
    """-> where the oldest sample is now"""
    n = history.shape[0]
    for k in range(hop.shape[0]):
        j = np.uint64((at + k) & (n - 1))
        history[j, 0], history[j, 1] = hop[k, 0], hop[k, 1]
    return (at + hop.shape[0]) & (n - 1)


@_jit
def _analyse(history, at, hop, window, spectrum, ar, ai, br, bi, cos, sin):
    """Takes a hop into the circular history and fills spectrum [bins, 4]; -> where the oldest
    sample of the history is."""
    oldest = _push(history, at, hop)
    _window(history, oldest, window, ar, ai)
    if _fft(ar, ai, br, bi, cos, sin):
        zr, zi = ar, ai
    else:
        zr, zi = br, bi
    n = np.uint64(window.shape[0])
    half = np.float32(0.5)
    spectrum[0, 0], spectrum[0, 1], spectrum[0, 2], spectrum[0, 3] = zr[0], zi[0], 0, 0
    for k in range(_1, (n >> _1) + _1):  # split left + i·right by conjugate symmetry
        q = n - k
        spectrum[k, 0] = half * (zr[k] + zr[q])
        spectrum[k, 1] = half * (zi[k] + zi[q])
        spectrum[k, 2] = half * (zi[k] - zi[q])
        spectrum[k, 3] = half * (zr[q] - zr[k])
    return oldest


@_jit
def _mask(spectrum, mask, ar, ai):
    """The product as left + i·right over all n_fft frequencies."""
    n = np.uint64(ar.shape[0])
    last = n >> _1
    for k in (_0, last):  # real signals have no imaginary part here
        ar[k] = spectrum[k, 0] * mask[k, 0] - spectrum[k, 2] * mask[k, 2]
        ai[k] = spectrum[k, 1] * mask[k, 1] - spectrum[k, 3] * mask[k, 3]
    for k in range(_1, last):
        xlr, xrr, xli, xri = spectrum[k, 0], spectrum[k, 1], spectrum[k, 2], spectrum[k, 3]
        mlr, mrr, mli, mri = mask[k, 0], mask[k, 1], mask[k, 2], mask[k, 3]
        lr, li = xlr * mlr - xli * mli, xlr * mli + xli * mlr
        rr, ri = xrr * mrr - xri * mri, xrr * mri + xri * mrr
        ar[k], ai[k] = lr - ri, li + rr
        ar[n - k], ai[n - k] = lr + ri, rr - li


@_jit
def _synthesise(history, oldest, spectrum, masks, window, tails, out, ar, ai, br, bi, cos, sin):
    """Masks the spectrum, transforms back and overlap-adds.

    tails [stems - 1, 2, synthesis] hold the running overlap, whose first hop is complete and goes
    to out [hop, stems, 2]; the last stem is what the others leave of the delayed input.
    """
    n, size = np.uint64(cos.shape[0]), np.uint64(window.shape[0])
    hop, stems = np.uint64(out.shape[0]), np.uint64(masks.shape[0])
    first = n - size
    for t in range(hop):
        j = (np.uint64(oldest) + first + t) & (n - _1)
        out[t, stems, 0], out[t, stems, 1] = history[j, 0], history[j, 1]
    for s in range(stems):
        _mask(spectrum, masks[s], ar, ai)
        if _fft(ai, ar, bi, br, cos, sin):  # real and imaginary swapped: the inverse
            zr, zi = ar, ai
        else:
            zr, zi = br, bi
        left, right = tails[s, 0], tails[s, 1]
        for t in range(hop):
            x = left[t] + window[t] * zr[first + t]
            y = right[t] + window[t] * zi[first + t]
            out[t, s, 0], out[t, s, 1] = x, y
            out[t, stems, 0] -= x
            out[t, stems, 1] -= y
        for t in range(hop, size - hop):
            left[t - hop] = left[t] + window[t] * zr[first + t]
            right[t - hop] = right[t] + window[t] * zi[first + t]
        for t in range(size - hop, size):
            left[t - hop] = window[t] * zr[first + t]
            right[t - hop] = window[t] * zi[first + t]


@_jit
def compress(spectrum, compressed):
    """model.bands.compress of a spectrum [bins, 4], into `compressed`. Not in the graph: ONNX
    Runtime takes five passes for it, a tenth of a step."""
    exponent, floor = np.float32((COMPRESSION - 1) / 2), np.float32(FLOOR)
    for k in range(np.uint64(spectrum.shape[0])):
        a, b, c, d = spectrum[k, 0], spectrum[k, 1], spectrum[k, 2], spectrum[k, 3]
        gain = (a * a + b * b + c * c + d * d + floor) ** exponent
        compressed[k, 0], compressed[k, 1] = a * gain, b * gain
        compressed[k, 2], compressed[k, 3] = c * gain, d * gain


class StreamingSTFT:
    """Keeps the last n_fft samples and the overlap of the stems. One thread at a time: analysis and
    synthesis share their scratch memory, because what a step does not touch need not be fetched."""

    def __init__(self, spec: StreamSpec) -> None:
        masked = len(spec.stems) - 1
        angle = 2 * np.pi * np.arange(spec.n_fft) / spec.n_fft
        self._analysis = spec.analysis_window().astype(np.float32)
        # the inverse FFT's 1/n is folded into the window
        self._synthesis = (spec.synthesis_window() / spec.n_fft).astype(np.float32)
        self._twiddles = np.cos(angle).astype(np.float32), (-np.sin(angle)).astype(np.float32)
        self._scratch = [np.zeros(spec.n_fft, np.float32) for _ in range(4)]
        self._history = np.zeros((spec.n_fft, CHANNELS), np.float32)
        self._oldest = 0
        self._tails = np.zeros((masked, CHANNELS, spec.synthesis), np.float32)
        self._spectrum = np.zeros((spec.bins, 2 * CHANNELS), np.float32)
        self._stems = np.zeros((spec.hop, masked + 1, CHANNELS), np.float32)
        self._hop_shape = spec.hop, CHANNELS
        self._mask_shape = masked, *self._spectrum.shape

    def reset(self) -> None:
        """Back to silence."""
        self._history[:] = 0
        self._oldest = 0
        self._tails[:] = 0

    def analyse(self, hop: np.ndarray) -> np.ndarray:
        """hop [H, 2] float32 -> spectrum [bins, 4] of the frame that ends with it, a buffer
        overwritten by the next call. Raises ValueError for another shape."""
        if hop.shape != self._hop_shape:
            raise ValueError(f"a hop is {list(self._hop_shape)}, not {list(hop.shape)}")
        self._oldest = _analyse(self._history, self._oldest, hop, self._analysis, self._spectrum,
                                *self._scratch, *self._twiddles)
        return self._spectrum

    def synthesise(self, masks: np.ndarray) -> np.ndarray:
        """masks [stems - 1, bins, 4] on the newest spectrum -> stems [H, stems, 2], a buffer
        overwritten by the next call. Raises ValueError for another shape."""
        if masks.shape != self._mask_shape:  # compiled code would write beyond its buffers
            raise ValueError(f"masks are {list(self._mask_shape)}, not {list(masks.shape)}")
        _synthesise(self._history, self._oldest, self._spectrum, masks, self._synthesis,
                    self._tails, self._stems, *self._scratch, *self._twiddles)
        return self._stems
