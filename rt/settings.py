"""What a performance is asked to be: plain values that cross a process boundary.

Apart from rt.engine because the engine process needs them and must not import its own handle.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rt.spec import StreamSpec

NULL, DEMO = "null", "demo"


class EngineError(RuntimeError):
    """The engine cannot start; the message is one line for the user."""


@dataclass(frozen=True)
class EngineSettings:
    """Channels count from 1, as players count them."""

    model: Path | None = None  # an .onnx file; None: equal shares over `spec`
    spec: StreamSpec | None = None  # only for equal shares
    provider: str = "auto"
    threads: int = 1
    input: str | int | None = None  # device id or part of its name, file, "demo", "null";
    output: str | int | None = None  # None: the default device, else demo and null
    samplerate: int | None = None
    blocksize: int = 0
    latency: str | float = "low"  # what PortAudio asks of the driver
    input_channels: tuple[int, int] = (1, 2)
    output_channels: tuple[int, int] = (1, 2)
    slack: int | Literal["auto"] = "auto"
    realtime: bool = True
    ramp_ms: float = 20.0
    duration_s: float | None = None  # of input; what the latency holds comes after
    loop: bool = False  # a file begins again when it ends
