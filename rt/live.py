"""python -m rt.live: plays an input apart into stems, live. The command line and nothing more.

A spawned engine process imports this module again, so what it does not need is imported late.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rt.commands import MixState
    from rt.config import Config
    from rt.console import Desk
    from rt.engine import Engine
    from rt.midi import MidiInput
    from rt.settings import EngineSettings
    from rt.spec import StreamSpec
    from rt.status import Snapshot

EXIT_FAILED, EXIT_USAGE = 1, 2


class UsageError(ValueError):
    """Arguments that cannot be used; the message is one line for the user."""


def main(argv: Sequence[str] | None = None) -> int:
    from rt.config import ConfigError, load_config
    from rt.devices import DeviceError
    from rt.recorder import RecorderError
    from rt.session import SessionError
    from rt.settings import EngineError

    args = _parser().parse_intermixed_args(argv)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        if args.list_devices:
            return _list_devices()
        if args.list_midi:
            return _list_midi()
        return _perform(load_config(args.config, args.overrides, _flags(args)), args)
    except (UsageError, ConfigError, DeviceError, SessionError, RecorderError,
            EngineError) as error:
        print(f"rt.live: {error}", file=sys.stderr)
        return EXIT_USAGE
    except KeyboardInterrupt:  # before the music began; afterwards the console takes it
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m rt.live", description="Real-time music source separation.",
        epilog="Settings without a flag, for example midi.port=nano, can follow as "
               "key.sub=value; config.yaml lists them all.")
    add = parser.add_argument
    add("-l", "--list-devices", action="store_true", help="show audio devices and exit")
    add("--list-midi", action="store_true", help="show MIDI inputs and exit")
    add("-i", "--input", type=_device, metavar="IN",
        help="device id, part of a name (NAME, HOST API), a sound file, demo, or null")
    add("-o", "--output", type=_device, metavar="OUT",
        help="device id, part of a name, a sound file to write, or null")
    add("--samplerate", type=int, metavar="HZ", help="of the devices")
    add("--blocksize", type=int, metavar="N", help="samples per callback (0: the device's choice)")
    add("--latency", type=_latency, metavar="L", help="low, high, or seconds, for the driver")
    add("--channels", type=_channels, metavar="L,R", help="input channels, from 1; one is doubled")
    add("--output-channels", type=_channels, metavar="L,R", help="output channels, from 1")
    add("--provider", metavar="P", help="auto, cpu, cuda, tensorrt, coreml, directml")
    add("--tier", metavar="T", help="packaged model: live (11.6 ms) or ultra (5.8 ms)")
    add("--model", type=Path, metavar="FILE.onnx", help="another model, made by python -m export")
    add("--slack", type=int, metavar="N", help="hops queued on purpose (default: auto)")
    add("--record", type=Path, metavar="DIR", help="write mixture and stems as float WAV")
    add("--duration", type=float, metavar="S", help="stop after this many seconds")
    add("--headless", action="store_true", help="no screen, no keys: a line per second")
    add("--stats", type=Path, metavar="FILE.json", help="write the summary as JSON at the end")
    add("--config", type=Path, metavar="FILE", help="instead of config.yaml")
    add("overrides", nargs="*", metavar="key.sub=value", help="any setting of config.yaml")
    return parser


def _device(text: str) -> str | int:
    return int(text) if text.isdigit() else text


def _latency(text: str) -> str | float:
    try:
        return float(text)
    except ValueError:
        return text


def _channels(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: numbers from 1, as in 1,2") from None


def _flags(args: argparse.Namespace) -> dict[str, Any]:
    return {
        "audio.input": args.input, "audio.output": args.output,
        "audio.samplerate": args.samplerate, "audio.blocksize": args.blocksize,
        "audio.latency": args.latency, "audio.input_channels": args.channels,
        "audio.output_channels": args.output_channels, "engine.provider": args.provider,
        "engine.slack": args.slack, "model.tier": args.tier, "model.path": args.model,
    }


def _list_devices() -> int:
    from rt.devices import table

    print(table())
    return 0


def _list_midi() -> int:
    from rt.midi import list_ports

    ports = list_ports()
    for api, name in ports:
        print(f"{api:>9}  {name}")
    if not ports:
        print("no MIDI inputs")
    return 0


def _interrupt(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _perform(config: Config, args: argparse.Namespace) -> int:
    from rt.console import Desk
    from rt.engine import Engine
    from rt.midi import MidiInput
    from rt.mixer import Mixer
    from rt.recorder import Recorder
    from rt.report import banner, stats, summary
    from rt.session import packaged_model, read_spec

    model = config.model.path or packaged_model(config.model.tier, config.model.precision,
                                                config.engine.provider)
    spec = read_spec(model)
    mix = _initial_mix(config, spec)
    if args.stats is not None and not args.stats.resolve().parent.is_dir():
        raise UsageError(f"--stats {args.stats}: there is no such folder")
    notices: deque[str] = deque()
    on_screen = not args.headless and sys.stdin.isatty() and sys.stdout.isatty()

    with ExitStack() as running:
        if on_screen:
            from rt.screen import held_stderr

            running.enter_context(held_stderr())
        recorder = None
        if args.record is not None:
            recorder = Recorder(args.record, spec.stems, notices.append)
            running.callback(recorder.stop)
        engine = Engine(_settings(config, args, model))
        mixer = Mixer(mix, engine.set_mix)
        info = engine.start()
        running.callback(engine.stop)
        if recorder is not None:
            recorder.start(engine.tap(), info.sample_rate)
        midi = MidiInput(config.midi, mixer.send, notices.append)
        midi.start()
        running.callback(midi.stop)
        desk = Desk(info, _follow(engine, midi), mixer.state, mixer.send,
                    [midi.status, *([recorder.status] if recorder else [])], notices)
        print(banner(info, [("midi", midi.status().removeprefix("MIDI: "))]), flush=True)
        _watch(desk, on_screen)
        engine.stop()
        last = engine.snapshot()
    for notice in notices:
        print(notice)
    print(summary(info, last))
    if args.stats is not None:
        _write_json(args.stats, stats(info, last))
    if last.state == "failed":
        print(f"rt.live: {last.message}", file=sys.stderr)
        return EXIT_FAILED
    return 0


def _initial_mix(config: Config, spec: StreamSpec) -> MixState:
    from rt.commands import MixState

    for stem in config.mixer.muted:
        if stem not in spec.stems:
            raise UsageError(f"mixer.muted: this model has no stem {stem!r}, "
                             f"it has {', '.join(spec.stems)}")
    return MixState.of(spec.stems, config.mixer.gains, config.mixer.muted)


def _settings(config: Config, args: argparse.Namespace, model: Path) -> EngineSettings:
    from rt.settings import EngineSettings

    if args.duration is not None and not 0 < args.duration < math.inf:
        raise UsageError(f"--duration {args.duration:g}: must be more than 0 seconds; leave it "
                         "out to play without end")
    audio, engine = config.audio, config.engine
    return EngineSettings(
        model=model, provider=engine.provider, threads=engine.threads, input=audio.input,
        output=audio.output, samplerate=audio.samplerate, blocksize=audio.blocksize,
        latency=audio.latency, input_channels=audio.input_channels,
        output_channels=audio.output_channels, slack=engine.slack, realtime=engine.realtime,
        ramp_ms=engine.ramp_ms, duration_s=args.duration)


def _follow(engine: Engine, midi: MidiInput) -> Callable[[], Snapshot]:
    """Snapshots; where the engine had to be respawned, MIDI opens its port anew as well: a sound
    server that died took both with it."""
    seen = 0

    def snapshot() -> Snapshot:
        nonlocal seen
        now = engine.snapshot()
        if now.respawns > seen:
            seen = now.respawns
            midi.reconnect()
        return now

    return snapshot


def _watch(desk: Desk, on_screen: bool) -> None:
    """Until the performance is over or the player has had enough."""
    if on_screen:
        from rt.screen import ConsoleApp

        ConsoleApp(desk).run()
    else:
        from rt.console import PlainConsole

        PlainConsole(desk).run()


def _write_json(path: Path, value: dict[str, Any]) -> None:
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
        os.replace(partial, path)
    except OSError as error:
        raise UsageError(f"--stats {path}: cannot be written ({error.strerror})") from error


if __name__ == "__main__":
    sys.exit(main())
