"""Holds a step graph against PyTorch and against its quantised form, over many hops with state."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch

from model.network import BandSplitRNN
from rt.separator import Separator
from rt.session import Session
from rt.spec import CHANNELS, StreamSpec
from rt.stft import StreamingSTFT

TOLERANCE = 1e-4


def probe_signal(spec: StreamSpec, hops: int) -> np.ndarray:
    """[hops·hop, 2] float32: notes, noise and hits over 60 dB of level, then silence.

    Every state the network can be in should be visited, loud, quiet and empty.
    """
    rng = np.random.default_rng(2209)
    n = hops * spec.hop
    t = np.arange(n) / spec.sample_rate
    level = 10 ** (-3 * (0.5 - 0.5 * np.cos(2 * np.pi * 0.7 * t)))
    notes = sum(np.sin(2 * np.pi * f * t + rng.uniform(0, 6)) for f in (55, 110, 220, 331, 880))
    hits = rng.standard_normal(n) * np.exp(-(t % 0.35) * 30)
    noise = 0.1 * rng.standard_normal((n, CHANNELS))
    signal = 0.1 * level[:, None] * ((notes + 2 * hits)[:, None] * [0.9, 0.6] + noise)
    signal[-n // 10:] = 0
    return signal.astype(np.float32)


def compare_with_torch(network: BandSplitRNN, path: Path, hops: int) -> float:
    """Largest absolute difference of masks and states over `hops` hops with carried state."""
    session = Session(path, "cpu")
    spec = session.spec
    stft = StreamingSTFT(spec)
    state = network.fresh_state()
    worst = 0.0
    with torch.no_grad():
        for hop in probe_signal(spec, hops).reshape(hops, spec.hop, CHANNELS):
            spectrum = stft.analyse(hop)
            masks, state = network.step(torch.from_numpy(spectrum)[None], state)
            pairs = [(session.step(spectrum), masks[0, :-1].numpy())]
            pairs += zip(session.states().values(), (s[0].numpy() for s in state), strict=True)
            worst = max(worst, *(float(np.abs(a - b).max()) for a, b in pairs))
    return worst


def stem_sdr(path: Path, reference: Path, hops: int) -> dict[str, float]:
    """SDR in dB of each of `path`'s stems against those of `reference` for the test signal."""
    stems = []
    for file in (path, reference):
        separator = Separator(Session(file, "cpu"))
        stems.append(separator.push(probe_signal(separator.spec, hops)).astype(np.float64))
    error = ((stems[0] - stems[1]) ** 2).sum((0, 2))
    energy = (stems[1] ** 2).sum((0, 2))
    ratio = 10 * np.log10((energy + 1e-12) / (error + 1e-12))
    return dict(zip(separator.spec.stems, ratio.tolist(), strict=True))


def step_ms(path: Path, steps: int = 300) -> float:
    """Median milliseconds of a step run back to back on one thread (bench.latency paces them)."""
    session = Session(path, "cpu")
    spectrum = np.random.default_rng(0).standard_normal(
        (session.spec.bins, 2 * CHANNELS)).astype(np.float32)
    times = []
    for _ in range(steps):
        start = time.perf_counter()
        session.step(spectrum)
        times.append(time.perf_counter() - start)
    return 1e3 * float(np.median(times))
