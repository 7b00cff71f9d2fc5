"""Drum kits: which one-shots a song's drummer has, and how they are tuned and levelled."""

from __future__ import annotations

import random

import numpy as np

from model.render_songs.corpus import Corpus, fade_out, resample
from model.render_songs.effects import SR
from model.render_songs.sources import Sources

Kit = dict[str, list[np.ndarray]]  # piece -> stereo one-shots, from soft to loud

# Kits made of single hits: piece -> candidate files of the one-shots folder
ELECTRONIC = {
    "kick": ["bd_808", "bd_ada", "bd_boom", "bd_fat", "bd_gas", "bd_haus", "bd_klub", "bd_pure",
             "bd_tek", "bd_zum", "elec_hollow_kick", "elec_soft_kick", "drum_heavy_kick"],
    "snare": ["sn_dub", "sn_dolf", "sn_zome", "elec_snare", "elec_lo_snare", "elec_mid_snare",
              "elec_hi_snare", "elec_filt_snare", "drum_snare_hard"],
    "hat_closed": ["drum_cymbal_closed", "drum_cymbal_pedal", "elec_tick"],
    "hat_open": ["drum_cymbal_open", "elec_cymbal"],
    "crash": ["drum_splash_hard", "drum_cymbal_hard"],
    "ride": ["drum_cymbal_soft", "drum_splash_soft"],
    "tom_high": ["drum_tom_hi_hard", "elec_blup"],
    "tom_mid": ["drum_tom_mid_hard", "elec_bong"],
    "tom_low": ["drum_tom_lo_hard", "elec_fuzz_tom"],
    "perc": ["elec_wood", "elec_twip", "perc_snap", "perc_snap2", "elec_plip", "drum_cowbell",
             "elec_blip", "elec_ping"],
    "clap": ["perc_snap", "perc_snap2", "elec_snare"],
}
# The soundfont's kits share samples with each other, so all of them are on the training side.
GM_KITS = (0, 8, 16, 24, 25, 32, 40)
GM_KEYS = {
    "kick": 36, "snare": 38, "sidestick": 37, "clap": 39, "hat_closed": 42, "hat_open": 46,
    "crash": 49, "ride": 51, "tom_high": 50, "tom_mid": 47, "tom_low": 43, "perc": 70,
    "cowbell": 56, "tambourine": 54,
}
# Pieces that a kit without them borrows from another one; a snap will do for a clap.
BORROWED = {
    "crash": ("crash",), "ride": ("ride", "crash"), "hat_open": ("hat_open",),
    "tom_high": ("tom_high",), "tom_mid": ("tom_mid",), "tom_low": ("tom_low",),
    "clap": ("clap", "snap"), "tambourine": ("tambourine",), "perc": ("perc", "cowbell"),
    "cowbell": ("cowbell", "perc"),
}
LEVELS_DB = {
    "kick": 0, "snare": -1, "hat_closed": -11, "hat_open": -12, "hat_pedal": -13, "ride": -15,
    "ride_bell": -14, "crash": -8, "china": -9, "clap": -5, "tambourine": -12, "perc": -10,
    "cowbell": -12,
}
TUNED = ("kick", "snare", "tom_high", "tom_mid", "tom_low")
DAMPED = ("kick", "snare", "tom_low", "tom_mid", "clap")


def choose(weights: dict[str, int], corpus: Corpus, sources: Sources, rng: random.Random) -> str:
    """The name of a kit for a song: by the genre's weights where one of them is open."""
    whole = [name for name, kit in corpus.drums.items()
             if {"kick", "snare"} <= {piece for piece, _ in kit} and sources.open(f"kit/{name}")]
    able = list(whole)
    if corpus.oneshots:
        able.append("electronic")
    if corpus.has_soundfont and not sources.held_out:
        able.append("gm")
    names = [name for name in weights if name in able]
    if names:
        return rng.choices(names, [weights[name] for name in names])[0]
    return rng.choice(able)


def assemble(name: str, corpus: Corpus, sources: Sources, rng: random.Random,
             nr: np.random.Generator) -> Kit:
    """One drum kit for a song, with the song's own levels, tuning and decay."""
    if name == "electronic":
        kit = _electronic(corpus, sources, rng)
    elif name == "gm":
        kit = _soundfont(corpus, sources, rng)
    else:
        kit = _sampled(name, corpus, sources, rng)
    if "snare" in kit and name not in ("electronic", "gm") and rng.random() < 0.4:
        kit["snare"] = _borrow(corpus, sources, rng, ("snare",), "frankensnare") or kit["snare"]
    if name != "electronic" and corpus.oneshots and rng.random() < 0.2:
        _layer(kit, _electronic(corpus, sources, rng))
    for piece, names in BORROWED.items():
        if piece not in kit:
            hits = _borrow(corpus, sources, rng, names)
            if hits:
                kit[piece] = hits
    return _tune(kit, rng, nr)


def _electronic(corpus: Corpus, sources: Sources, rng: random.Random) -> Kit:
    kit: Kit = {}
    for piece, names in ELECTRONIC.items():
        able = [name for name in sources.among("oneshot", names) if name in corpus.oneshots]
        if able:
            name = rng.choice(able)
            sources.use(f"oneshot/{name}")
            kit[piece] = [corpus.sample(corpus.oneshots[name])]
    return kit


def _layer(kit: Kit, other: Kit) -> None:
    """Puts the other kit's kick and snare under those of `kit`, in place."""
    for piece in ("kick", "snare"):
        if piece not in kit or piece not in other:
            continue
        under = other[piece][0] / (np.abs(other[piece][0]).max() + 1e-6)
        under = under[: len(under) // 2]
        hits = []
        for x in kit[piece]:
            both = np.zeros((max(len(x), len(under)), 2), np.float32)
            both[: len(x)] = x
            both[: len(under)] += fade_out(under * (0.6 * np.abs(x).max()), 2000)
            hits.append(both)
        kit[piece] = hits


def _soundfont(corpus: Corpus, sources: Sources, rng: random.Random) -> Kit:
    number = rng.choice(GM_KITS)
    sources.use(f"gm_kit/{number}")
    kit: Kit = {}
    for piece, key in GM_KEYS.items():
        x = corpus.program(number, [(0, 1.0, key, 0.95)], int(1.8 * SR), drum=True)
        if np.abs(x).max() > 1e-3:
            kit[piece] = [fade_out(x, 4000)]
    return kit


def _sampled(name: str, corpus: Corpus, sources: Sources, rng: random.Random) -> Kit:
    sources.use(f"kit/{name}")
    articulations: dict[str, list[list[str]]] = {}
    for (piece, _), files in corpus.drums[name].items():
        articulations.setdefault(piece, []).append(files)
    return {piece: [corpus.sample(file) for file in rng.choice(several)]
            for piece, several in articulations.items()}


def _borrow(corpus: Corpus, sources: Sources, rng: random.Random, pieces: tuple[str, ...],
            only: str | None = None) -> list[np.ndarray]:
    """Hits of one of the pieces from any open kit (or from `only`); empty where there are none."""
    able = [(kit, piece, articulation)
            for kit, contents in corpus.drums.items() if only in (None, kit)
            for piece, articulation in contents
            if piece in pieces
            and sources.open(f"kit/{kit}", f"piece/{kit}/{piece}/{articulation}")]
    if not able:
        return []
    kit, piece, articulation = rng.choice(able)
    sources.use(f"piece/{kit}/{piece}/{articulation}")
    return [corpus.sample(file) for file in corpus.drums[kit][piece, articulation]]


def _tune(kit: Kit, rng: random.Random, nr: np.random.Generator) -> Kit:
    flip, out = rng.random() < 0.5, {}
    for piece, hits in kit.items():
        ratio = 2 ** (nr.normal(0, 1.3 if piece in TUNED else 0.7) / 12)
        loud = max(float(np.abs(x).max()) for x in hits) + 1e-6
        gain = 10 ** ((LEVELS_DB.get(piece, -2) + nr.normal(0, 1.8)) / 20) / loud * 0.8
        decay = rng.choice([None, None, 0.15, 0.3]) if piece in DAMPED else None
        out[piece] = []
        for x in hits:
            y = resample(x, ratio) * np.float32(gain)
            if decay:
                late = np.maximum(np.arange(len(y)) / SR - 0.05, 0)
                y *= np.exp(-late / decay).astype(np.float32)[:, None]
            out[piece].append(y[:, ::-1] if flip else y)
    return out
