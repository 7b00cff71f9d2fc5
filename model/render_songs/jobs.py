"""One song as a job of its own process; apart from the command line, which spawned processes do
not import."""

from __future__ import annotations

import functools
from pathlib import Path

from model.render_songs.corpus import Corpus
from model.render_songs.mix import render_song, write_song

open_corpus = functools.cache(Corpus)  # one per process


def render_one(seed: int, corpus: Path, out: Path, seconds: float, split: str) -> str:
    """Renders and writes one song where it is not there yet; returns the line that reports it."""
    folder = out / f"song_{seed:05d}"
    if folder.exists():
        return f"{folder}: already there"
    stems, info = render_song(seed, seconds, open_corpus(corpus), split)
    write_song(folder, stems, info)
    return (f"{folder}: {info['genre']} {info['bpm']:.0f} bpm, kit {info.get('kit')}, bass "
            f"{info.get('bass')}, {'+'.join(info.get('parts', []))}, voice {info.get('singer')}")
