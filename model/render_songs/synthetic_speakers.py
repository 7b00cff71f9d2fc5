"""Adds the voices of free speech synthesisers to a corpus, for training songs.

    python -m model.render_songs.synthetic_speakers --corpus DIR \
        --flite rms --flite awb --flite slt --hts m001=nitech_jp_atr503_m001.htsvoice

The songs' singers are speakers whose syllables are sung, and a corpus has few of them. What is
said is nonsense of plain syllables. `flite` needs
the program of that name (its voices come with it), `--hts` the package pyopenjtalk-plus, which
speaks with any Japanese voice of Open JTalk. docs/corpus.md has where to find them and their
licences.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import soundfile

from model.render_songs import CorpusError
from model.render_songs.corpus import VOICE_COLUMNS, read_index

LEVEL_DBFS = -22.0  # RMS of an utterance, as in the rest of a corpus
GAP_S = 0.3
Voice = tuple[np.ndarray, int]  # mono samples and their rate

ONSETS = (*"bdfghklmnprstvwz", "br", "ch", "dr", "fl", "gr", "kl", "kr", "pl", "pr", "sh", "sl",
          "sp", "st", "tr")
VOWELS = ("a", "e", "i", "o", "oo", "ay", "ee", "ow", "ah", "er")
CODAS = ("", "", "", "n", "m", "l", "s", "t", "r", "ng", "nd")
KANA = ("あいうえおかきくけこさしすせそたちつてとなにぬねのはひふへほまみむめもやゆよらりるれろわ"
        "がぎぐげごだでどばびぶべぼぱぴぷぺぽざじずぜぞん")


def nonsense(rng: random.Random) -> str:
    """A few invented words that letter-to-sound rules can read."""
    def word() -> str:
        return "".join(rng.choice(ONSETS) + rng.choice(VOWELS)
                       for _ in range(rng.randint(1, 3))) + rng.choice(CODAS)

    return " ".join(word() for _ in range(rng.randint(4, 8)))


def kana(rng: random.Random) -> str:
    def word() -> str:
        return rng.choice(KANA[:-1]) + "".join(rng.choices(KANA, k=rng.randint(1, 4)))

    return "、".join("".join(word() for _ in range(2)) for _ in range(rng.randint(2, 3)))


def flite(name: str) -> Callable[[random.Random], Voice]:
    def speak(rng: random.Random) -> Voice:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "said.wav"
            subprocess.run(["flite", "-voice", name, "-t", nonsense(rng), "-o", str(file)],
                           check=True, capture_output=True)
            return soundfile.read(file, dtype="float32")

    try:
        listed = subprocess.run(["flite", "-lv"], check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise CorpusError(f"--flite {name}: cannot run flite ({error}); "
                          "on Debian it is the package flite") from error
    voices = listed.partition(":")[2].split()
    if name not in voices:
        raise CorpusError(f"--flite {name}: flite has {', '.join(voices)}")
    return speak


def hts(file: Path) -> Callable[[random.Random], Voice]:
    if not file.is_file():
        raise CorpusError(f"{file}: no such file; it should be an .htsvoice")
    try:
        import pyopenjtalk  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise CorpusError("--hts: needs the package pyopenjtalk-plus; install it with "
                          "`pip install pyopenjtalk-plus`") from error
    try:
        engine = pyopenjtalk.HTSEngine(  # pyright: ignore[reportPrivateImportUsage]
            str(file).encode())
    except RuntimeError as error:
        raise CorpusError(f"{file}: not a voice of Open JTalk ({error})") from error

    def speak(rng: random.Random) -> Voice:
        x = engine.synthesize(pyopenjtalk.extract_fullcontext(kana(rng)))
        return np.asarray(x, np.float32) / 32768, int(engine.get_sampling_frequency())

    return speak


def said(speak: Callable[[random.Random], Voice], seconds: float, seed: str) -> Iterator[Voice]:
    """Utterances of one speaker until there are `seconds` of them, all at one level."""
    rng, spent = random.Random(seed), 0.0
    while spent < seconds:
        x, rate = speak(rng)
        loudness = float(np.sqrt(np.mean(np.square(x))))
        if loudness == 0:
            continue
        x = x * (10 ** (LEVEL_DBFS / 20) / loudness)
        spent += len(x) / rate
        yield x / max(1.0, float(np.abs(x).max())), rate


def add(corpus: Path, name: str, speak: Callable[[random.Random], Voice], seconds: float) -> None:
    """Writes `voices/NAME.flac`, then its lines at the end of the index; each file appears whole
    or not at all. Raises CorpusError where the index has that speaker or file already."""
    index = corpus / "voices" / "index.tsv"
    sound = index.parent / f"{name}.flac"
    there = read_index(index, VOICE_COLUMNS)
    if any(row["speaker"] == name for row in there):
        raise CorpusError(f"{index}: it has a speaker {name} already")
    if any(row["file"] == sound.name for row in there):
        raise CorpusError(f"{index}: it has a file {sound.name} of another speaker already")
    pieces, rows, at, rate = [], [], 0, 0
    for x, rate in said(speak, seconds, name):
        row = {"file": sound.name, "start": f"{at / rate:.4f}",
               "end": f"{(at + len(x)) / rate:.4f}", "speaker": name}
        rows.append("\t".join(row.get(column, "") for column in there[0]))
        gap = np.zeros(int(GAP_S * rate), np.float32)
        pieces += [x, gap]
        at += len(x) + len(gap)
    text = index.read_text(encoding="utf-8").rstrip("\n")
    partial = sound.with_suffix(".partial")
    soundfile.write(partial, np.concatenate(pieces), rate, format="FLAC")
    os.replace(partial, sound)
    partial = index.with_suffix(".partial")
    partial.write_text("\n".join([text, *rows, ""]), encoding="utf-8")
    os.replace(partial, index)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m model.render_songs.synthetic_speakers",
        description="Adds voices of speech synthesisers to a corpus (docs/corpus.md).")
    parser.add_argument("--corpus", type=Path, required=True, help="folder, changed in place")
    parser.add_argument("--flite", action="append", default=[], metavar="NAME",
                        help="a voice of flite; can be given again")
    parser.add_argument("--hts", action="append", default=[], metavar="NAME=FILE",
                        help="a Japanese .htsvoice and the speaker's name; can be given again")
    parser.add_argument("--seconds", type=float, default=300.0,
                        help="of speech for each (default 300)")
    options = parser.parse_args(argv)
    if options.seconds <= 0:
        parser.error(f"--seconds {options.seconds:g}: must be more than 0")
    if not options.flite and not options.hts:
        parser.error("nothing to add: give --flite or --hts")
    try:
        voices = {name: flite(name) for name in options.flite}
        for given in options.hts:
            name, equals, file = given.partition("=")
            if not (name.isidentifier() and equals and file):
                raise CorpusError(f"--hts {given}: must be NAME=FILE, the name one word")
            if name in voices:
                raise CorpusError(f"--hts {given}: there is a speaker {name} before it")
            voices[name] = hts(Path(file))
        for name, speak in voices.items():
            add(options.corpus, name, speak, options.seconds)
            print(f"{name}: {options.seconds:g} s", flush=True)
    except (CorpusError, OSError, soundfile.LibsndfileError,
            subprocess.CalledProcessError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
