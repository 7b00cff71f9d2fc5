"""The drums stem: hits of the song's kit, then the drum bus."""

from __future__ import annotations

import numpy as np

from model.render_songs import effects as fx
from model.render_songs import kits
from model.render_songs.corpus import fade_out, put
from model.render_songs.effects import SR
from model.render_songs.take import Take

ACOUSTIC = ("muldjord", "gogodze")
SOFT_GENRES = ("ballad", "jazz", "latin")


def render(take: Take) -> np.ndarray:
    """[n, 2], at any level."""
    rng, nr = take.rng, take.nr
    name = kits.choose(take.song.g["kits"], take.corpus, take.sources, rng)
    kit = kits.assemble(name, take.corpus, take.sources, rng, nr)
    take.notes["kit"] = name
    gentle = take.song.genre in SOFT_GENRES
    touch = rng.choice([1.0, 0.7, 0.45, 0.3] if gentle else [1.0, 1.0, 1.0, 0.85, 0.6])
    groups = _hits(take, kit, rng.uniform(0.001, 0.006) if name in ACOUSTIC
                   else rng.choice([0, 0.001, 0.003]), touch)
    if rng.random() < 0.5:
        groups["snare"] = fx.reverb(groups["snare"], nr, rng.uniform(0.3, 1.2),
                                    rng.uniform(0.03, 0.15))
    if rng.random() < 0.6:
        groups["kick"] = fx.filt(groups["kick"], np.concatenate([
            fx.peaking(rng.uniform(50, 90), rng.uniform(-2, 5)),
            fx.peaking(rng.uniform(2500, 5000), rng.uniform(-3, 5))]))
    x = (groups["kick"] * fx.db(nr.normal(0, 1.5)) + groups["snare"] * fx.db(nr.normal(0, 1.5))
         + groups["rest"] * fx.db(nr.normal(0, 2)))
    x = fx.random_eq(fx.cut(x, 25), nr, 1.8)
    if rng.random() < 0.6:
        x = fx.compress(x, -rng.uniform(8, 22), rng.uniform(2, 6), rng.uniform(0.003, 0.03),
                        rng.uniform(0.05, 0.25))
    if rng.random() < 0.35:  # parallel smash
        x = x + 0.3 * fx.saturate(x, rng.uniform(1.5, 4))
    if name == "electronic" and rng.random() < 0.25:  # lo-fi
        x = fx.cut(x, None, rng.uniform(6000, 12000))
    x = fx.width(x, rng.uniform(0.6, 1.25))
    if rng.random() < 0.65:  # a room, now and then a big one that is driven
        big = rng.random() < 0.2
        x = fx.reverb(x, nr, rng.uniform(0.2, 0.9), rng.uniform(0.1, 0.4) if big
                      else rng.uniform(0, 0.1), rng.uniform(0, 0.02))
        if big and rng.random() < 0.5:
            x = fx.compress(x, -rng.uniform(16, 28), rng.uniform(3, 8), 0.003, 0.1)
    return x


def _hits(take: Take, kit: kits.Kit, human: float, touch: float) -> dict[str, np.ndarray]:
    """Every hit into its group, `human` seconds off its time; cymbals choke and damp. `touch`
    (0..1) is how hard the drummer plays: it chooses softer recordings, not a lower level."""
    rng, nr, hits = take.rng, take.nr, take.drums.hits
    groups = {"kick": take.empty(), "snare": take.empty(), "rest": take.empty()}
    hats = [t for t, piece, _ in hits if piece.startswith("hat")]
    tight, damp = rng.uniform(0.05, 0.2), rng.uniform(0.25, 0.7)
    following: dict[str, float] = {}
    until_next: dict[tuple[float, str], float] = {}
    for t, piece, _ in reversed(hits):
        if piece in ("ride", "crash"):
            until_next[t, piece] = following.get(piece, 1e9) - t
            following[piece] = t
    for t, piece, velocity in hits:
        if piece == "sidestick" and piece not in kit:
            piece, velocity = "snare", velocity * 0.45
        if piece not in kit:
            piece = "hat_closed" if piece.startswith("hat") else "perc"
        if piece not in kit:
            continue
        layers = kit[piece]
        at = velocity * touch * len(layers) - 0.5 + nr.normal(0, 0.7)
        x = layers[int(np.clip(at, 0, len(layers) - 1))]
        if piece == "hat_closed":
            x = fade_out(x[: int(rng.uniform(tight, tight * 1.5) * SR)].copy(), 2000)
        elif piece == "hat_open":  # choked by the next hat
            nearest = next((h for h in hats if h > t + 0.02), t + 1.5)
            x = fade_out(x[: max(int((nearest - t) * SR), 3000)].copy(), 1200)
        elif until_next.get((t, piece), 9) < 1.2:  # the next stroke damps the ring
            x = x * np.exp(-np.arange(len(x)) / SR / damp).astype(np.float32)[:, None]
        group = "kick" if piece == "kick" else "snare" if piece in ("snare", "clap") else "rest"
        put(groups[group], t + nr.normal(0, human), x * np.float32((0.25 + 0.75 * velocity) ** 1.3))
    return groups
