"""What the tests of offline separation share: songs to separate, and the stems read back."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from model.inference import __main__ as inference
from model.network import BandSplitRNN

STEMS = ("vocals", "drums", "bass", "other")
needs_ffmpeg = pytest.mark.skipif(not shutil.which("ffmpeg"), reason="ffmpeg is not installed")

Graph = tuple[Path, BandSplitRNN]


def music(samples: int, rate: int = 44_100, channels: int = 2) -> np.ndarray:
    """[samples, channels] float32: a few notes below 8 kHz that fade in and out."""
    t = np.arange(samples) / rate
    rng = np.random.default_rng(samples)
    notes = [np.sin(2 * np.pi * f * t[:, None] + rng.uniform(0, 6, channels))
             * rng.uniform(0.02, 0.1, channels) for f in rng.uniform(60, 8000, 12)]
    fade = np.minimum(1, np.minimum(np.arange(samples), np.arange(samples)[::-1]) / 2000)
    return (np.sum(notes, 0) * fade[:, None]).astype(np.float32)


def write(path: Path, samples: np.ndarray, rate: int = 44_100, subtype: str = "FLOAT") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(str(path), samples, rate, subtype=subtype)
    return path


def run(graph: Graph, source: Path, out: Path, *more: str) -> int:
    return inference.main(["-i", str(source), "-o", str(out), "-c", str(graph[0]), "-d", "cpu",
                           *more])


def read(out: Path, names: tuple[str, ...] = STEMS, song: str = "song",
         suffix: str = "wav") -> tuple[np.ndarray, int]:
    """[names, samples, channels] and the rate."""
    found = [soundfile.read(str(out / f"{song}_{name}.{suffix}"), dtype="float32", always_2d=True)
             for name in names]
    return np.stack([samples for samples, _ in found]), found[0][1]
