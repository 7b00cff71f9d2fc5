"""python -m bench.peers train: HS-TasNet on the songs and random mixtures of our tiers.

Its loss and optimiser are its package's: L1 of the waveforms, Adam at 3e-4, gradient norm clipped
at 1, averaged weights (decay 0.995). What goes in is ours: model.data.RandomMixes with the settings
and the seed of config.yaml, so that `--segments` counts the same things for both.

A run's folder holds `run.json`, `weights.safetensors` (the averaged weights), `train.log` and
`last.ckpt`; the same command again goes on from there, with the items that come next.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from bench.peers.hstasnet import SIZES, PeerError, build
from model.data import DataError, RandomMixes, open_songs
from model.data.variations import Variations
from rt.config import Config, ConfigError, load_config

LEARNING_RATE, CLIP, EMA = 3e-4, 1.0, 0.995  # hs_tasnet.trainer.Trainer's defaults
RUN, WEIGHTS, LAST = "run.json", "weights.safetensors", "last.ckpt"


@dataclass(frozen=True)
class Run:
    """What a run's folder says of itself; `segments` is how many have been trained on."""

    size: str
    data: str
    songs: int
    stems: tuple[str, ...]
    sample_rate: int
    batch: int
    segment_s: float
    seed: int
    segments: int = 0
    minutes: float = 0.0

    @classmethod
    def read(cls, folder: Path) -> Run:
        """Raises PeerError."""
        file = folder / RUN
        try:
            fields = json.loads(file.read_text(encoding="utf-8"))
            return cls(**fields | {"stems": tuple(fields["stems"])})
        except OSError as error:
            raise PeerError(f"{file}: cannot be read ({error.strerror}); a run of python -m "
                            "bench.peers train is expected") from error
        except (ValueError, TypeError, KeyError) as error:
            raise PeerError(f"{file}: not a run of python -m bench.peers train ({error})"
                            ) from error


class Training:
    """The network, its average and its optimiser, as they are saved and resumed."""

    def __init__(self, run: Run, folder: Path, device: str = "cpu") -> None:
        """Raises PeerError where the folder holds a run of other settings."""
        self.run, self.folder, self.device = run, folder, torch.device(device)
        torch.manual_seed(run.seed)
        self.network = build(run.size, run.sample_rate, len(run.stems)).to(self.device)
        self.average = AveragedModel(self.network, multi_avg_fn=get_ema_multi_avg_fn(EMA),
                                     use_buffers=True)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=LEARNING_RATE)
        if (folder / LAST).exists():
            self._resume()

    def step(self, targets: torch.Tensor) -> float:
        """targets [B, stems, 2, samples] -> the loss. Raises FloatingPointError."""
        self.network.train()
        targets = targets.to(self.device, non_blocking=True)
        loss = self.network(targets.sum(1), targets=targets)
        if not torch.isfinite(loss):
            raise FloatingPointError(f"the loss is {loss.item()} after "
                                     f"{self.run.segments} segments")
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), CLIP)
        self.optimizer.step()
        self.average.update_parameters(self.network)
        self.run = dataclasses.replace(self.run, segments=self.run.segments + len(targets))
        return loss.item()

    def save(self) -> None:
        state = {name: part.state_dict() for name, part in self._parts().items()}
        averaged = {key: value.contiguous()
                    for key, value in self.average.module.state_dict().items()}
        text = json.dumps(dataclasses.asdict(self.run), indent=1) + "\n"
        self._whole(WEIGHTS, lambda file: save_file(averaged, file))
        self._whole(RUN, lambda file: file.write_text(text, encoding="utf-8"))
        state["run"] = dataclasses.asdict(self.run)
        self._whole(LAST, lambda file: torch.save(state, file))

    def _parts(self) -> dict[str, Any]:
        return {"network": self.network, "average": self.average, "optimizer": self.optimizer}

    def _resume(self) -> None:
        state = torch.load(self.folder / LAST, map_location="cpu", weights_only=True)
        before = Run(**state["run"] | {"stems": tuple(state["run"]["stems"])})
        asked = dataclasses.replace(self.run, segments=before.segments, minutes=before.minutes)
        other = [field.name for field in dataclasses.fields(Run)
                 if getattr(before, field.name) != getattr(asked, field.name)]
        if other:
            raise PeerError(f"{self.folder}: was begun with other settings ({', '.join(other)}); "
                            "give the same ones or another --out")
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        self.run = before

    def _whole(self, name: str, write: Any) -> None:
        partial = self.folder / f".{name}.partial"
        write(partial)
        partial.chmod(0o644)
        os.replace(partial, self.folder / name)


def train(args: argparse.Namespace, config: Config) -> Run:
    """Raises PeerError, DataError or OSError."""
    options, section = config.train, config.network[config.model.tier]
    songs, problems = open_songs(args.data, config.data, section.stems, section.sample_rate,
                                 Variations(config.data, section.stems, section.sample_rate)
                                 .furthest(round(args.segment_s * section.sample_rate)))
    for problem in problems:
        print(f"skipped: {problem}", file=sys.stderr)
    run = Run(args.size, str(args.data), len(songs), section.stems, section.sample_rate,
              args.batch, args.segment_s, options.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    training = Training(run, args.out, args.device)
    network: Any = training.network
    whole = network.segment_len  # its forward cuts what is left over
    samples = int(args.segment_s * section.sample_rate) // whole * whole
    if not samples:
        raise PeerError(f"--segment-s {args.segment_s}: shorter than its window ({whole} samples)")
    done, began = training.run, time.monotonic()
    if done.segments:
        print(f"resuming {args.out} after {done.segments} segments", flush=True)
    mixes = RandomMixes(songs, section.stems, config.data, samples, options.seed,
                        first=done.segments, items=max(0, args.segments - done.segments))
    losses: list[float] = []
    steps = 0
    with (args.out / "train.log").open("a", encoding="utf-8") as log:
        def note() -> None:
            spent = (time.monotonic() - began) / 60
            training.run = dataclasses.replace(training.run, minutes=done.minutes + spent)
            training.save()
            line = (f"{training.run.segments} segments  loss {sum(losses) / len(losses):.5f}  "
                    f"{60 * spent / max(1, steps):.2f} s a step  {training.run.minutes:.1f} min")
            losses.clear()
            print(line, flush=True)
            print(line, file=log, flush=True)

        loader = DataLoader(mixes, batch_size=args.batch, num_workers=args.workers,
                            pin_memory=args.device == "cuda") if len(mixes) else ()
        for steps, batch in enumerate(loader, 1):
            losses.append(training.step(batch))
            late = time.monotonic() - began > 60 * args.minutes
            if late or steps % args.save_every == 0:
                note()
            if late:
                break
        if losses:
            note()
    return training.run


def main(argv: list[str] | None = None) -> int:
    args = _parse(argv)
    torch.set_num_threads(args.threads)
    try:
        run = train(args, load_config(args.config, args.overrides))
    except (PeerError, ConfigError, DataError, FloatingPointError) as error:
        print(f"bench.peers train: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"bench.peers train: {error.filename or args.out}: {error.strerror}",
              file=sys.stderr)
        return 2
    print(f"{args.out}: HS-TasNet {run.size}, {run.segments} segments of {run.segment_s:g} s in "
          f"{run.minutes:.0f} minutes")
    return 0


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.peers train",
        description="Trains HS-TasNet on the same songs and random mixtures as our tiers.")
    add = parser.add_argument
    add("--size", choices=SIZES, default="small")
    add("--data", type=Path, required=True, metavar="SONGS",
        help="folder of training songs: 16-bit WAV in the MUSDB18-HQ layout")
    add("--out", type=Path, required=True, metavar="RUN", help="folder of the run, resumed")
    add("--segments", type=int, required=True, metavar="N", help="to have trained on in the end")
    add("--minutes", type=float, default=float("inf"), help="stop earlier after so long")
    add("--batch", type=int, default=6, help="segments in a step (default 6)")
    add("--segment-s", type=float, default=1.5, metavar="S", help="seconds (default 1.5)")
    add("--save-every", type=int, default=50, metavar="STEPS")
    add("--threads", type=int, default=1, help="of the processor (default 1)")
    add("--workers", type=int, default=0, help="processes that load songs (default 0)")
    add("--device", choices=("cpu", "cuda"), default="cpu")
    add("--config", type=Path, help="instead of config.yaml")
    add("overrides", nargs="*", metavar="key.sub=value", help="settings of data and train")
    args = parser.parse_intermixed_args(argv)
    for name in ("segments", "minutes", "batch", "segment_s", "save_every", "threads"):
        if not getattr(args, name) > 0:
            parser.error(f"--{name.replace('_', '-')}: must be above 0")
    if args.workers < 0:
        parser.error("--workers: must not be below 0")
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: PyTorch finds no CUDA device here; use --device cpu")
    return args


if __name__ == "__main__":
    sys.exit(main())
