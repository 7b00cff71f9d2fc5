"""What is compared: systems that turn hops into stems as a live engine runs them, and whole songs
the fastest way that gives the same samples."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnx
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from bench.peers.hstasnet import PeerError, build
from bench.peers.step import HopStream
from bench.peers.train import WEIGHTS, Run
from rt.separator import Separator
from rt.session import Session
from rt.spec import CHANNELS

# as model.train describes weights; "after" another description where they go on from others
HEARD = re.compile(r"(\d+) steps of (\d+) segments of ([\d.]+) s")


class Stream(Protocol):
    def step(self, hop: np.ndarray) -> np.ndarray:
        """hop [H, 2] -> stems [H, stems, 2]; may be a view that the next step overwrites."""
        ...

    def reset(self) -> None: ...


@dataclass
class Peer:
    """`window` is the synthesis window, in samples: what a stem trails its input by, the hop that
    has to come in first included. `trained_on` is empty for random weights; `segments` and
    `heard_s` (seconds of mixture seen in training) are None where nobody noted them."""

    name: str
    stream: Stream
    hop: int
    window: int
    sample_rate: int
    stems: tuple[str, ...]
    parameters: int
    trained_on: str
    segments: int | None = None
    heard_s: float | None = None
    whole: Any = None  # the network in torch, where it gives a stream's samples sooner

    @property
    def latency_ms(self) -> float:
        return 1e3 * self.window / self.sample_rate

    def streamed(self, mixture: np.ndarray) -> np.ndarray:
        """mixture [2, n] -> stems [stems, 2, n] hop by hop from silence, delayed by window - hop;
        what does not fill a hop at the end is left out."""
        self.stream.reset()
        hops = mixture.T[:mixture.shape[1] // self.hop * self.hop].reshape(-1, self.hop, CHANNELS)
        return np.concatenate([self.stream.step(hop).copy() for hop in hops]).transpose(1, 2, 0)

    def separate(self, mixture: np.ndarray) -> np.ndarray:
        """mixture [2, n] -> stems [stems, 2, n], aligned with it."""
        samples = mixture.shape[1]
        missing = -samples % self.window + self.window
        padded = np.pad(mixture, ((0, 0), (0, missing)))
        if self.whole is None:
            delay = self.window - self.hop
            return self.streamed(padded)[..., delay:delay + samples]
        with torch.no_grad():
            return self.whole(torch.from_numpy(padded)[None])[0][0, ..., :samples].numpy()


def tier_peer(path: Path) -> Peer:
    """One of our step graphs. Raises SessionError."""
    session = Session(path, "cpu")
    spec = session.spec
    parameters = sum(int(np.prod(tensor.dims)) for tensor in onnx.load(path).graph.initializer)
    heard = [(int(steps) * int(batch), float(seconds))
             for steps, batch, seconds in HEARD.findall(spec.trained_on)]
    return Peer(path.stem, Separator(session), spec.hop, spec.synthesis, spec.sample_rate,
                spec.stems, parameters, spec.trained_on,
                sum(n for n, _ in heard) if heard else None,
                sum(n * s for n, s in heard) if heard else None)


def hs_tasnet_peer(run: Run, weights: dict[str, torch.Tensor] | None = None) -> Peer:
    """HS-TasNet of a run's sizes, with random weights where none are given. Raises PeerError."""
    network = build(run.size, run.sample_rate, len(run.stems)).eval()
    if weights is not None:
        try:
            network.load_state_dict(weights)
        except RuntimeError as error:
            raise PeerError(f"not the weights of HS-TasNet {run.size}: {error}".split("\n")[0]
                            ) from error
    heard_s = run.segments * run.segment_s
    trained_on = "" if weights is None else (
        f"{run.songs} songs of {run.data}: {run.segments} segments of {run.segment_s:g} s, "
        f"{run.minutes:.0f} minutes")
    return Peer(f"hs-tasnet {run.size}", HopStream(network), network.overlap_len,
                network.segment_len, network.sample_rate, run.stems,
                sum(p.numel() for p in network.parameters()), trained_on,
                run.segments if weights is not None else None,
                heard_s if weights is not None else None, network)


def trained_hs_tasnet(folder: Path) -> Peer:
    """Of a run of bench.peers train. Raises PeerError."""
    run = Run.read(folder)
    try:
        weights = load_file(folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise PeerError(f"{folder / WEIGHTS}: cannot be read ({error})") from error
    return hs_tasnet_peer(run, weights)


def untrained_hs_tasnet(size: str, stems: tuple[str, ...], sample_rate: int) -> Peer:
    """For its cost and latency alone. Raises PeerError."""
    torch.manual_seed(0)
    return hs_tasnet_peer(Run(size, "", 0, stems, sample_rate, 0, 0.0, 0))
