"""python -m model.fix_attention CHECKPOINT --data SONGS -o OUT: attention whatever the input.

Every head's attention over the bands is averaged over the songs' mixtures and becomes the weights
of a FixedAttention: less to compute at every hop, and a checkpoint to train on from
(`train.init=OUT network.TIER.mixer=fixed`). What it costs until then, `model.evaluate` tells.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from model.checkpoint import CheckpointError, Description, describe, load, save
from model.data import DataError
from model.data.musdb import find_tracks
from model.data.tracks import open_track
from model.network import Attention, BandSplitRNN
from model.separate import separate
from model.stft import STFT
from rt.config import Config, load_config

BLOCK_S = 4.0  # of a song at a time


def fix_attention(folder: Path, data: Path, out: Path, seconds: float, config: Config) -> int:
    """Writes the checkpoint and returns the number of songs heard, `seconds` of each. Raises
    CheckpointError, DataError or OSError."""
    network, described = load(folder), describe(folder)
    if network.config.mixer != "attention":
        raise CheckpointError(f"{folder}: its mixer is {network.config.mixer}, not attention")
    mixtures = list(_mixtures(data, network, seconds, config))
    means = _mean_attention(network, mixtures)
    weights = network.state_dict()
    for i, mean in enumerate(means):
        at = f"layers.{i}.mixer."
        qkv, bias = (weights.pop(f"{at}qkv.{name}").chunk(3)[2] for name in ("weight", "bias"))
        # every band's weights add up to one, so the output's bias can be the values': as much of it
        # as needs no large ones, which training would stumble over
        added = torch.linalg.pinv(weights[f"{at}out.weight"], rtol=0.02) @ weights.pop(
            f"{at}out.bias")
        weights |= {f"{at}values.weight": qkv, f"{at}values.bias": bias + added,
                    f"{at}weights": mean}
    save(out, {name: value.contiguous() for name, value in weights.items()},
         Description(network.config.model_copy(update={"mixer": "fixed"}), described.trained_on))
    return len(mixtures)


def _mixtures(data: Path, network: BandSplitRNN, seconds: float, config: Config,
              ) -> Iterator[Tensor]:
    """The beginning of every song, [channels, samples]."""
    rate = network.config.sample_rate
    for path in find_tracks(data):
        track = open_track(path, network.config.stems, config.data.stem_map, rate)
        stems = [track.read(stem)[:, :int(seconds * rate)] for stem in network.config.stems]
        yield torch.from_numpy(np.sum(stems, 0))


def _mean_attention(network: BandSplitRNN, mixtures: Sequence[Tensor]) -> list[Tensor]:
    """Of every layer, [heads, bands, bands]."""
    mixers = [layer.get_submodule("mixer") for layer in network.layers]
    sums: dict[nn.Module, Tensor] = {}
    frames = 0

    def listen(mixer: nn.Module, inputs: tuple[Tensor]) -> None:
        nonlocal frames
        assert isinstance(mixer, Attention)
        heard = mixer.weights(inputs[0])[0].double().sum(0)
        sums[mixer] = sums.get(mixer, torch.zeros_like(heard)) + heard
        frames += len(inputs[0])

    hooks = [mixer.register_forward_pre_hook(listen) for mixer in mixers]
    stft = STFT(network.spec())
    block = max(1, int(BLOCK_S * network.config.sample_rate / network.config.hop))
    with torch.no_grad():
        for mixture in mixtures:
            separate(network, stft, mixture[None], block)
    for hook in hooks:
        hook.remove()
    return [(sums[mixer] * len(mixers) / frames).float() for mixer in mixers]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m model.fix_attention",
                                     description="Attention made independent of the input.")
    add = parser.add_argument
    add("checkpoint", type=Path, help="folder (model.checkpoint)")
    add("--data", type=Path, required=True, metavar="SONGS",
        help="folders of WAV in the MUSDB18-HQ layout, or .stem.mp4; training songs")
    add("-o", "--out", type=Path, required=True, metavar="OUT", help="folder of the new checkpoint")
    add("--seconds", type=float, default=12.0, metavar="S", help="of every song (default 12)")
    add("--threads", type=int, default=1, help="of the processor (default 1)")
    args = parser.parse_args(argv)
    for name in ("seconds", "threads"):
        if not getattr(args, name) > 0:
            parser.error(f"--{name}: must be above 0")
    torch.set_num_threads(args.threads)
    try:
        songs = fix_attention(args.checkpoint, args.data, args.out, args.seconds, load_config())
    except (CheckpointError, DataError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"written to {args.out}: the mean over {songs} songs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
