"""Tables of musical style: scales, progressions, grooves and what each genre is made of.

A groove is sixteen steps a bar: X accent, x normal, g ghost, o open hat. A genre names its tempo
range, its swing choices, its drum kits with weights, its basses and bass styles, the parts of its
accompaniment (repeated names are likelier) and its own weight among the genres.
"""

from __future__ import annotations

from typing import Any

MODES: dict[str, list[int]] = {
    "major": [0, 2, 4, 5, 7, 9, 11],
    "minor": [0, 2, 3, 5, 7, 8, 10],
    "dorian": [0, 2, 3, 5, 7, 9, 10],
    "mixolydian": [0, 2, 4, 5, 7, 9, 10],
}
PROGRESSIONS = [
    [0, 4, 5, 3],
    [5, 3, 0, 4],
    [0, 5, 3, 4],
    [0, 3, 4, 3],
    [0, 2, 3, 4],
    [0, 6, 3, 0],
    [0, 0, 3, 4],
    [0, 3, 0, 4],
    [1, 4, 0, 5],
    [0, 6, 5, 4],
    [0, 0, 0, 0],
    [3, 4, 2, 5],
    [0, 5, 1, 4],
]
GROOVES: dict[str, list[dict[str, str]]] = {
    "rock": [
        dict(kick="X.......X.x.....", snare="....X.......X...", hat="X.x.X.x.X.x.X.x."),
        dict(kick="X..x....X.x....x", snare="....X.......X..g", hat="X.x.X.x.X.x.X.xo"),
        dict(kick="X.x...x.X.......", snare="....X..g.g..X...", hat="X.x.X.x.X.x.X.x."),
        dict(kick="X.....x...x.....", snare="........X.......", hat="X...x...X...x..."),
        dict(kick="X...X...X...X...", snare="..X...X...X...X.", hat="x.x.x.x.x.x.x.x."),
    ],
    "metal": [
        dict(kick="X.xxX.xxX.xxX.xx", snare="....X.......X...", hat="X...X...X...X..."),
        dict(kick="xxxxxxxxxxxxxxxx", snare="....X.......X...", hat="X.x.X.x.X.x.X.x."),
        dict(kick="X..X..X...X..X..", snare="........X.......", hat="X...X...X...X..."),
        dict(kick="X.x.x.x.X.x.x.x.", snare=".x.X.x.X.x.X.x.X", hat="X.x.X.x.X.x.X.x."),
    ],
    "funk": [
        dict(kick="X..x..x...x..x..", snare="....X..g.g..X..g", hat="XxxxXxxxXxxxXxxo"),
        dict(kick="X.x.......x..x..", snare="....X.g..g.gX...", hat="x.xxx.xxx.xxx.xo"),
        dict(kick="X.....x..xx.....", snare="....X..g.X..g..X", hat="X.xxX.xxXoxxX.xx"),
        dict(kick="X..X..X...X.X...", snare=".g..X.g.g..gX.g.", hat="X.x.X.x.X.x.X.x."),
    ],
    "house": [
        dict(
            kick="X...X...X...X...",
            clap="....X.......X...",
            hat="..o...o...o...o.",
            perc="x..x..x..x..x.x.",
        ),
        dict(kick="X...X...X...X..x", clap="....X.......X..x", hat="x.oxx.oxx.oxx.ox"),
        dict(
            kick="X...X...X...X...",
            snare="....X.......X...",
            hat="xxoxxxoxxxoxxxox",
            perc="...x...x..x....x",
        ),
    ],
    "hiphop": [
        dict(kick="X......x..x.....", snare="....X.......X...", hat="x.x.x.x.x.x.x.x."),
        dict(kick="X..x......x..x..", snare="....X.......X..g", hat="x.x.x.xxx.x.x.xx"),
        dict(kick="X.....x...X.....", clap="........X.......", hat="xxxxx.xxxxxxx.xx"),
        dict(kick="X.........x...x.", clap="....X.......X...", hat="x.xxx.x.xxx.xxxx"),
    ],
    "ballad": [
        dict(kick="X.......X.......", snare="....x.......x...", hat="x...x...x...x..."),
        dict(kick="X.........x.....", snare="........X.......", hat="x.x.x.x.x.x.x.x."),
        dict(kick="X.......x.x.....", sidestick="....X.......X...", hat="x.x.x.x.x.x.x.x."),
    ],
    "pop": [
        dict(kick="X.....x.X.....x.", snare="....X.......X...", hat="x.x.x.x.x.x.x.x."),
        dict(
            kick="X...X...X...X...",
            snare="....X.......X...",
            hat="x.x.x.x.x.x.x.x.",
            tambourine="..x...x...x...x.",
        ),
        dict(kick="X..x..x.X..x..x.", clap="....X.......X...", hat="x.xxx.xxx.xxx.xx"),
    ],
    "latin": [
        dict(
            kick="X..xX..xX..xX..x",
            sidestick="X..X..X...X..X..",
            hat="xxxxxxxxxxxxxxxx",
            perc="x.xx.xx.x.xx.xx.",
        ),
        dict(
            kick="X..x....X..x....",
            snare="...x..x....x..x.",
            hat="x.x.x.x.x.x.x.x.",
            perc="x..x..x...x.x...",
        ),
        dict(
            kick="X.....x.X.....x.",
            snare="...x..X....x..X.",
            hat="x.x.x.x.x.x.x.x.",
            cowbell="X...x.x.X...x.x.",
        ),
    ],
    "jazz": [
        dict(kick="x.......x.......", sidestick="....x.......x...", ride="X...x..xX...x..x"),
        dict(
            kick="x...x...x...x...",
            snare="......g...g....g",
            ride="X...x..xX...x..x",
            hat_pedal="....x.......x...",
        ),
    ],
}
GENRES: dict[str, dict[str, Any]] = {
    "rock": dict(
        bpm=(95, 170),
        swing=[0, 0, 0, 0.04],
        kits=dict(muldjord=5, gogodze=3, gm=1),
        bass=["growly", "growly", "picked", "gm"],
        style=["eighths", "kick", "root5"],
        parts=["dist", "dist", "clean", "organ", "strum", "lead_gtr", "piano", "pad"],
        p=1.3,
    ),
    "metal": dict(
        bpm=(90, 180),
        swing=[0],
        kits=dict(muldjord=6, gm=1),
        bass=["growly", "picked"],
        style=["eighths", "kick"],
        parts=["dist", "dist", "dist", "lead_gtr", "pad"],
        p=0.6,
    ),
    "funk": dict(
        bpm=(88, 124),
        swing=[0, 0.08, 0.14],
        kits=dict(muldjord=3, gogodze=4, gm=1),
        bass=["growly_st", "growly", "gm", "synth"],
        style=["funk", "octave"],
        parts=["clean", "clean", "ep", "organ", "brass", "sax", "clav"],
        p=1.0,
    ),
    "house": dict(
        bpm=(116, 134),
        swing=[0, 0, 0.1],
        kits=dict(electronic=5, gm=3, rumpf=1),
        bass=["synth", "synth", "gm"],
        style=["offbeat", "octave", "funk"],
        parts=["stab", "pad_synth", "arp", "piano", "lead_synth", "strings"],
        p=1.2,
    ),
    "hiphop": dict(
        bpm=(70, 104),
        swing=[0, 0.1, 0.18],
        kits=dict(electronic=4, rumpf=2, gogodze=2, gm=2),
        bass=["808", "808", "synth", "upright"],
        style=["kick", "long"],
        parts=["ep", "piano", "pad", "arp", "strings", "bell", "sax"],
        p=1.1,
    ),
    "ballad": dict(
        bpm=(70, 92),
        swing=[0, 0, 0.06],
        kits=dict(gogodze=3, muldjord=3, gm=2),
        bass=["growly", "gm", "upright"],
        style=["long", "root5"],
        parts=["piano", "piano", "strings", "strum", "pad", "ep", "clean", "lead_gtr"],
        p=1.1,
    ),
    "pop": dict(
        bpm=(86, 140),
        swing=[0, 0, 0.06],
        kits=dict(electronic=3, muldjord=3, gogodze=2, gm=2, rumpf=1),
        bass=["synth", "growly", "gm", "picked"],
        style=["eighths", "kick", "octave", "root5"],
        parts=[
            "strum",
            "piano",
            "stab",
            "pad_synth",
            "arp",
            "clean",
            "lead_synth",
            "strings",
            "bell",
        ],
        p=1.4,
    ),
    "latin": dict(
        bpm=(90, 130),
        swing=[0],
        kits=dict(muldjord=2, gogodze=3, gm=2),
        bass=["upright", "growly", "gm"],
        style=["tumbao", "root5"],
        parts=["strum", "piano", "brass", "sax", "marimba", "ep"],
        p=0.6,
    ),
    "jazz": dict(
        bpm=(90, 180),
        swing=[0.2, 0.3],
        kits=dict(gogodze=3, muldjord=2, gm=2),
        bass=["upright"],
        style=["walk"],
        parts=["piano", "clean", "sax", "ep", "organ", "brass"],
        p=0.5,
    ),
}
FILLS = ["toms", "snare_roll", "mixed", "stop", "half", "none"]
