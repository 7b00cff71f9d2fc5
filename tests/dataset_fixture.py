"""Tiny datasets in the layouts that people have: MUSDB18-HQ folders and one `.stem.mp4`."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import soundfile

RATE = 44_100
STEMS = ("vocals", "drums", "bass", "other")


def bursts(seconds: float, seed: int, level: float = 0.1) -> np.ndarray:
    """[n, 2] noise that comes and goes every half second or so, never twice alike."""
    rng = np.random.default_rng(seed)
    n = int(seconds * RATE)
    gains = np.repeat(rng.choice([0, 1e-4, 0.05, 1], n // 20_000 + 1), 20_000)[:n, None]
    return level * gains * rng.standard_normal((n, 2))


def write_song(folder: Path, seconds: float = 2.0, seed: int = 0, subtype: str = "PCM_16",
               names: tuple[str, ...] = STEMS, suffix: str = ".wav") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for k, name in enumerate(names):
        file = folder / f"{name}{suffix}"
        file.parent.mkdir(exist_ok=True)
        soundfile.write(file, bursts(seconds, 10 * seed + k), RATE, subtype=subtype)
    return folder


def encode_stem_file(file: Path, streams: list[np.ndarray]) -> Path:
    """[n, 2] signals as the sound streams of one file, in AAC as MUSDB18 has them."""
    file.parent.mkdir(parents=True, exist_ok=True)
    inputs: list[str] = []
    for k, stream in enumerate(streams):
        wav = file.with_name(f".{k}.wav")
        soundfile.write(wav, stream, RATE, subtype="FLOAT")
        inputs += ["-i", str(wav)]
    maps = [part for k in range(len(streams)) for part in ("-map", f"{k}:a")]
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", *inputs, *maps, "-c:a", "aac",
                    "-b:a", "256k", "-movflags", "+faststart", str(file)], check=True)
    for k in range(len(streams)):
        file.with_name(f".{k}.wav").unlink()
    return file
