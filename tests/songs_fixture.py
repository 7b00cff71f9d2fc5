"""Tiny sound material and songs that the tests make themselves."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import soundfile

RATE = 44_100
STEMS = ("vocals", "drums", "bass", "other")


def make_corpus(root: Path) -> Path:
    """A corpus of noise drums, a humming voice and a soundfont, for both sides of the split."""
    rng = np.random.default_rng(0)
    rows = ["file\tkit\tpiece\tarticulation\tlayer"]
    make_soundfont(root / "soundfont" / "tone.sf2")
    (root / "drums").mkdir(parents=True)
    for kit in ("tin", "gogodze"):
        for piece, seconds in (("kick", 0.2), ("snare", 0.15), ("hat_closed", 0.1), ("clap", 0.1)):
            decay = np.exp(-np.arange(int(seconds * RATE)) / RATE * 30)[:, None]
            hit = rng.uniform(-0.5, 0.5, (len(decay), 2)) * decay
            file = f"{kit}_{piece}.wav"
            soundfile.write(root / "drums" / file, hit, RATE)
            rows.append(f"{file}\t{kit}\t{piece}\tnormal\t1")
    (root / "drums" / "index.tsv").write_text("\n".join(rows) + "\n")
    rows = ["file\tstart\tend\tspeaker"]
    (root / "voices").mkdir()
    for speaker, pitch in (("hum", 120), ("kathleen", 200)):
        t = np.arange(4 * RATE) / RATE
        tone = np.sum([np.sin(2 * np.pi * pitch * h * t) / h for h in range(1, 12)], 0)
        syllables = 0.55 - 0.45 * np.cos(2 * np.pi * 3 * t)
        voice = 0.1 * tone * syllables + rng.normal(0, 1e-4, len(t))
        soundfile.write(root / "voices" / f"{speaker}.wav", voice.astype(np.float32), RATE)
        rows += [f"{speaker}.wav\t{start}\t{start + 2}\t{speaker}" for start in (0, 1, 2)]
    (root / "voices" / "index.tsv").write_text("\n".join(rows) + "\n")
    return root


def make_soundfont(path: Path) -> None:
    """A SoundFont 2 file in which every General MIDI program and kit is one looped tone."""
    programs = [(number, 0) for number in range(128)] + [(number, 128) for number in range(128)]
    tone = (9000 * np.sin(2 * np.pi * np.arange(400) * 4 / 400)).astype("<i2").tobytes()
    name = b"tone".ljust(20, b"\0")
    bags, generators = len(programs), len(programs)
    parts = {
        b"phdr": b"".join(struct.pack("<20sHHHIII", name, number, bank, i, 0, 0, 0)
                          for i, (number, bank) in enumerate(programs))
        + struct.pack("<20sHHHIII", b"EOP", 0, 0, bags, 0, 0, 0),
        b"pbag": b"".join(struct.pack("<HH", i, 0) for i in range(bags + 1)),
        b"pmod": bytes(10),
        b"pgen": struct.pack("<HH", 41, 0) * generators + bytes(4),  # 41: instrument
        b"inst": struct.pack("<20sH", name, 0) + struct.pack("<20sH", b"EOI", 1),
        b"ibag": struct.pack("<HHHH", 0, 0, 3, 0),
        b"imod": bytes(10),
        # 38: release (timecents, half a second), 54: looped, 53: sample
        b"igen": struct.pack("<HhHHHH", 38, -1200, 54, 1, 53, 0) + bytes(4),
        b"shdr": struct.pack("<20sIIIIIBbHH", name, 0, 400, 0, 400, RATE, 69, 0, 0, 1)
        + struct.pack("<20sIIIIIBbHH", b"EOS", 0, 0, 0, 0, 0, 0, 0, 0, 0),
    }

    def chunk(tag: bytes, body: bytes) -> bytes:
        return tag + struct.pack("<I", len(body)) + body

    info = chunk(b"LIST", b"INFO" + chunk(b"ifil", struct.pack("<HH", 2, 1)))
    data = chunk(b"LIST", b"sdta" + chunk(b"smpl", tone + bytes(92)))
    presets = chunk(b"LIST", b"pdta" + b"".join(chunk(*part) for part in parts.items()))
    path.parent.mkdir(parents=True)
    path.write_bytes(chunk(b"RIFF", b"sfbk" + info + data + presets))


def make_songs(root: Path, count: int = 3, seconds: float = 1.0, seed: int = 0) -> Path:
    """Songs of coloured noise in the MUSDB18-HQ layout; the first one has no vocals."""
    rng = np.random.default_rng(seed)
    for i in range(count):
        folder = root / f"song_{i}"
        folder.mkdir(parents=True)
        for k, stem in enumerate(STEMS):
            if i == 0 and stem == "vocals":
                continue
            white = rng.normal(0, 1, (int(seconds * RATE), 2))
            width = 1 + 4 * k
            kernel = np.ones(width) / np.sqrt(width)
            x = np.stack([np.convolve(white[:, c], kernel, "same") for c in (0, 1)], 1)
            pcm = np.round(0.05 * 32767 * np.real(x)).astype(np.int16)
            soundfile.write(folder / f"{stem}.wav", pcm, RATE, subtype="PCM_16")
    return root
