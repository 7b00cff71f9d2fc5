"""StreamSpec: everything about a streaming model that audio code has to know. numpy only.

The spec travels inside the ONNX file's metadata, so the live engine needs that file and nothing
else. The window pair and the latency arithmetic stand here once; training (torch), streaming
(numba) and the printed budget all call them.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass

import numpy as np

CHANNELS = 2  # the networks are stereo; mono input is doubled before it gets here
METADATA_KEY = "bandsplit_live.stream_spec"
FORMAT = 2  # of the graph as well: what it reads and gives (rt.session)
# The networks read a spectrum whose magnitude, over both channels of a bin, is raised to this
# power; the floor, of its square, keeps silence finite.
COMPRESSION, FLOOR = 0.3, 1e-8


class SpecError(ValueError):
    """A StreamSpec that cannot work, or metadata that does not hold one."""


@dataclass(frozen=True)
class StateSpec:
    """One recurrent tensor carried from hop to hop."""

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class StreamSpec:
    """Rates and sizes in samples. Raises SpecError when they do not fit each other."""

    sample_rate: int = 44_100
    n_fft: int = 2048
    synthesis: int = 512
    hop: int = 256
    stems: tuple[str, ...] = ("vocals", "drums", "bass", "other")
    states: tuple[StateSpec, ...] = ()
    tier: str = "custom"
    trained_on: str = ""
    version: str = "0"

    def __post_init__(self) -> None:
        def need(ok: bool, message: str) -> None:
            if not ok:
                raise SpecError(message)

        need(self.n_fft >= 16 and self.n_fft & (self.n_fft - 1) == 0,
             f"n_fft {self.n_fft} is not a power of two")
        need(self.hop > 0, f"hop {self.hop} must be positive")
        need(self.synthesis % self.hop == 0 and self.synthesis // self.hop >= 2,
             f"hop {self.hop} must divide the synthesis window {self.synthesis} at least twice")
        need(self.synthesis % 2 == 0 and self.synthesis <= self.n_fft,
             f"synthesis window {self.synthesis} must be even and at most n_fft {self.n_fft}")
        need(self.sample_rate > 0, f"sample_rate {self.sample_rate} must be positive")
        need(len(self.stems) > 0 and len(set(self.stems)) == len(self.stems),
             f"stems {list(self.stems)} must be distinct and not empty")

    @property
    def bins(self) -> int:
        return self.n_fft // 2 + 1

    @property
    def algorithmic_latency(self) -> int:
        """Samples by which a stem trails the input when computing costs no time: S - H."""
        return self.synthesis - self.hop

    @property
    def trained(self) -> bool:
        return bool(self.trained_on)

    @property
    def deadline_s(self) -> float:
        return self.hop / self.sample_rate

    def analysis_window(self) -> np.ndarray:
        """[n_fft] float64: rising half-sine, falling half-cosine over synthesis/2 samples.

        Scaled to unit energy, so white noise of variance 1 has bins of variance 1.
        """
        fall = self.synthesis // 2
        rise = self.n_fft - fall
        window = np.concatenate([
            np.sin(np.pi / 2 * (np.arange(rise) + 0.5) / rise),
            np.cos(np.pi / 2 * (np.arange(fall) + 0.5) / fall),
        ])
        return window / np.sqrt(np.sum(window**2))

    def synthesis_window(self) -> np.ndarray:
        """[synthesis] float64: Hann over the last samples of the frame, divided by the analysis
        window there, so that their product overlap-adds to one at this hop."""
        n = np.arange(self.synthesis) + 0.5
        hann = np.sin(np.pi * n / self.synthesis) ** 2 * (2 * self.hop / self.synthesis)
        return hann / self.analysis_window()[-self.synthesis:]

    def queue_latency(self, block: int, slack: int = 0) -> int:
        """Samples between a hop's arrival and its playing, for a worker on another thread.

        With device blocks of `block` samples, hop boundaries fall up to hop - gcd(hop, block)
        samples inside a block, and the worker has one whole block to finish: at slack 0 its
        deadline is the next callback. Each hop of slack adds a hop.
        """
        if block <= 0 or slack < 0:
            raise SpecError(f"block {block} must be positive and slack {slack} not negative")
        return self.hop - math.gcd(self.hop, block) + block + slack * self.hop

    def to_metadata(self) -> dict[str, str]:
        return {METADATA_KEY: json.dumps({
            "format": FORMAT, **asdict(self), "trained": self.trained,
            "algorithmic_latency": self.algorithmic_latency})}

    @classmethod
    def from_metadata(cls, metadata: dict[str, str]) -> StreamSpec:
        """Raises SpecError when the metadata was not written by `to_metadata`."""
        if METADATA_KEY not in metadata:
            raise SpecError("no StreamSpec in its metadata: not a Bandsplit Live step graph; "
                            "make one with python -m export")
        try:
            fields = json.loads(metadata[METADATA_KEY])
            if fields.pop("format") != FORMAT:
                raise SpecError(f"its StreamSpec has another format than {FORMAT}: export it again")
            for derived in ("trained", "algorithmic_latency"):
                del fields[derived]
            fields["stems"] = tuple(fields["stems"])
            fields["states"] = tuple(
                StateSpec(s["name"], tuple(s["shape"])) for s in fields["states"])
            return cls(**fields)
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            raise SpecError(f"its StreamSpec cannot be read ({error}): export it again") from error
