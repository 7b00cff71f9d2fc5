"""What the engine process says to the control process, over a pipe. Plain values.

The other way goes one string only: the name of the shared block, in answer to Hello.
"""

from __future__ import annotations

from dataclasses import dataclass

from rt.spec import StreamSpec
from rt.status import EngineInfo


@dataclass(frozen=True)
class Hello:
    """What the control process must know to make the block and start its files."""

    spec: StreamSpec
    sample_rate: int
    input: str  # names that mean the same to the next engine
    output: str
    feeds: bool  # input is a file or the demo
    writes: bool  # output is a file


@dataclass(frozen=True)
class Ready:
    info: EngineInfo


@dataclass(frozen=True)
class Say:
    text: str


@dataclass(frozen=True)
class Refused:
    """The engine cannot run; the text is one line for the user."""

    text: str


@dataclass(frozen=True)
class Finished:
    """The performance has come to its end."""
