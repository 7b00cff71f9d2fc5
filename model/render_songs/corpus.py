"""The corpus on disk: its indexes, decoded samples, and the soundfont player."""

from __future__ import annotations

import collections
import csv
import random
from pathlib import Path

import numpy as np
import soundfile
import tinysoundfont

from model.render_songs import CorpusError
from model.render_songs.effects import SR
from model.render_songs.parts import Note

CACHE_BYTES = 250 << 20
FLUSH = SR // 4
VOICE_COLUMNS = ("file", "start", "end", "speaker")
Key = tuple[str, str]  # instrument and articulation, or drum piece and articulation
Utterance = tuple[str, float, float]  # file, start and end in seconds


class Corpus:
    """Opens a corpus folder. `drums/` and `voices/` are required; what else is missing is not
    played. Raises CorpusError. One per process: the soundfont player has a state of its own."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        if not self.root.is_dir():
            raise CorpusError(f"{root}: no such folder; it should hold drums/, voices/, ...")
        self._decoded: collections.OrderedDict[str, np.ndarray] = collections.OrderedDict()
        self._bytes = 0
        # kit -> (piece, articulation) -> files from soft to loud
        self.drums: dict[str, dict[Key, list[str]]] = {}
        rows = self._index("drums", ("file", "kit", "piece", "articulation", "layer"))
        for row in sorted(rows, key=lambda row: int(row["layer"])):
            kit = self.drums.setdefault(row["kit"], {})
            kit.setdefault((row["piece"], row["articulation"]), []).append(row["file"])
        # (instrument, articulation) -> midi -> [(velocity, file)]
        self.notes: dict[Key, dict[int, list[tuple[int, str]]]] = {}
        for folder in ("bass", "guitar", "piano", "sax"):
            if (self.root / folder).is_dir():
                columns = ("file", "instrument", "articulation", "midi", "velocity")
                for row in self._index(folder, columns):
                    note = self.notes.setdefault((row["instrument"], row["articulation"]), {})
                    note.setdefault(int(row["midi"]), []).append((int(row["velocity"]),
                                                                  row["file"]))
        self.voices: dict[str, list[Utterance]] = {}
        for row in self._index("voices", VOICE_COLUMNS):
            self.voices.setdefault(row["speaker"], []).append(
                (row["file"], float(row["start"]), float(row["end"])))
        folder = self.root / "oneshots"
        self.oneshots = {file.stem: str(file) for file in sorted(folder.glob("*.flac"))}
        self._synth = tinysoundfont.Synth(samplerate=SR)
        self._soundfont = -1
        fonts = sorted((self.root / "soundfont").glob("*.sf[23]"))
        if fonts:
            try:
                self._soundfont = self._synth.sfload(str(fonts[0]))
            except (RuntimeError, tinysoundfont.SoundFontException) as error:
                raise CorpusError(f"{fonts[0]}: not a soundfont ({error})") from error

    @property
    def has_soundfont(self) -> bool:
        return self._soundfont >= 0

    def sample(self, file: str) -> np.ndarray:
        """A decoded file, float32 [samples, 2]; do not write into it. Raises CorpusError."""
        if file in self._decoded:
            self._decoded.move_to_end(file)
            return self._decoded[file]
        try:
            x, rate = soundfile.read(file, dtype="float32", always_2d=True)
        except (OSError, soundfile.LibsndfileError) as error:
            raise CorpusError(f"{file}: cannot be read ({error})") from error
        if rate != SR:
            raise CorpusError(f"{file}: sample rate is {rate} Hz, must be {SR} Hz")
        x = np.repeat(x, 2, 1) if x.shape[1] == 1 else x[:, :2]
        self._decoded[file] = x
        self._bytes += x.nbytes
        while self._bytes > CACHE_BYTES:
            self._bytes -= self._decoded.popitem(last=False)[1].nbytes
        return x

    def note(self, key: Key, midi: int, duration: float, velocity: float, rng: random.Random,
             release: float = 0.06) -> np.ndarray:
        """One sampled note, from the nearest recorded pitch and about the wanted velocity."""
        bank = self.notes[key]
        near = min(bank, key=lambda recorded: abs(recorded - midi))
        want = 1 + velocity * 5
        files = sorted(bank[near], key=lambda v: abs(v[0] - want) + rng.random() * 0.9)
        y = resample(self.sample(files[0][1]), 2 ** ((midi - near) / 12),
                     int((duration + release) * SR))
        return fade_out(y * np.float32(0.35 + 0.65 * velocity), int(release * SR))

    def play(self, key: Key, events: list[Note], n: int, rng: random.Random,
             nr: np.random.Generator, jitter: float = 0.004, release: float = 0.06) -> np.ndarray:
        """Sampled notes into a buffer [n, 2], each up to about `jitter` seconds off its time."""
        out = np.zeros((n, 2), np.float32)
        for t, duration, midi, velocity in events:
            put(out, t + nr.normal(0, jitter),
                self.note(key, midi, duration, velocity, rng, release))
        return out

    def program(self, number: int, events: list[Note], n: int, drum: bool = False) -> np.ndarray:
        """One General MIDI program of the soundfont, or a drum kit of it, into [n, 2]."""
        synth = self._synth
        try:
            synth.program_select(0, self._soundfont, 0, number, drum)
        except RuntimeError as error:
            kind = "drum kit" if drum else "program"
            raise CorpusError(f"{self.root / 'soundfont'}: it has no {kind} {number}") from error
        changes: list[tuple[int, int, int, int]] = []  # (sample, on, midi, velocity)
        for t, duration, midi, velocity in events:
            if 0 <= midi < 128:
                start = max(t, 0.0)
                changes.append((int(start * SR), 1, midi, int(np.clip(velocity * 127, 8, 127))))
                changes.append((int((start + duration) * SR), 0, midi, 0))
        out, at = [], 0
        for sample, on, midi, velocity in [*sorted(changes), (n, 0, 0, 0)]:
            sample = min(sample, n)
            if sample > at:
                out.append(np.frombuffer(bytes(synth.generate(sample - at)), dtype=np.float32))
                at = sample
            if on:
                synth.noteon(0, midi, velocity)
            else:
                synth.noteoff(0, midi)
        synth.sounds_off(0)
        synth.generate(FLUSH)  # notes that still fade would sound in the next part otherwise
        return np.concatenate(out).reshape(-1, 2)[:n].copy()

    def _index(self, folder: str, columns: tuple[str, ...]) -> list[dict[str, str]]:
        path = self.root / folder / "index.tsv"
        return [row | {"file": str(path.parent / row["file"])}
                for row in read_index(path, columns)]


def read_index(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """The rows of an index, which must have `columns`. Raises CorpusError."""
    try:
        with open(path, encoding="utf-8") as file:
            rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error.strerror})") from error
    lacking = [name for name in columns if not rows or name not in rows[0]]
    if lacking:
        raise CorpusError(f"{path}: has no rows with {', '.join(lacking)}")
    return rows


def resample(x: np.ndarray, ratio: float, n: int | None = None) -> np.ndarray:
    """Plays x [samples, 2] at speed `ratio`, linearly interpolated, for at most n samples."""
    m = max(int((len(x) - 2) / ratio), 1)
    m = m if n is None else max(min(m, n), 1)
    p = np.arange(m) * ratio
    i = p.astype(np.int64)
    f = (p - i).astype(np.float32)[:, None]
    return x[i] * (1 - f) + x[i + 1] * f


def put(out: np.ndarray, t: float, y: np.ndarray) -> None:
    """Adds y into `out` at t seconds; what falls outside is cut off."""
    i = round(t * SR)
    if i < 0:
        y, i = y[-i:], 0
    m = min(len(y), len(out) - i)
    if m > 0:
        out[i:i + m] += y[:m]


def fade_out(y: np.ndarray, n: int) -> np.ndarray:
    """Fades the last n samples of y, in place."""
    n = min(n, len(y))
    y[len(y) - n:] *= np.linspace(1, 0, n, dtype=np.float32)[:, None]
    return y
