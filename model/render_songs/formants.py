"""Invented voices: syllables from formant tables instead of recordings, drawn anew each time.

They fill in what the corpus lacks (low male singers) and make the choirs behind a lead. Vowels
are five resonances after the table in the Csound manual (appendix D, "Formant values").
"""

from __future__ import annotations

import numpy as np

from model.render_songs.singing import NEPER
from model.render_songs.voice import BINS, HZ, Syllable, smooth

# register -> vowel -> frequencies (Hz), levels (dB), bandwidths (Hz)
VOWELS: dict[str, dict[str, tuple[list[int], list[int], list[int]]]] = {
    "bass": {
        "a": ([600, 1040, 2250, 2450, 2750], [0, -7, -9, -9, -20], [60, 70, 110, 120, 130]),
        "e": ([400, 1620, 2400, 2800, 3100], [0, -12, -9, -12, -18], [40, 80, 100, 120, 120]),
        "i": ([250, 1750, 2600, 3050, 3340], [0, -30, -16, -22, -28], [60, 90, 100, 120, 120]),
        "o": ([400, 750, 2400, 2600, 2900], [0, -11, -21, -20, -40], [40, 80, 100, 120, 120]),
        "u": ([350, 600, 2400, 2675, 2950], [0, -20, -32, -28, -36], [40, 80, 100, 120, 120]),
    },
    "tenor": {
        "a": ([650, 1080, 2650, 2900, 3250], [0, -6, -7, -8, -22], [80, 90, 120, 130, 140]),
        "e": ([400, 1700, 2600, 3200, 3580], [0, -14, -12, -14, -20], [70, 80, 100, 120, 120]),
        "i": ([290, 1870, 2800, 3250, 3540], [0, -15, -18, -20, -30], [40, 90, 100, 120, 120]),
        "o": ([400, 800, 2600, 2800, 3000], [0, -10, -12, -12, -26], [70, 80, 100, 130, 135]),
        "u": ([350, 600, 2700, 2900, 3300], [0, -20, -17, -14, -26], [40, 60, 100, 120, 120]),
    },
    "alto": {
        "a": ([800, 1150, 2800, 3500, 4950], [0, -4, -20, -36, -60], [80, 90, 120, 130, 140]),
        "e": ([400, 1600, 2700, 3300, 4950], [0, -24, -30, -35, -60], [60, 80, 120, 150, 200]),
        "i": ([350, 1700, 2700, 3700, 4950], [0, -20, -30, -36, -60], [50, 100, 120, 150, 200]),
        "o": ([450, 800, 2830, 3500, 4950], [0, -9, -16, -28, -55], [70, 80, 100, 130, 135]),
        "u": ([325, 700, 2530, 3500, 4950], [0, -12, -30, -40, -64], [50, 60, 170, 180, 200]),
    },
}
NASAL, LATERAL, GLIDE, FRICATIVE, PLOSIVE = "nasal", "lateral", "glide", "fricative", "plosive"
ONSETS = (NASAL, LATERAL, GLIDE, FRICATIVE, FRICATIVE, PLOSIVE, PLOSIVE, "")


def invent(register: str, count: int, nr: np.random.Generator, vowels: str = "aeiou",
           consonants: bool = True) -> list[Syllable]:
    """`count` syllables of one invented singer of a register of VOWELS."""
    table = VOWELS[register]
    tract = nr.uniform(0.92, 1.09) * (1 + nr.normal(0, 0.03, 5))
    upper = np.exp(nr.uniform(np.log(4200), np.log(14000), 5)), nr.uniform(-58, -40, 5)
    wide, dull = nr.uniform(1.0, 1.9), nr.uniform(0, 5)
    airy = nr.uniform(0.15, 0.6)
    shapes = {v: _vowel(*table[v], tract, upper, wide, dull) for v in vowels}
    out = []
    for _ in range(count):
        vowel, end = shapes[str(nr.choice(list(vowels)))], shapes[str(nr.choice(list(vowels)))]
        if nr.random() < 0.6:
            end = vowel  # otherwise a diphthong
        out.append(_syllable(vowel, end, str(nr.choice(ONSETS)) if consonants else "", airy, nr))
    return out


def _vowel(hz: list[int], levels: list[int], widths: list[int], tract: np.ndarray,
           upper: tuple[np.ndarray, np.ndarray], wide: float, dull: float) -> np.ndarray:
    """Log power [bins] of a vowel."""
    power = np.full(BINS, 10 ** -7.0)
    lower = zip(np.array(hz) * tract, levels, np.array(widths) * wide, strict=True)
    for f, level, width in [*lower, *((f, g, 900.0) for f, g in zip(*upper, strict=True))]:
        power += 10 ** (level / 10) / (1 + ((HZ - f) / (width / 2)) ** 2)
    source = -dull * np.clip(np.log2(np.maximum(HZ, 1) / 1000), 0, 4)
    return np.log(power) + NEPER * source + smooth(np.log(power), 9) * 0.15


def _syllable(vowel: np.ndarray, end: np.ndarray, onset: str, airy: float,
              nr: np.random.Generator) -> Syllable:
    """Consonant, vowel and a short close, 5 ms a frame."""
    length, held, close = int(nr.integers(10, 24)) if onset else 3, 36, 14
    share = smooth(np.clip((np.arange(held + close) - 18) / 12, 0, 1), 9)[:, None]
    body = vowel * (1 - share) + end * share
    body[held:] += NEPER * np.linspace(0, -18, close)[:, None]
    air = np.clip(airy * (HZ / 9000) ** 0.9, 0.003, 1)
    head = np.repeat(vowel[None], length, 0)
    voiced = np.ones(length + held + close, bool)
    noise = np.repeat(air[None], len(voiced), 0)
    if onset == FRICATIVE:
        centre = float(np.exp(nr.uniform(np.log(2500), np.log(8000))))
        hiss = -12 - 22 * np.abs(np.log2(np.maximum(HZ, 1) / centre)) ** 1.3
        head = np.tile(NEPER * np.maximum(hiss - nr.uniform(2, 12), -90), (length, 1))
        voiced[:length] = nr.random() < 0.3
        noise[:length] = np.where(HZ > 1200, 1.0, 0.1)
    elif onset == PLOSIVE:
        centre = float(np.exp(nr.uniform(np.log(700), np.log(5000))))
        burst = NEPER * (-14 - 8 * np.abs(np.log2(np.maximum(HZ, 1) / centre)))
        head = np.full((length, BINS), -24.0)
        open_at = int(nr.integers(2, max(length // 2, 3)))
        decay = NEPER * -3.0 * np.arange(open_at)[:, None]
        head[length - open_at:] = np.maximum(burst + decay, -24)
        voiced[:length] = False
        noise[:length] = 1
    elif onset in (NASAL, LATERAL):
        murmur = -6 * np.clip(np.log2(np.maximum(HZ, 1) / 280), 0, 9) * (
            2.0 if onset == NASAL else 1.3) - 4
        head = np.tile(np.maximum(NEPER * murmur, vowel - 5), (length, 1))
    elif onset == GLIDE:
        moved = np.interp(HZ * nr.uniform(1.2, 1.9), HZ, vowel)
        mix = np.linspace(0, 1, length)[:, None]
        head = moved * (1 - mix) + vowel * mix - NEPER * 5 * (1 - mix)
    envelope = np.concatenate([head, body])
    k = min(3, length)  # formants move into the vowel
    for i in range(k):
        w = (i + 1) / (k + 1)
        envelope[length - k + i] = envelope[length - k + i] * (1 - w) + vowel * w
    return Syllable(envelope.astype(np.float32), noise.astype(np.float32),
                    np.full(len(voiced), 60.0), voiced, (length, length + 12, length + held - 1))
