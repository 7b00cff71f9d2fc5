"""Levels, bus compression and mastering of a song, and its folder on disk.

Bus gain, limiter and fades are the same for every stem, so that the stems still add up to the
mixture; the mixture is their sum in integers, so that they do so to the last bit.
"""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import numpy as np
import soundfile

from model.render_songs import STEMS, bass, drums, other, vocals
from model.render_songs import effects as fx
from model.render_songs.corpus import Corpus
from model.render_songs.effects import SR
from model.render_songs.parts import drum_part
from model.render_songs.song import Song
from model.render_songs.sources import SPLITS, Sources
from model.render_songs.take import Take, level

LEVELS_DB = {"drums": -17, "bass": -19, "other": -18, "vocals": -17.5}
RENDERERS = {"drums": drums.render, "bass": bass.render, "other": other.render,
             "vocals": vocals.render}
FULL_SCALE = 32767


def render_song(seed: int, seconds: float, corpus: Corpus, split: str = "train",
                ) -> tuple[dict[str, np.ndarray], dict]:
    """Stems by name, int16 [samples, 2], and the contents of song.json.

    The same arguments give the same samples. One seed gives another song in every split.
    """
    seed_of_split = seed * len(SPLITS) + SPLITS.index(split)
    song = Song(seed_of_split, seconds)
    sources = Sources(split)
    take = Take(song, corpus, sources, drum_part(song), int(seconds * SR),
                random.Random(seed_of_split * 7919 + 1), np.random.default_rng(seed_of_split))
    missing = take.rng.choices(STEMS, [4, 2, 2, 2])[0] if take.rng.random() < 0.1 else None
    stems = {}
    for name, render in RENDERERS.items():
        stems[name] = take.empty() if name == missing else render(take)
    stems = {name: _balanced(stems[name], LEVELS_DB[name], take.nr) for name in STEMS}
    gain = _master(stems, take.rng)
    pcm = {name: np.round(x * gain[:, None] * FULL_SCALE).astype(np.int32)
           for name, x in stems.items()}
    assert np.abs(sum(pcm.values())).max() <= FULL_SCALE, "the limiter let a peak through"
    info = {
        "seed": seed, "split": split, "genre": song.genre, "bpm": round(song.bpm, 1),
        "key": song.key, "mode": song.mode, "missing": missing,
        "sections": [s["name"] for s in song.section if s["at"] == 0], **take.notes,
        "sources": sorted(sources.used),
        "rms_db": {name: round(20 * np.log10(fx.rms(x / FULL_SCALE)), 1)
                   for name, x in pcm.items()},
    }
    return {name: x.astype(np.int16) for name, x in pcm.items()}, info


def write_song(folder: Path, stems: dict[str, np.ndarray], info: dict) -> None:
    """Writes a song's folder under a temporary name and renames it when it is whole."""
    partial = folder.with_name(f".{folder.name}.partial")
    partial.mkdir(parents=True, exist_ok=True)
    total = sum(x.astype(np.int32) for x in stems.values())
    for name, x in {**stems, "mixture": total}.items():
        soundfile.write(partial / f"{name}.wav", np.asarray(x).astype(np.int16), SR,
                        subtype="PCM_16")
    (partial / "song.json").write_text(json.dumps(info, indent=1) + "\n", encoding="utf-8")
    os.replace(partial, folder)


def _balanced(x: np.ndarray, target_db: float, nr: np.random.Generator) -> np.ndarray:
    if np.abs(x).max() <= 1e-6:
        return x
    return level(x, target_db + float(np.clip(nr.normal(0, 2.2), -5, 5)))


def _master(stems: dict[str, np.ndarray], rng: random.Random) -> np.ndarray:
    """Gain per sample [n]: bus compression, loudness, limiter and a fade at the end."""
    mixture = np.sum(list(stems.values()), 0)
    gain = fx.gain_curve(np.abs(mixture).max(1), rng.uniform(-14, -6), rng.uniform(1.3, 2.5),
                         rng.uniform(0.01, 0.04), rng.uniform(0.1, 0.4))
    gain = gain * np.float32(fx.db(rng.uniform(-2, 7)))
    peak = np.max([np.abs(x).max(1) for x in [mixture, *stems.values()]], 0)
    gain = gain * fx.limiter_curve(peak * gain, rng.uniform(0.7, 0.98))
    gain[-400:] *= np.linspace(1, 0, 400, dtype=np.float32)
    return gain
