"""What drums, bass and accompaniment play in a song: events, no sound.

Drum events are (t, piece, velocity); note events are (t, duration, midi, velocity).
"""

from __future__ import annotations

from dataclasses import dataclass

from model.render_songs.song import Song
from model.render_songs.styles import FILLS, GROOVES

Hit = tuple[float, str, float]
Note = tuple[float, float, int, float]


@dataclass(frozen=True)
class DrumPart:
    """The hits, and where the kicks are as (bar, step): the bass and the pumping follow them."""

    hits: list[Hit]
    kicks: list[tuple[int, int]]


def drum_part(song: Song) -> DrumPart:
    """Grooves for verse, chorus and bridge, fills at the ends of sections, crashes at starts."""
    rng = song.rng
    ev: list[Hit] = []
    kicks: list[tuple[int, int]] = []
    grooves = {s: dict(rng.choice(GROOVES[song.genre])) for s in ("verse", "chorus", "bridge")}
    if rng.random() < 0.6:
        grooves["chorus"] = dict(grooves["verse"])
    hat = {
        s: rng.choices(["hat_closed", "ride", "hat_open", "crash"], w)[0]
        for s, w in dict(
            verse=[8, 1, 0.4, 0],
            chorus=[4, 3, 1.5, 0.7 if song.genre in ("rock", "metal") else 0],
            bridge=[4, 3, 0.5, 0],
        ).items()
    }
    for gr in grooves.values():  # small personal changes
        k = list(gr["kick"])
        for i in range(1, 16):
            if rng.random() < 0.05 and song.genre not in ("house",):
                k[i] = "x" if k[i] == "." else "."
        gr["kick"] = "".join(k)
    vel = {"X": 1.0, "x": 0.75, "g": 0.25, "o": 0.8}
    fill_every = rng.choice([4, 4, 8])
    for b, s in enumerate(song.section):
        if not s["drums"]:
            continue
        key = s["name"] if s["name"] in grooves else "verse"
        gr, last = grooves[key], s["at"] == s["n"] - 1
        fill = (
            rng.choice(FILLS)
            if last or (s["at"] % fill_every == fill_every - 1 and rng.random() < 0.6)
            else "none"
        )
        stop = {
            "none": 16,
            "half": 12,
            "toms": rng.choice([8, 12]),
            "snare_roll": rng.choice([8, 12]),
            "mixed": 12,
            "stop": 14,
        }[fill]
        for piece, pat in gr.items():
            name = hat[key] if piece == "hat" else piece
            for i, ch in enumerate(pat[:stop]):
                if ch == ".":
                    continue
                nm = "hat_open" if ch == "o" and piece == "hat" else name
                v = vel[ch] * s["level"] * (1 if piece != "hat" or i % 4 == 0 else 0.75)
                ev.append((song.t(b, i), nm, min(1, v * rng.uniform(0.85, 1.08))))
                if nm == "kick":
                    kicks.append((b, i))
        if s["at"] == 0 and rng.random() < 0.8:
            ev.append((song.t(b, 0), rng.choice(["crash", "crash", "crash", "ride"]), 0.9))
        n = 16 - stop
        if fill == "toms":
            seq = rng.choice(
                [
                    ["tom_high", "tom_mid", "tom_low", "tom_low"],
                    ["snare", "tom_high", "tom_mid", "tom_low"],
                    ["tom_low", "tom_low", "kick", "tom_low"],
                ]
            )
            ev += [
                (song.t(b, stop + i), seq[min(3, i * 4 // n)], rng.uniform(0.65, 1))
                for i in range(n)
                if rng.random() < 0.9
            ]
        elif fill == "snare_roll":
            ev += [
                (song.t(b, stop + i), "snare", 0.3 + 0.7 * i / max(n - 1, 1)) for i in range(n)
            ]
        elif fill == "mixed":
            pieces = ["snare", "kick", "tom_low", "tom_high", "hat_open"]
            ev += [
                (song.t(b, stop + i), rng.choice(pieces), rng.uniform(0.6, 1)) for i in range(n)
            ]
        elif fill == "half":
            ev += [(song.t(b, 12), "kick", 0.9), (song.t(b, 14), "snare", 0.9)]
    if rng.random() < 0.3:  # tambourine or shaker layer in choruses
        p = rng.choice(["tambourine", "perc"])
        ev += [
            (song.t(b, i), p, 0.8 if i % 4 == 0 else 0.5)
            for b, s in enumerate(song.section)
            if s["name"] == "chorus" and s["drums"]
            for i in range(0, 16, rng.choice([2, 4, 1]))
        ]
    return DrumPart(sorted(ev), kicks)



def bass_part(song: Song, drums: DrumPart) -> tuple[str, list[Note]]:
    """The style that was drawn and the bass line."""
    rng = song.rng
    ev: list[Note] = []
    style, lo = rng.choice(song.g["style"]), 28
    gate = rng.uniform(0.6, 0.98)

    def fit(m: int) -> int:
        while m > lo + 16:
            m -= 12
        while m < lo:
            m += 12
        return m

    kicks: dict[int, list[int]] = {}
    for b, i in drums.kicks:
        kicks.setdefault(b, []).append(i)
    funk = [[0, 3, 6, 7, 10, 13], [0, 2, 6, 10, 11, 14], [0, 6, 8, 9, 14], [0, 3, 4, 8, 11, 14]]
    lick = [rng.choice(funk), rng.choice(funk)]
    for b, s in enumerate(song.section):
        if not s["bass"]:
            continue
        root, c = song.deg(song.chord(b), 2), song.chord(b)
        five, octv = song.deg(c + 4, 2), root + 12
        nxt = song.deg(song.chord(min(b + 1, song.bars - 1)), 2)
        ns = []  # (step, steps, midi, vel)
        if style == "eighths":
            ns = [
                (
                    i,
                    2,
                    root if i < 14 or rng.random() < 0.7 else nxt - 2,
                    0.9 if i % 4 == 0 else 0.75,
                )
                for i in range(0, 16, 2)
            ]
        elif style == "kick":
            ks = sorted(set(kicks.get(b, [0, 8]))) or [0]
            ns = [
                (
                    k,
                    (ks[j + 1] if j + 1 < len(ks) else 16) - k,
                    root if rng.random() < 0.85 else rng.choice([five, octv]),
                    0.9,
                )
                for j, k in enumerate(ks)
            ]
        elif style == "root5":
            ns = [
                (0, 6, root, 0.9),
                (6, 2, root, 0.7),
                (8, 6, five if rng.random() < 0.6 else root, 0.85),
                (14, 2, rng.choice([five, nxt]), 0.7),
            ]
        elif style == "long":
            ns = (
                [(0, 16, root, 0.85)]
                if rng.random() < 0.6
                else [(0, 10, root, 0.85), (10, 6, rng.choice([root, five]), 0.75)]
            )
        elif style == "octave":
            ns = [
                (i, 2, root if i % 4 == 0 else octv, 0.9 if i % 4 == 0 else 0.75)
                for i in range(0, 16, 2)
            ]
        elif style == "offbeat":
            ns = [
                (i, 2, root if rng.random() < 0.85 else octv, 0.85) for i in (2, 6, 10, 14)
            ] + ([(15, 1, five, 0.6)] if rng.random() < 0.3 else [])
        elif style == "funk":
            steps = lick[b % 2]
            ns = [
                (
                    k,
                    min((steps[j + 1] if j + 1 < len(steps) else 16) - k, rng.choice([1, 2, 3])),
                    rng.choice([root, root, octv, five, song.deg(c + 6, 2)]) if k else root,
                    1 if k == 0 else rng.uniform(0.5, 0.95),
                )
                for j, k in enumerate(steps)
            ]
        elif style == "tumbao":
            ns = [(0, 5, root, 0.85)] * (rng.random() < 0.4) + [
                (6, 6, five, 0.85),
                (12, 4, nxt, 0.9),
            ]
        elif style == "walk":
            path = [
                root,
                rng.choice([song.deg(c + 2, 2), song.deg(c + 1, 2)]),
                five,
                rng.choice([nxt - 1, nxt + 1, song.deg(c + 5, 2)]),
            ]
            ns = [(4 * i, 4, m, 0.8) for i, m in enumerate(path)]
        for st, d, m, v in ns:
            ev.append(
                (
                    song.t(b, st),
                    d * song.beat / 4 * gate,
                    fit(m),
                    min(1, v * s["level"] * rng.uniform(0.9, 1.08)),
                )
            )
    return style, sorted(ev)


def accompaniment(song: Song, kind: str, on: set[int]) -> list[Note]:
    """The notes of one part, which plays in the sections whose ids are in `on`."""
    rng = song.rng
    ev: list[Note] = []
    comp = rng.choice(
        [
            [0, 4, 8, 12],
            [0, 6, 8, 14],
            [0, 3, 6, 10, 13],
            [2, 6, 10, 14],
            [0, 7, 10],
            [0, 2, 6, 8, 11, 14],
            [4, 12],
        ]
    )
    strum = rng.choice(
        [
            [0, 4, 6, 10, 12, 14],
            [0, 6, 8, 12, 14],
            [0, 2, 4, 6, 8, 10, 12, 14],
            [0, 3, 6, 8, 11, 14],
        ]
    )
    arp = [rng.randrange(4) for _ in range(16)]
    rate = rng.choice([1, 2, 2])
    octave = {
        "pad": 3,
        "pad_synth": 3,
        "strings": 3,
        "bell": 5,
        "arp": 4,
        "marimba": 4,
        "brass": 4,
    }.get(kind, 3)
    octave += (
        rng.choice([0, 0, 1])
        if kind in ("piano", "ep", "stab", "clean", "pad", "strings")
        else 0
    )
    motif = song.motif(rng.choice([1, 2]))
    d4 = song.beat / 4
    for b, s in enumerate(song.section):
        if s["id"] not in on:
            continue
        ts, lv = song.tones(b, octave), s["level"]
        inv = [m - 12 if m > 12 * (octave + 1) + 11 else m for m in ts]
        if kind in ("pad", "pad_synth", "strings"):
            ev += [(song.t(b, 0), 15.7 * d4, m, 0.6 * lv) for m in inv]
        elif kind in ("piano", "ep", "organ"):
            if comp == [4, 12] or (kind == "piano" and rng.random() < 0.35):
                ev += [
                    (
                        song.t(b, i),
                        4 * d4,
                        inv[(i // 2) % len(inv)] + (12 if i % 8 == 6 else 0),
                        rng.uniform(0.5, 0.75) * lv,
                    )
                    for i in range(0, 16, 2)
                ]
            else:
                ev += [
                    (song.t(b, i), 3 * d4, m, rng.uniform(0.55, 0.85) * lv)
                    for i in comp
                    for m in inv
                ]
            if kind == "piano" and rng.random() < 0.8:
                ev.append((song.t(b, 0), 12 * d4, ts[0] - 12, 0.7 * lv))
        elif kind in ("stab", "clav"):
            ev += [
                (song.t(b, i), 1.6 * d4, m, rng.uniform(0.6, 0.9) * lv)
                for i in (comp if kind == "stab" else strum)
                for m in inv
            ]
        elif kind == "brass":
            hits = [0, 6] if b % 2 else [10, 14]
            ev += [
                (song.t(b, i), rng.choice([1.5, 4]) * d4, m, 0.85 * lv)
                for i in hits
                if rng.random() < 0.8
                for m in inv
            ]
        elif kind in ("strum", "clean"):
            v6 = sorted({*ts, ts[0] - 12, ts[0] + 12, ts[1] + 12})[:5]
            for i in (
                strum
                if kind == "strum" or song.genre != "funk"
                else [0, 2, 3, 6, 8, 10, 11, 14]
            ):
                if rng.random() < 0.1:
                    continue
                ln = (1 if kind == "clean" and song.genre == "funk" else 2.5) * d4
                up = i % 4 == 2
                ev += [
                    (song.t(b, i) + 0.011 * j, ln, m, rng.uniform(0.5, 0.85) * lv)
                    for j, m in enumerate(v6[::-1] if up else v6)
                ]
        elif kind == "dist":
            r = song.deg(song.chord(b), 2)
            r += 12 if r < 40 else 0
            pat = (
                [(i, 2, i % 8 == 0) for i in range(0, 16, 2)]
                if strum[1] == 2
                else [(i, 3, True) for i in strum]
            )
            if s["name"] == "chorus" and comp[0] == 0:
                pat = [(0, 8, True), (8, 8, True)]
            ev += [
                (song.t(b, i), n * d4 * 0.92, r + k, (0.9 if acc else 0.7) * lv)
                for i, n, acc in pat
                for k in (0, 7, 12)
            ]
        elif kind in ("arp", "marimba", "plucked"):
            ev += [
                (
                    song.t(b, i),
                    rate * d4,
                    [*ts, ts[0] + 12][arp[i] % (len(ts) + 1)],
                    rng.uniform(0.5, 0.8) * lv,
                )
                for i in range(0, 16, rate)
            ]
        elif kind in ("bell", "lead_gtr", "lead_synth", "sax", "solo"):
            if s["vocals"] and kind != "bell" and s["at"] % 4 != 3 and rng.random() < 0.8:
                continue  # leave room for the singer
            base = 60 if kind == "sax" else 64
            for st, n, dg in motif[b % len(motif)]:
                m = song.deg(dg + (song.chord(b) if rng.random() < 0.5 else 0), 4)
                while m > base + 15:
                    m -= 12
                while m < base - 4:
                    m += 12
                ev.append((song.t(b, st), n * d4 * 0.95, m, rng.uniform(0.65, 1) * lv))
    return sorted(ev)
