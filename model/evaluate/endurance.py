"""Does a model hold out? python -m model.evaluate.endurance --tier live --song SONG

One song over and over through the live separator, minutes on end and faster than real time:

    the end of the last repeat scores as the same place of the first      (every stem, in dB)
    no state grows, and all stay finite                       (largest magnitude, per repeat)
    digital silence after the music comes out silent                                   (dBFS)
    the song without its vocals gives a vocals stem far below the mixture                (dB)

Each figure is printed with its bound; the exit code is 1 where one is missed.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model.data import DataError
from model.data.tracks import Track, open_track
from model.metrics import SILENT_POWER, usdr
from rt.separator import Separator
from rt.session import Session, SessionError, packaged_model
from rt.spec import CHANNELS

DRIFT_DB = 0.3
GROWTH = 1.1  # a state's largest magnitude in the last repeat over that in the first two
SILENCE_DBFS = -90.0
INSTRUMENTAL_DB = -15.0
WINDOW_S = 60.0  # of the last repeat, compared with the first
SILENCE_S = 10.0
VOCALS = "vocals"


@dataclass(frozen=True)
class Check:
    """A measured figure, and the bound that it must not be above."""

    what: str
    value: float
    bound: float
    unit: str

    @property
    def passed(self) -> bool:
        return self.value <= self.bound  # NaN fails

    def __str__(self) -> str:
        verdict = "ok" if self.passed else "MISSED"
        return (f"{self.what:56} {self.value:9.3f} {self.unit:4} "
                f"(at most {self.bound:g}) {verdict}")


class Endurance:
    """One session, one song, cut to whole hops so that every repeat falls on the same ones."""

    def __init__(self, session: Session, track: Track) -> None:
        """Raises DataError."""
        self._session, spec = session, session.spec
        self._separator = Separator(session)
        self.stems = spec.stems
        self.targets = np.stack([track.read(stem) for stem in self.stems])
        self.targets = self.targets[..., :track.samples // spec.hop * spec.hop]
        self.mixture = self.targets.sum(0)
        if not self.mixture.size or not np.mean(np.square(self.mixture)) > SILENT_POWER:
            raise DataError(f"{track.path}: is silent")

    def checks(self, minutes: float) -> Iterator[Check]:
        spec = self._session.spec
        samples, late = self.mixture.shape[1], spec.algorithmic_latency
        repeats = max(2, math.ceil(60 * minutes * spec.sample_rate / samples))
        self._separator.reset()
        first, states = self._repeat()
        last, peaks = first, [states]
        for _ in range(repeats - 1):
            last, states = self._repeat()
            peaks.append(states)
        # what comes out while the song goes in begins with the end of the repeat before
        targets = np.roll(self.targets, late, -1)
        window = slice(max(late, samples - round(WINDOW_S * spec.sample_rate)), None)
        for stem, target, early, end in zip(self.stems, targets, first, last, strict=True):
            scores = [usdr(target[:, window], x[:, window]) for x in (early, end)]
            if not math.isnan(scores[0]):
                yield Check(f"{stem}: uSDR {scores[0]:.2f}, in repeat {repeats} {scores[1]:.2f}; "
                            "difference", abs(scores[1] - scores[0]), DRIFT_DB, "dB")
        for name in peaks[0]:
            every = [peak[name] for peak in peaks]
            yield Check(f"state {name}: largest {max(every):.3f}; growth",
                        every[-1] / max(*every[:2], 1e-9), GROWTH, "")
        yield Check("silence after the music", self._silence(), SILENCE_DBFS, "dBFS")
        if VOCALS in self.stems:
            yield self._instrumental()

    def _repeat(self) -> tuple[np.ndarray, dict[str, float]]:
        """The song once more -> stems [stems, 2, n], late by the latency, and each state's largest
        magnitude; NaN where one is not finite."""
        spec = self._session.spec
        block = max(1, round(spec.sample_rate / (2 * spec.hop))) * spec.hop
        stems, peaks = [], []
        for start in range(0, self.mixture.shape[1], block):
            stems.append(self._feed(self.mixture[:, start:start + block]))
            peaks.append([np.abs(state).max() for state in self._session.states().values()])
        largest = np.max(peaks, 0, initial=0)  # NaN goes through
        return np.concatenate(stems, -1), dict(zip((s.name for s in spec.states),
                                                   largest.tolist(), strict=True))

    def _feed(self, signal: np.ndarray) -> np.ndarray:
        """signal [2, n] -> stems [stems, 2, m]"""
        return self._separator.push(np.ascontiguousarray(signal.T)).transpose(1, 2, 0)

    def _silence(self) -> float:
        """Peak in dBFS of what comes out once the analysis window has forgotten the music."""
        spec = self._session.spec
        self._feed(np.zeros((CHANNELS, spec.n_fft + spec.synthesis), np.float32))
        quiet = self._feed(np.zeros((CHANNELS, round(SILENCE_S * spec.sample_rate)), np.float32))
        return 20 * math.log10(max(float(np.abs(quiet).max()), 1e-12))

    def _instrumental(self) -> Check:
        self._separator.reset()
        without = self.mixture - self.targets[self.stems.index(VOCALS)]
        vocals = self._feed(without)[self.stems.index(VOCALS)]
        powers = [float(np.mean(np.square(x, dtype=np.float64))) for x in (vocals, without)]
        level = 10 * math.log10(max(powers[0], 1e-20) / max(powers[1], 1e-20))
        return Check("vocals of the song without its vocals", level, INSTRUMENTAL_DB, "dB")


def main(argv: list[str] | None = None) -> int:
    args = _parse(argv)
    try:
        session = Session(args.model or packaged_model(args.tier, provider="cpu"), "cpu")
        spec = session.spec
        track = open_track(args.song, spec.stems, {}, spec.sample_rate)
        print(f"{session.path.name} on {args.song}, {args.minutes:g} minutes", flush=True)
        missed = 0
        for check in Endurance(session, track).checks(args.minutes):
            print(check, flush=True)
            missed += not check.passed
    except (DataError, SessionError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{missed} missed" if missed else "all within their bounds")
    return 1 if missed else 0


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m model.evaluate.endurance",
                                     description="Does a model hold out for minutes?")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--tier", default="live", help="packaged model: live (default) or ultra")
    source.add_argument("--model", type=Path, metavar="FILE.onnx", help="another step graph")
    parser.add_argument("--song", type=Path, required=True, metavar="FOLDER",
                        help="a song with its stems, in the MUSDB18-HQ layout")
    parser.add_argument("--minutes", type=float, default=10.0, help="of music (default 10)")
    args = parser.parse_args(argv)
    if not 0 < args.minutes <= 600:
        parser.error(f"--minutes {args.minutes:g}: between 0 and 600")
    return args


if __name__ == "__main__":
    sys.exit(main())
