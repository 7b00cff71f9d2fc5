"""Which sources a song may draw on: the held-out ones never occur in training songs.

A source is something a network could learn by heart: a voice, a drum kit, a borrowed drum piece,
a one-shot, a sampled instrument, a soundfont program. Songs of the splits `valid` and `test` use
held-out sources only, songs of `train` use all the others. Patches of the built-in synthesiser
are drawn anew for every song and belong to no split. Sources that the table does not name, such
as those that people add to the corpus, are for training.
"""

from __future__ import annotations

from collections.abc import Iterable

SPLITS = ("train", "valid", "test")

HELD_OUT = frozenset([
    "voice/kathleen",
    "kit/gogodze", "kit/rumpf",
    "piece/frankensnare/snare/10-basic", "piece/frankensnare/snare/14d-basic",
    "piece/frankensnare/snare/20m-tight",
    "piece/frankenperc/clap/stack", "piece/body/clap/hand", "piece/body/snap/right",
    "instrument/upright", "instrument/alto",
    *(f"oneshot/{name}" for name in (
        "bd_ada", "bd_gas", "bd_tek", "bd_zum", "sn_zome", "elec_hi_snare", "drum_snare_hard",
        "elec_tick", "elec_cymbal", "drum_splash_hard", "drum_splash_soft", "elec_blup",
        "elec_bong", "elec_fuzz_tom", "elec_wood", "elec_ping", "perc_snap2")),
    # General MIDI programs, counted from 0
    *(f"program/{number}" for number in (
        2, 3, 6, 10, 11, 13, 18, 24, 27, 30, 32, 35, 38, 49, 57, 62, 66, 71, 80, 90, 94)),
])


class Sources:
    """The sources open to one song, and those it has used so far."""

    def __init__(self, split: str) -> None:
        if split not in SPLITS:
            raise ValueError(f"split {split!r}: there is {', '.join(SPLITS)}")
        self.held_out = split != "train"
        self.used: set[str] = set()

    def open(self, *keys: str) -> bool:
        """Whether a source, named by its key or also by the key of the kit it is part of, is
        on this song's side."""
        return any(key in HELD_OUT for key in keys) == self.held_out

    def among(self, kind: str, names: Iterable[str | int]) -> list:
        """The names of one kind that are open, in order."""
        return [name for name in names if self.open(f"{kind}/{name}")]

    def use(self, key: str) -> None:
        self.used.add(key)
