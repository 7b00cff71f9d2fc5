"""Streaming STFT pair, one hop at a time, for stereo in and stereo stems out.

Left and right travel as one complex signal (left + i·right), so a stereo frame costs one complex
FFT, and all stems share one batched inverse. Compiled without the GIL: a step must not wait for
whatever else Python does. `python -m bench.latency` times it apart from the network.

A spectrum is float32 [bins, 4]: real left, real right, imaginary left, imaginary right.
Masks are float32 [stems, bins, 4] in the same order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from rt.spec import CHANNELS, StreamSpec

_jit: Any = njit(nogil=True, fastmath=True, cache=True)


@_jit
def _fft(xr, xi, yr, yi, cos, sin, batch):
    """Stockham FFT (radix 4, one radix-2 stage where needed) over arrays [n, batch] laid flat.

    Returns True when the result is in (xr, xi), False when it is in (yr, yi); the other pair is
    scratch. Real and imaginary part swapped on the way in and out make it the inverse.
    """
    n = cos.shape[0]
    stride = 1
    in_x = True
    while n >= 4:
        quarter = n // 4
        m = stride * batch
        for p in range(quarter):
            c1, s1 = cos[p * stride], sin[p * stride]
            c2, s2 = cos[2 * p * stride], sin[2 * p * stride]
            c3, s3 = cos[3 * p * stride], sin[3 * p * stride]
            a, b = m * p, m * (p + quarter)
            c, d = m * (p + 2 * quarter), m * (p + 3 * quarter)
            o = 4 * p * m
            for t in range(m):
                sum_ac_r, sum_ac_i = xr[a + t] + xr[c + t], xi[a + t] + xi[c + t]
                dif_ac_r, dif_ac_i = xr[a + t] - xr[c + t], xi[a + t] - xi[c + t]
                sum_bd_r, sum_bd_i = xr[b + t] + xr[d + t], xi[b + t] + xi[d + t]
                rot_bd_r, rot_bd_i = xi[d + t] - xi[b + t], xr[b + t] - xr[d + t]
                yr[o + t] = sum_ac_r + sum_bd_r
                yi[o + t] = sum_ac_i + sum_bd_i
                ur, ui = dif_ac_r - rot_bd_r, dif_ac_i - rot_bd_i
                yr[o + m + t] = ur * c1 - ui * s1
                yi[o + m + t] = ur * s1 + ui * c1
                ur, ui = sum_ac_r - sum_bd_r, sum_ac_i - sum_bd_i
                yr[o + 2 * m + t] = ur * c2 - ui * s2
                yi[o + 2 * m + t] = ur * s2 + ui * c2
                ur, ui = dif_ac_r + rot_bd_r, dif_ac_i + rot_bd_i
                yr[o + 3 * m + t] = ur * c3 - ui * s3
                yi[o + 3 * m + t] = ur * s3 + ui * c3
        xr, xi, yr, yi = yr, yi, xr, xi
        in_x = not in_x
        n //= 4
        stride *= 4
    if n == 2:
        m = stride * batch
        for t in range(m):
            ar, ai, br, bi = xr[t], xi[t], xr[m + t], xi[m + t]
            yr[t], yi[t] = ar + br, ai + bi
            yr[m + t], yi[m + t] = ar - br, ai - bi
        in_x = not in_x
    return in_x


@_jit
def _analyse(history, oldest, window, spectrum, ar, ai, br, bi, cos, sin):
    """history [n_fft, 2] is circular, its oldest sample at `oldest`; fills spectrum [bins, 4]."""
    n = window.shape[0]
    for k in range(n):
        j = (oldest + k) & (n - 1)
        ar[k] = history[j, 0] * window[k]
        ai[k] = history[j, 1] * window[k]
    if _fft(ar, ai, br, bi, cos, sin, 1):
        zr, zi = ar, ai
    else:
        zr, zi = br, bi
    half = np.float32(0.5)
    for k in range(n // 2 + 1):  # split left + i·right by conjugate symmetry
        q = (n - k) & (n - 1)
        spectrum[k, 0] = half * (zr[k] + zr[q])
        spectrum[k, 1] = half * (zi[k] + zi[q])
        spectrum[k, 2] = half * (zi[k] - zi[q])
        spectrum[k, 3] = half * (zr[q] - zr[k])


@_jit
def _synthesise(spectrum, masks, window, tail, hop, ar, ai, br, bi, cos, sin):
    """Masks the spectrum, transforms back and overlap-adds.

    tail [synthesis, stems, 2] holds the running overlap; its first hop is complete on return.
    """
    stems = masks.shape[0]
    n = cos.shape[0]
    last = n // 2
    for k in range(last + 1):
        xlr, xrr, xli, xri = spectrum[k, 0], spectrum[k, 1], spectrum[k, 2], spectrum[k, 3]
        q = n - k
        for s in range(stems):
            mlr, mrr, mli, mri = masks[s, k, 0], masks[s, k, 1], masks[s, k, 2], masks[s, k, 3]
            lr, li = xlr * mlr - xli * mli, xlr * mli + xli * mlr
            rr, ri = xrr * mrr - xri * mri, xrr * mri + xri * mrr
            if k == 0 or k == last:  # real signals have no imaginary part here
                ar[k * stems + s], ai[k * stems + s] = lr, rr
            else:
                ar[k * stems + s], ai[k * stems + s] = lr - ri, li + rr
                ar[q * stems + s], ai[q * stems + s] = lr + ri, rr - li
    if _fft(ai, ar, bi, br, cos, sin, stems):  # real and imaginary swapped: the inverse
        zr, zi = ar, ai
    else:
        zr, zi = br, bi
    size = window.shape[0]
    for t in range(size - hop):
        for s in range(stems):
            tail[t, s, 0] = tail[t + hop, s, 0]
            tail[t, s, 1] = tail[t + hop, s, 1]
    for t in range(size - hop, size):
        for s in range(stems):
            tail[t, s, 0] = 0
            tail[t, s, 1] = 0
    first = n - size
    for t in range(size):
        for s in range(stems):
            tail[t, s, 0] += window[t] * zr[(first + t) * stems + s]
            tail[t, s, 1] += window[t] * zi[(first + t) * stems + s]


def _twiddles(n_fft: int) -> tuple[np.ndarray, np.ndarray]:
    angle = 2 * np.pi * np.arange(n_fft) / n_fft
    return np.cos(angle).astype(np.float32), (-np.sin(angle)).astype(np.float32)


class Analyzer:
    """Keeps the last n_fft samples; every hop gives the spectrum of the frame that ends with it."""

    def __init__(self, spec: StreamSpec) -> None:
        self._window = spec.analysis_window().astype(np.float32)
        self._twiddles = _twiddles(spec.n_fft)
        self._scratch = [np.zeros(spec.n_fft, np.float32) for _ in range(4)]
        self._history = np.zeros((spec.n_fft, CHANNELS), np.float32)
        self._oldest = 0
        self.spectrum = np.zeros((spec.bins, 2 * CHANNELS), np.float32)

    def reset(self) -> None:
        self._history[:] = 0
        self._oldest = 0

    def push(self, hop: np.ndarray) -> np.ndarray:
        """hop [H, 2] float32 -> spectrum [bins, 4], a buffer overwritten by the next call."""
        size, at = len(self._history), self._oldest
        first = min(len(hop), size - at)
        self._history[at:at + first] = hop[:first]
        self._history[:len(hop) - first] = hop[first:]
        self._oldest = (at + len(hop)) % size
        _analyse(self._history, self._oldest, self._window, self.spectrum,
                 *self._scratch, *self._twiddles)
        return self.spectrum


class Synthesizer:
    """Applies masks to a spectrum and overlap-adds the stems."""

    def __init__(self, spec: StreamSpec) -> None:
        self._hop = spec.hop
        # the inverse FFT's 1/n is folded into the window
        self._window = (spec.synthesis_window() / spec.n_fft).astype(np.float32)
        self._twiddles = _twiddles(spec.n_fft)
        self._scratch = [np.zeros(spec.n_fft * len(spec.stems), np.float32) for _ in range(4)]
        self._tail = np.zeros((spec.synthesis, len(spec.stems), CHANNELS), np.float32)

    def reset(self) -> None:
        self._tail[:] = 0

    def push(self, spectrum: np.ndarray, masks: np.ndarray) -> np.ndarray:
        """spectrum [bins, 4], masks [stems, bins, 4] -> stems [H, stems, 2], a view overwritten
        by the next call."""
        _synthesise(spectrum, masks, self._window, self._tail, self._hop,
                    *self._scratch, *self._twiddles)
        return self._tail[:self._hop]
