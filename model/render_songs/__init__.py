"""Songs with separate stems, composed and rendered from a folder of licensed sound material.

    python -m model.render_songs --corpus DIR --out DIR --songs N --seconds S --seed K --jobs J

Each song is a folder in the MUSDB18-HQ layout: `mixture.wav`, `vocals.wav`, `drums.wav`,
`bass.wav`, `other.wav` (stereo, 44.1 kHz, 16 bit) and `song.json`, which says what was played and
which sources were used. The mixture is the exact integer sum of the four stems. docs/corpus.md
describes the corpus folder, so that people can add material of their own.
"""

from __future__ import annotations

STEMS = ("vocals", "drums", "bass", "other")


class CorpusError(ValueError):
    """A corpus that cannot be rendered from; the message names the path and what is missing."""
