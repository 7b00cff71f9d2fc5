"""python -m export -c CHECKPOINT -o MODEL.onnx: writes the step graph and proves it right."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from importlib import metadata
from pathlib import Path

import onnx
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic

from export.graph import write_step_graph
from export.verify import TOLERANCE, compare_with_torch, stem_sdr, step_ms
from model import checkpoint
from model.network import BandSplitRNN
from rt.config import ConfigError, load_config
from rt.session import SessionError
from rt.spec import StreamSpec


class ExportError(RuntimeError):
    """An export that must not be used; the message is one line for the user."""


def main(argv: list[str] | None = None) -> int:
    args = _parse(argv)
    try:
        _export(args)
    except (ExportError, checkpoint.CheckpointError, ConfigError, SessionError) as error:
        print(f"export: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"export: {error.filename or args.output}: {error.strerror}", file=sys.stderr)
        return 2
    return 0


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m export", description=__doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("-c", "--checkpoint", type=Path,
                        help="folder with weights.safetensors and config.yaml")
    source.add_argument("--untrained", metavar="TIER",
                        help="random weights of a tier of config.yaml, to try sizes and speed")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="MODEL.onnx")
    parser.add_argument("--tier", help="name in the graph's metadata (default: the folder's name)")
    parser.add_argument("--int8", action="store_true",
                        help="also write MODEL.int8.onnx, dynamically quantised")
    parser.add_argument("--hops", type=int, default=400,
                        help="hops to compare with PyTorch, at least 200 (default 400)")
    parser.add_argument("--config", type=Path, help="configuration file")
    parser.add_argument("overrides", nargs="*", metavar="key.sub=value")
    args = parser.parse_intermixed_args(argv)
    if args.hops < 200:
        parser.error("--hops: at least 200, or an error that grows would go unseen")
    return args


def _export(args: argparse.Namespace) -> None:
    network, spec = _network(args)
    if len(spec.stems) < 2:
        raise ExportError(f"stems {list(spec.stems)}: one alone is the input itself, there is "
                          "nothing to separate; a network needs two or more")
    output: Path = args.output
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = output.with_name(f".{output.name}.partial")
    try:
        model = write_step_graph(network, spec, partial)
        error = compare_with_torch(network, partial, args.hops)
        if not error <= TOLERANCE:
            raise ExportError(f"ONNX and PyTorch differ by {error:.1e} over {args.hops} hops, "
                              f"more than {TOLERANCE:.0e}: nothing written")
        _report(partial, output, model)
        print(f"  against PyTorch over {args.hops} hops: largest difference {error:.1e}")
        print(f"  trained: {spec.trained_on or 'no, random weights'}")
        os.replace(partial, output)
    finally:
        partial.unlink(missing_ok=True)
    if args.int8:
        _quantise(output, spec, args.hops)


def _network(args: argparse.Namespace) -> tuple[BandSplitRNN, StreamSpec]:
    config = load_config(args.config, args.overrides)
    version = metadata.version("bandsplit-live")
    if args.checkpoint is not None:
        network = checkpoint.load(args.checkpoint)
        trained_on = checkpoint.describe(args.checkpoint).trained_on
        tier = args.tier or args.checkpoint.resolve().name
    else:
        if args.untrained not in config.network:
            raise ExportError(f"--untrained {args.untrained}: there is "
                              f"{', '.join(config.network)} under network")
        torch.manual_seed(0)
        network = BandSplitRNN(config.network[args.untrained]).eval()
        trained_on, tier = "", args.tier or args.untrained
    return network, network.spec(tier=tier, trained_on=trained_on, version=version)


def _quantise(output: Path, spec: StreamSpec, hops: int) -> None:
    target = output.with_suffix(".int8.onnx")
    partial = target.with_name(f".{target.name}.partial")
    logging.getLogger().setLevel(logging.ERROR)  # it advises a pre-processing that changes nothing
    try:
        quantize_dynamic(str(output), str(partial), weight_type=QuantType.QInt8, per_channel=False)
        model = onnx.load(str(partial))
        onnx.helper.set_model_props(model, spec.to_metadata())
        onnx.checker.check_model(model)
        onnx.save(model, str(partial))
        _report(partial, target, model)
        sdr = stem_sdr(partial, output, hops)
        print("  its stems against the fp32 stems, SDR in dB: "
              + "  ".join(f"{stem} {value:.1f}" for stem, value in sdr.items()))
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)


def _report(file: Path, name: Path, model: onnx.ModelProto) -> None:
    print(f"{name}: {file.stat().st_size / 1e6:.2f} MB, {len(model.graph.node)} nodes, "
          f"{step_ms(file):.2f} ms a step back to back on one thread")


if __name__ == "__main__":
    sys.exit(main())
