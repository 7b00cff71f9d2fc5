"""Audio effects on float32 arrays [samples, 2] at 44.1 kHz; each returns a new array.

Filters are rows of second-order sections (RBJ Audio EQ Cookbook), as scipy takes them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import minimum_filter1d, uniform_filter1d
from scipy.signal import butter, lfilter, oaconvolve, sosfilt

SR = 44100


def db(x: float) -> float:
    """Decibels to a linear gain."""
    return 10.0 ** (x / 20.0)


def rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64)) + 1e-20))


def peaking(f: float, gain_db: float, q: float = 0.9) -> np.ndarray:
    """RBJ peaking filter as one second-order section."""
    a, w = db(gain_db / 2), 2 * np.pi * f / SR
    al = np.sin(w) / (2 * q)
    b = np.array([1 + al * a, -2 * np.cos(w), 1 - al * a, 1 + al / a, -2 * np.cos(w), 1 - al / a])
    return (b / b[3])[None]


def shelf(f: float, gain_db: float, high: bool) -> np.ndarray:
    """RBJ shelving filter as one second-order section."""
    a, w = db(gain_db / 2), 2 * np.pi * f / SR
    c, s = np.cos(w), np.sin(w) / 2 * np.sqrt(2.0)
    g = 1 if high else -1
    r = 2 * np.sqrt(a) * s
    b = np.array(
        [
            a * ((a + 1) + g * (a - 1) * c + r),
            -g * 2 * a * ((a - 1) + g * (a + 1) * c),
            a * ((a + 1) + g * (a - 1) * c - r),
            (a + 1) - g * (a - 1) * c + r,
            g * 2 * ((a - 1) - g * (a + 1) * c),
            (a + 1) - g * (a - 1) * c - r,
        ]
    )
    return (b / b[3])[None]


def filt(x: np.ndarray, sos: np.ndarray) -> np.ndarray:
    return np.asarray(sosfilt(sos, x, axis=0)).astype(np.float32)


def cut(
    x: np.ndarray, lo: float | None = None, hi: float | None = None, order: int = 2
) -> np.ndarray:
    """High-pass at lo and/or low-pass at hi."""
    if lo:
        x = filt(x, np.asarray(butter(order, lo, "high", fs=SR, output="sos")))
    if hi and hi < SR * 0.48:
        x = filt(x, np.asarray(butter(order, hi, "low", fs=SR, output="sos")))
    return x


def random_eq(
    x: np.ndarray, nr: np.random.Generator, amount: float, lo: float = 120, hi: float = 9000
) -> np.ndarray:
    """Two random bells and two random shelves: a different tone for every song."""
    rows = [
        peaking(
            np.exp(nr.uniform(np.log(lo), np.log(hi))), nr.normal(0, amount), nr.uniform(0.5, 1.6)
        )
        for _ in range(2)
    ]
    rows += [
        shelf(nr.uniform(80, 250), nr.normal(0, amount * 0.6), False),
        shelf(nr.uniform(4000, 10000), nr.normal(0, amount * 0.8), True),
    ]
    return filt(x, np.concatenate(rows))


def gain_curve(
    level: np.ndarray, thr_db: float, ratio: float, att: float, rel: float, block: int = 64
) -> np.ndarray:
    """Compressor gain per sample from a mono level signal (block peak detector)."""
    n = len(level)
    nb = -(-n // block)
    p = np.zeros(nb * block, np.float32)
    p[:n] = np.abs(level)
    lv = 20 * np.log10(p.reshape(nb, block).max(1) + 1e-7)
    want = np.minimum(0.0, (thr_db - lv) * (1 - 1 / ratio))
    ka, kr = np.exp(-block / SR / att), np.exp(-block / SR / rel)
    g, out = 0.0, np.empty(nb + 1)
    for i, w in enumerate(want.tolist()):
        k = ka if w < g else kr
        g = w + k * (g - w)
        out[i] = g
    out[nb] = g
    curve_db = np.interp(np.arange(n), np.arange(nb + 1) * block, out)
    return (10.0 ** (curve_db / 20)).astype(np.float32)


def compress(
    x: np.ndarray, thr: float, ratio: float, att: float = 0.008, rel: float = 0.12
) -> np.ndarray:
    """Threshold is relative to the loud part of x, so it works at any input level."""
    ref = 20 * np.log10(np.percentile(np.abs(x[::16]), 99) + 1e-7)
    g = gain_curve(np.abs(x).max(1), ref + thr * 0.5, ratio, att, rel)
    return x * g[:, None]


def limiter_curve(
    level: np.ndarray, ceiling: float, look: int = 220, rel: float = 0.08
) -> np.ndarray:
    """Look-ahead peak limiter gain; the limited peak never exceeds the ceiling."""
    need = np.minimum(1.0, ceiling / (np.abs(level) + 1e-9)).astype(np.float32)
    if need.min() >= 1.0:
        return need
    block = 32
    n = len(need)
    nb = -(-n // block)
    p = np.ones(nb * block, np.float32)
    p[:n] = need
    m = minimum_filter1d(p.reshape(nb, block).min(1), 2 * (look // block) + 3)
    k, g, out = np.exp(-block / SR / rel), 1.0, np.empty(nb)
    for i, w in enumerate(m.tolist()):
        g = w if w < g else w + k * (g - w)
        out[i] = g
    y = np.interp(np.arange(n), np.arange(nb) * block + block / 2, uniform_filter1d(out, 3))
    return np.minimum(y, need).astype(np.float32)


def saturate(x: np.ndarray, drive: float) -> np.ndarray:
    """Soft clipping that keeps the RMS level."""
    r = rms(x)
    y = np.tanh(x * (drive / (4 * r + 1e-9)))
    return (y * (r / rms(y))).astype(np.float32)


def reverb(
    x: np.ndarray,
    nr: np.random.Generator,
    t60: float,
    wet: float,
    predelay: float = 0.015,
    bright: float = 0.5,
) -> np.ndarray:
    """Synthetic room: decaying stereo noise, highs decay faster, a few early reflections."""
    n = int(t60 * SR)
    t = np.arange(n) / SR
    noise = nr.normal(0, 1, (n, 2)).astype(np.float32)
    lowp = np.asarray(lfilter([0.15], [1, -0.85], noise, axis=0))
    ir = (
        lowp * 2.2 * np.exp(-6.9 * t / t60)[:, None]
        + bright * (noise - lowp) * np.exp(-6.9 * t / (0.45 * t60))[:, None]
    )
    ir[: int(predelay * SR)] = 0
    for _ in range(7):
        ir[int(nr.uniform(0.004, 0.05) * SR) % n, nr.integers(2)] += nr.choice(
            [-1, 1]
        ) * nr.uniform(2, 8)
    H = np.abs(np.fft.rfft(ir, axis=0)) ** 2  # unit gain between 200 Hz and 5 kHz
    ir = (ir / (np.sqrt(H[int(200 * n / SR) : int(5000 * n / SR)].mean(0)) + 1e-9)).astype("f4")
    y = np.stack([oaconvolve(x[:, c], ir[:, c])[: len(x)] for c in (0, 1)], 1)
    return (x + wet * y).astype(np.float32)


def delay(
    x: np.ndarray, time: float, feedback: float, wet: float, pingpong: bool, hi: float = 4000
) -> np.ndarray:
    """Echo with filtered, decaying, optionally alternating repeats."""
    out, tap = x.copy(), cut(x, 200, hi, 1) * wet
    d = int(time * SR)
    for i in range(1, 6):
        if d * i >= len(x) or feedback ** (i - 1) < 0.05:
            break
        e = tap[: len(x) - d * i] * feedback ** (i - 1)
        if pingpong:
            e = e.mean(1, keepdims=True) * np.array(
                [[1.5, 0.4]] if i % 2 else [[0.4, 1.5]], np.float32
            )
        out[d * i :] += e
    return out


def chorus(
    x: np.ndarray,
    nr: np.random.Generator,
    depth: float = 0.0025,
    base: float = 0.012,
    rate: float = 0.8,
    wet: float = 0.5,
) -> np.ndarray:
    """Two modulated delay lines, one per side: widens mono sources."""
    t = np.arange(len(x))
    y = np.empty_like(x)
    for c in (0, 1):
        d = (base + depth * np.sin(2 * np.pi * rate * t / SR + nr.uniform(0, 6.28))) * SR
        y[:, c] = np.interp(t - d, t, x[:, c], left=0)
    return ((1 - wet * 0.4) * x + wet * y).astype(np.float32)


def pan(x: np.ndarray, p: float) -> np.ndarray:
    """Balance: p = 0 left ... 1 right."""
    return (
        x
        * np.array([[np.cos(p * np.pi / 2), np.sin(p * np.pi / 2)]], np.float32)
        * np.float32(np.sqrt(2))
    )


def width(x: np.ndarray, w: float) -> np.ndarray:
    """Scale the side signal."""
    m, s = x.mean(1, keepdims=True), (x[:, :1] - x[:, 1:]) / 2
    return np.concatenate([m + w * s, m - w * s], 1)


def passing(f: float, high: bool, q: float = 0.71) -> np.ndarray:
    """RBJ high-pass (or low-pass) filter as one second-order section."""
    w = 2 * np.pi * min(f, 0.45 * SR) / SR
    c, al = np.cos(w), np.sin(w) / (2 * q)
    k = (1 + c) / 2 if high else (1 - c) / 2
    b = np.array([k, -2 * k if high else 2 * k, k, 1 + al, -2 * c, 1 - al])
    return (b / b[3])[None]


def tremolo(x: np.ndarray, rate: float, depth: float, panned: bool) -> np.ndarray:
    """Loudness (or place) that swings `rate` times a second."""
    wave = np.sin(2 * np.pi * rate * np.arange(len(x)) / SR)[:, None]
    sides = np.array([[1.0, -1.0]]) if panned else np.ones((1, 2))
    return (x * (1 - depth * (0.5 + 0.5 * wave * sides))).astype(np.float32)


def swept(x: np.ndarray, nr: np.random.Generator, rate: float) -> np.ndarray:
    """A wah or slow filter: crossfades between three resonant bands, `rate` sweeps a second."""
    low = nr.uniform(250, 600)
    bands = [filt(x, peaking(f, nr.uniform(8, 14), 2.5)) for f in (low, low * 2, low * 4)]
    place = 1 + np.sin(2 * np.pi * rate * np.arange(len(x)) / SR + nr.uniform(0, 6))
    shares = [np.clip(1 - np.abs(place - k), 0, 1)[:, None] for k in range(3)]
    parts = [b * w for b, w in zip(bands, shares, strict=True)]
    return (0.5 * np.sum(parts, 0)).astype(np.float32)


def pump(x: np.ndarray, times: Sequence[float], depth: float, rel: float) -> np.ndarray:
    """Side-chain style ducking at the given times."""
    n = len(x)
    g = np.ones(n, np.float32)
    k = int(rel * SR)
    curve = (1 - depth * (1 - np.linspace(0, 1, k)) ** 1.5).astype(np.float32)
    for t in times:
        i = int(t * SR)
        if 0 <= i < n:
            m = min(k, n - i)
            g[i : i + m] = np.minimum(g[i : i + m], curve[:m])
    return x * g[:, None]
