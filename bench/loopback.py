"""python -m bench.loopback: is the latency that is printed the latency that is heard?

Impulses go through a JACK server into the running engine and come back. The round trip must equal
the computed budget to the sample, plus what the sound system itself takes, which is measured the
same way with a plain wire in the engine's place. Exit code 0 where they are equal, 1 where not,
2 where it cannot be run.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import numpy as np

from bench.jackserver import Card, JackServer, JackUnavailable
from rt.config import ConfigError, load_config
from rt.engine import Engine, EngineError, EngineSettings
from rt.spec import CHANNELS
from rt.status import EngineInfo

IMPULSES = 8
TRIES = 8
SPACING_S = 0.15
NAME = "loopback"


def round_trips(card: Card) -> list[int]:
    """Samples until each impulse is back; -1 for one that is not."""
    spacing = round(SPACING_S * card.rate)
    signal = np.zeros(((IMPULSES + 1) * spacing, CHANNELS), np.float32)
    sent = [(i + 1) * spacing + 37 * i for i in range(IMPULSES)]  # everywhere in a block
    signal[sent] = 0.5
    heard = np.abs(card.play(signal)).max(1)
    trips = []
    for at in sent:
        window = heard[at:at + spacing - 37]
        trips.append(int(window.argmax()) if window.max() > 0.05 else -1)
    return trips


def undisturbed(card: Card) -> list[int]:
    """Round trips during which the server lost no cycle: a lost one moves everything by a period,
    and says nothing about the engine. After TRIES the last ones, as they are."""
    trips: list[int] = []
    for _ in range(TRIES):
        before = card.xruns
        trips = round_trips(card)
        time.sleep(0.05)  # xruns are told later than they happen
        if card.xruns == before:
            break
    return trips


def wire(card: Card, blocksize: int) -> int:
    """What the sound system takes by itself. Raises JackUnavailable."""
    copier = subprocess.Popen([sys.executable, "-m", "bench.jackserver", NAME, str(blocksize)])
    try:
        if not card.connected():
            raise JackUnavailable("the measuring wire does not connect: is libportaudio2 there?")
        round_trips(card)  # settles
        return int(np.median(undisturbed(card)))
    finally:
        copier.kill()
        copier.wait()


def measure(settings: EngineSettings, blocksize: int) -> dict:
    """Raises JackUnavailable, EngineError. Under a server that the environment names."""
    card = Card(NAME)
    try:
        system = wire(card, blocksize)
        with Engine(settings) as engine:
            info = engine.info
            assert info is not None
            if not card.connected():
                raise JackUnavailable("the engine does not connect to the card")
            round_trips(card)
            measured = undisturbed(card)
            snapshot = engine.snapshot()
    finally:
        card.close()
    engine_samples = _own(info)
    return {
        "sample_rate": info.sample_rate, "block": info.block, "hop": info.spec.hop,
        "slack": info.slack, "model": info.model, "priority": info.priority,
        "budget": [asdict(line) for line in info.latency],
        "engine_samples": engine_samples, "system_samples": system,
        "computed_samples": engine_samples + system, "measured_samples": measured,
        "equal": all(trip == engine_samples + system for trip in measured),
        "late_hops": snapshot.late_hops, "hops": snapshot.hops,
    }


def _own(info: EngineInfo) -> int:
    """Without the lines of the device, which the wire has measured."""
    return round(sum(line.samples for line in info.latency if not line.device))


def _print(result: dict) -> None:
    rate = result["sample_rate"]
    for line in result["budget"]:
        print(f"  {line['what']:34} {line['samples']:6.0f} samples")
    print(f"  {'the sound system, by a plain wire':34} {result['system_samples']:6} samples")
    print(f"computed {result['computed_samples']} samples "
          f"({1e3 * result['computed_samples'] / rate:.2f} ms)")
    print(f"measured {', '.join(map(str, result['measured_samples']))}")
    print(f"late hops {result['late_hops']} of {result['hops']}; {result['priority']}")
    print("equal" if result["equal"] else "NOT equal")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.loopback", description=__doc__)
    parser.add_argument("--tier", default="live", help="whose window and hop (default: live)")
    parser.add_argument("--model", type=Path, help="run this .onnx file; without it, equal shares")
    parser.add_argument("--rate", type=int, default=44_100, help="of the server, Hz")
    parser.add_argument("--period", type=int, default=256, help="of the server, samples")
    parser.add_argument("--blocksize", type=int, default=0, help="of the stream, 0: the period")
    parser.add_argument("--slack", type=int, default=1, help="hops (default: 1)")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args(arguments)
    try:
        with ExitStack() as stack:
            if "JACK_DEFAULT_SERVER" not in os.environ:
                stack.enter_context(JackServer(args.rate, args.period))
            network = load_config().network
            if args.tier not in network:
                raise ConfigError(f"--tier {args.tier}: there is {', '.join(network)}")
            result = measure(EngineSettings(
                model=args.model, spec=network[args.tier].stream_spec(tier=args.tier),
                input=NAME, output=NAME, samplerate=args.rate, blocksize=args.blocksize,
                slack=args.slack), args.blocksize)
    except (JackUnavailable, EngineError, ConfigError, TimeoutError) as error:
        print(f"bench.loopback: {error}", file=sys.stderr)
        return 2
    _print(result)
    if args.json is not None:
        args.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0 if result["equal"] else 1


if __name__ == "__main__":
    sys.exit(main())
