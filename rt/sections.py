"""What can be set: the sections of the configuration, their keys, types, ranges and defaults.

Every setting's meaning and unit stands in config.yaml; rt.config reads it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveInt,
    ValidationError,
    model_validator,
)

from rt.spec import SpecError, StreamSpec


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


def first_problem(error: ValidationError) -> str:
    """One line of what pydantic makes several of: the first key, its value, what is wrong."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    value = "" if isinstance(first["input"], (dict, BaseModel)) else f" = {first['input']!r}"
    message = first["msg"].removeprefix("Value error, ")
    return f"{key}{value}: {message}" if key else message


def _stereo(value: Any) -> Any:
    """Channels count from 1; one channel means the same one for left and right."""
    if isinstance(value, int):
        value = (value,)
    if isinstance(value, (list, tuple)) and len(value) == 1:
        value = (value[0], value[0])
    return value


Channels = Annotated[tuple[PositiveInt, PositiveInt], BeforeValidator(_stereo)]
Gain = Annotated[float, Field(ge=0, le=4)]


class ModelSection(Section):
    tier: str = "live"
    precision: Literal["auto", "fp32", "int8"] = "auto"
    path: Path | None = None


class AudioSection(Section):
    input: str | int | None = None
    output: str | int | None = None
    samplerate: Annotated[int, Field(ge=8000, le=192_000)] | None = None
    blocksize: Annotated[int, Field(ge=0, le=8192)] = 0
    latency: Literal["low", "high"] | Annotated[float, Field(gt=0, le=2)] = "low"
    input_channels: Channels = (1, 2)
    output_channels: Channels = (1, 2)


class EngineSection(Section):
    provider: Literal["auto", "cpu", "cuda", "tensorrt", "coreml", "directml"] = "auto"
    threads: Annotated[int, Field(ge=1, le=64)] = 1
    slack: Literal["auto"] | Annotated[int, Field(ge=0, le=16)] = "auto"
    realtime: bool = True
    ramp_ms: Annotated[float, Field(ge=1, le=1000)] = 20.0


class MixerSection(Section):
    gains: dict[str, Gain] = {"vocals": 1.0, "drums": 1.0, "bass": 1.0, "other": 1.0}
    muted: tuple[str, ...] = ()


class Binding(Section):
    """One MIDI control: a note or a CC, and what it does to which stem."""

    note: Annotated[int, Field(ge=0, le=127)] | None = None
    cc: Annotated[int, Field(ge=0, le=127)] | None = None
    action: Literal["mute", "solo", "gain", "bypass"]
    stem: str | None = None
    mode: Literal["toggle", "hold"] = "toggle"

    @model_validator(mode="after")
    def _consistent(self) -> Binding:
        if (self.note is None) == (self.cc is None):
            raise ValueError("give exactly one of note and cc")
        if (self.action == "bypass") != (self.stem is None):
            raise ValueError("bypass takes no stem, every other action needs one")
        if self.action == "gain" and self.cc is None:
            raise ValueError("gain needs a cc: a note has no position")
        return self


def _default_bindings() -> tuple[Binding, ...]:
    stems = ("vocals", "drums", "bass", "other")
    return (
        *(Binding(note=36 + i, action="mute", stem=s) for i, s in enumerate(stems)),
        *(Binding(note=40 + i, action="solo", stem=s) for i, s in enumerate(stems)),
        Binding(note=44, action="bypass"),
        *(Binding(cc=20 + i, action="gain", stem=s) for i, s in enumerate(stems)),
    )


class MidiSection(Section):
    port: str | None = None
    api: Literal["auto", "jack", "alsa", "coremidi", "winmm"] = "auto"
    channel: Annotated[int, Field(ge=1, le=16)] | None = None
    bindings: tuple[Binding, ...] = Field(default_factory=_default_bindings)


class NetworkSection(Section):
    """Sizes of one streaming BandSplitRNN. `bands`: [count, width in bins] from low to high."""

    sample_rate: PositiveInt = 44_100
    n_fft: PositiveInt = 2048
    synthesis: PositiveInt = 512
    hop: PositiveInt = 256
    stems: tuple[str, ...] = ("vocals", "drums", "bass", "other")
    bands: tuple[tuple[PositiveInt, PositiveInt], ...] = (
        (8, 4), (8, 8), (6, 16), (6, 32), (5, 64), (1, 321))
    features: PositiveInt = 48
    hidden: PositiveInt = 64
    layers: PositiveInt = 3
    mixer: Literal["attention", "recurrent"] = "attention"
    heads: PositiveInt = 4
    mask_hidden: PositiveInt = 48

    @model_validator(mode="after")
    def _consistent(self) -> NetworkSection:
        try:
            spec = self.stream_spec()
        except SpecError as error:
            raise ValueError(str(error)) from error
        covered = sum(count * width for count, width in self.bands)
        if covered != spec.bins:
            raise ValueError(f"bands cover {covered} bins, n_fft {self.n_fft} has {spec.bins}")
        if self.mixer == "attention" and self.features % self.heads:
            raise ValueError(f"features {self.features} must be a multiple of heads {self.heads}")
        return self

    def stream_spec(self, **more: Any) -> StreamSpec:
        return StreamSpec(sample_rate=self.sample_rate, n_fft=self.n_fft,
                          synthesis=self.synthesis, hop=self.hop, stems=self.stems, **more)


def _moisesdb_stems() -> dict[str, str]:
    other = ("guitar", "piano", "other_keys", "other_plucked", "bowed_strings", "wind")
    return {"percussion": "drums", **dict.fromkeys(other, "other")}


def _ascending(span: tuple[float, float]) -> tuple[float, float]:
    if span[0] > span[1]:
        raise ValueError(f"should be a lower and a higher end, not {span[0]} and {span[1]}")
    return span


Share = Annotated[float, Field(ge=0, le=1)]
Frequency = Annotated[float, Field(ge=10, le=100_000)]
Level = Annotated[float, Field(ge=-120, le=40)]
Number = TypeVar("Number", bound=float)
Range = Annotated[tuple[Number, Number], AfterValidator(_ascending)]


class DataSection(Section):
    root: Path | None = None
    description: str = ""
    train: str = "train"
    valid: str = "valid"
    test: str = "test"
    stems: tuple[str, ...] = ("vocals", "drums", "bass", "other")
    stem_map: dict[str, str] = Field(default_factory=_moisesdb_stems)
    activity: Path | None = None
    coherent: Share = 0.3
    silenced: Share = 0.1
    as_mixed: Share = 0.15
    gain_db: Annotated[float, Field(ge=0, le=40)] = 10.0
    equalised: Share = 0.5
    equaliser_db: Annotated[float, Field(ge=0, le=20)] = 4.0
    speed_varied: Share = 0.2
    speed_semitones: Annotated[float, Field(ge=0, le=12)] = 2.0
    stretched: Share = 0.0
    pitch_semitones: Annotated[float, Field(ge=0, le=12)] = 2.0
    tempo: Annotated[float, Field(ge=0, le=0.5)] = 0.12
    paused: Share = 0.03
    band_limited: Share = 0.08
    high_pass_hz: Range[Frequency] = (20.0, 300.0)
    low_pass_hz: Range[Frequency] = (3400.0, 16_000.0)
    coded: Share = 0.03
    coded_level: Range[Annotated[float, Field(ge=0, le=0.95)]] = (0.4, 0.95)
    room: Share = 0.05
    reverb_s: Range[Annotated[float, Field(ge=0.01, le=10)]] = (0.1, 0.8)
    direct_db: Range[Level] = (-3.0, 12.0)
    noisy: Share = 0.05
    noise_db: Range[Level] = (-70.0, -40.0)
    mono: Share = 0.05
    clipped: Share = 0.05
    clip_db: Annotated[float, Field(ge=0, le=40)] = 12.0
    level_varied: Share = 0.25
    level_min_db: Annotated[float, Field(ge=-90, le=20)] = -60.0
    level_max_db: Annotated[float, Field(ge=-90, le=20)] = 6.0
    workers: Annotated[int, Field(ge=0, le=64)] = 0

    @model_validator(mode="after")
    def _ordered(self) -> DataSection:
        if self.level_min_db > self.level_max_db:
            raise ValueError(f"level_min_db {self.level_min_db} is above "
                             f"level_max_db {self.level_max_db}")
        return self


class TrainSection(Section):
    run: Path | None = None
    target: str | None = None
    init: Path | None = None
    max_steps: PositiveInt = 2000
    steps_per_epoch: PositiveInt = 100
    batch: PositiveInt = 6
    segment_s: Annotated[float, Field(ge=0.1, le=600)] = 1.5
    prefix_s: Annotated[float, Field(ge=0, le=600)] = 0.5
    optimizer: Literal["adamw", "muon"] = "adamw"
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 2e-3
    final_rate: Annotated[float, Field(ge=0, le=1)] = 0.03
    warmup: Annotated[int, Field(ge=0)] = 100
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.01
    clip: Annotated[float, Field(gt=0)] = 5.0
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.995
    validate_every: PositiveInt = 5
    keep: Annotated[int, Field(ge=0, le=100)] = 2
    patience: Annotated[int, Field(ge=0)] = 30
    samples: Annotated[int, Field(ge=0, le=100)] = 2
    loss: Literal["l1", "rms"] = "l1"
    loss_n_fft: PositiveInt = 2048
    loss_hop: PositiveInt = 512
    loss_windows: tuple[PositiveInt, ...] = ()
    log_every: PositiveInt = 10
    seed: Annotated[int, Field(ge=0)] = 0
    threads: Annotated[int, Field(ge=1, le=256)] = 2
    accelerator: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    devices: Literal["auto"] | PositiveInt | tuple[Annotated[int, Field(ge=0)], ...] = 1
    num_nodes: PositiveInt = 1
    strategy: Literal["auto", "ddp"] = "auto"
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    compile: bool = False
