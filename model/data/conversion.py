"""A track of any format as the folder that training maps: one 16-bit WAV per stem.

Training maps its files instead of decoding them (`songs`), so `.stem.mp4`, other sample formats
and sources that are parts of a stem are converted once, beforehand.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import soundfile

from model.data.songs import FULL_SCALE
from model.data.tracks import Track

PARTIAL = ".part"  # songs grow in this folder, where training does not look for them


def write_song(track: Track, root: Path, sample_rate: int) -> int:
    """Writes `root/TRACK/STEM.wav` unless the folder is there; returns how many values were over
    full scale and were clipped. The folder appears whole or not at all. Raises DataError."""
    folder, partial = root / track.name, root / PARTIAL / track.name
    if folder.exists():
        return 0
    shutil.rmtree(partial, ignore_errors=True)  # of an interrupted run
    partial.mkdir(parents=True)
    clipped = 0
    for stem in track.sounds:
        pcm = np.round(track.read(stem).T * FULL_SCALE)
        clipped += int(np.count_nonzero((pcm < -FULL_SCALE) | (pcm > FULL_SCALE)))
        soundfile.write(partial / f"{stem}.wav",
                        pcm.clip(-FULL_SCALE, FULL_SCALE - 1).astype(np.int16),
                        sample_rate, subtype="PCM_16")
    os.replace(partial, folder)
    return clipped
