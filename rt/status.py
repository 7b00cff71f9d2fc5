"""What the engine tells the control process: once at start, and many times a second. """

from __future__ import annotations

from dataclasses import dataclass

from rt.spec import StreamSpec


@dataclass(frozen=True)
class LatencyLine:
    """One line of the budget. Samples at the stream's rate; fractional where rates differ."""

    what: str
    samples: float
    device: bool = False  # what the sound system takes, not the engine


@dataclass(frozen=True)
class EngineInfo:
    """Fixed while one engine process lives."""

    spec: StreamSpec
    input: str  # for people: "JACK Audio Connection Kit: system", "demo song", "song.wav"
    output: str
    sample_rate: int  # of the stream; spec.sample_rate is the model's
    block: int
    slack: int  # hops
    provider: str  # ONNX Runtime's name: CPUExecutionProvider
    provider_reason: str
    priority: str  # what the system granted, and what is lost where it did not
    model: str
    latency: tuple[LatencyLine, ...]
    warnings: tuple[str, ...] = ()

    @property
    def latency_samples(self) -> int:
        return round(sum(line.samples for line in self.latency))

    @property
    def latency_ms(self) -> float:
        return 1e3 * sum(line.samples for line in self.latency) / self.sample_rate


@dataclass(frozen=True)
class Times:
    p50: float
    p99: float
    max: float


@dataclass(frozen=True)
class Snapshot:
    """Counters run from the start of the performance, through respawns of the engine."""

    seconds: float  # of audio played
    hops: int
    late_hops: int
    underruns: int  # blocks in which the callback had to fill in for missing stems
    overruns: int  # blocks lost because the worker was a whole ring behind
    step_ms: Times  # over the last second or so
    total_step_ms: Times  # over the whole performance
    input_level: float  # linear peak since the last snapshot, decaying
    stem_levels: tuple[float, ...]  # after the gains
    output_level: float
    respawns: int
    state: str  # "starting", "running", "respawning", "finished", "failed"
    message: str = ""  # the newest thing a player should know, one line
