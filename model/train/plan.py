"""What a configuration asks to train, worked out and checked before anything is opened.

Apart from the run, which carries it out: everything that can be refused by reading is refused
here, in one line that names the key.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from model.inference.offline import REST
from rt.config import REFERENCE, Config, ConfigError
from rt.reference import ReferenceSection
from rt.sections import NetworkSection


@dataclass(frozen=True)
class Plan:
    """The songs' `sources` are all mixed; the network gives `stems`, of which one may be REST: the
    rest of the mixture, which has to go somewhere because masks add up to one."""

    run: Path
    network: NetworkSection | ReferenceSection
    sources: tuple[str, ...]
    stems: tuple[str, ...]
    sample_rate: int
    segment: int  # samples in a training item
    prefix: int  # hops at its beginning that have no loss

    @property
    def target(self) -> str | None:
        """The one stem of a reference network."""
        return self.stems[0] if isinstance(self.network, ReferenceSection) else None

    def identity(self) -> dict[str, Any]:
        """What a run must not change on the way, in plain values."""
        return {"target": self.target, **self.network.model_dump(mode="json")}

    def targets(self, sources: Tensor) -> Tensor:
        """[B, sources, channels, samples] -> [B, stems, channels, samples]"""
        if self.stems == self.sources:
            return sources
        rest = [i for i, source in enumerate(self.sources) if source not in self.stems]
        return torch.stack([
            sources[:, rest].sum(1) if stem == REST else sources[:, self.sources.index(stem)]
            for stem in self.stems], 1)


def make_plan(config: Config) -> Plan:
    """Raises ConfigError."""
    plan = _reference(config) if config.model.tier == REFERENCE else _streaming(config)
    hop = 1 if isinstance(plan.network, ReferenceSection) else plan.network.hop
    heard = plan.segment - plan.prefix * hop
    train = config.train
    longest = max(train.loss_n_fft, *train.loss_windows, 0) if train.loss == "l1" else 1
    if heard < longest:
        raise ConfigError(f"train.segment_s = {train.segment_s:g}: after the prefix "
                          f"(train.prefix_s = {train.prefix_s:g}) {max(heard, 0)} samples "
                          f"are left, the loss needs {longest}; raise the one or lower the other")
    return plan


def _streaming(config: Config) -> Plan:
    tier, train = config.model.tier, config.train
    network = config.network[tier]
    target = train.target
    if target is not None:
        _check_target(config, target)
    named = [stem for stem in ([target] if target else network.stems) if stem != REST]
    sources = tuple(dict.fromkeys([*config.data.stems, *named]))
    stems = tuple([target] if target else network.stems)
    if REST not in stems and set(sources) - set(stems):
        stems = (*stems, REST)
    return Plan(
        run=train.run or Path("runs") / (f"{tier}-{target}" if target else tier),
        network=network.model_copy(update={"stems": stems}),
        sources=_in_order(sources, stems),
        stems=stems,
        sample_rate=network.sample_rate,
        segment=round(train.segment_s * network.sample_rate),
        prefix=round(train.prefix_s * network.sample_rate / network.hop))


def _in_order(sources: tuple[str, ...], stems: tuple[str, ...]) -> tuple[str, ...]:
    """The network's own order where it names them all: its targets are then the item itself."""
    return stems if set(sources) == set(stems) else sources


def _reference(config: Config) -> Plan:
    train, target = config.train, config.train.target
    if target is None:
        raise ConfigError("train.target is not set: a reference network gives one stem, "
                          f"{_list(config.data.stems)}")
    _check_target(config, target)
    if train.optimizer == "muon":
        raise ConfigError("train.optimizer = 'muon': it knows the matrices of the streaming "
                          "network only; use adamw for a reference network")
    try:
        network = config.reference.for_target(target)
    except ValueError as error:
        raise ConfigError(f"reference.bandsplits for {target}: {error}") from error
    return Plan(
        run=train.run or Path("runs") / f"{REFERENCE}-{target}",
        network=network,
        sources=config.data.stems,
        stems=(target,),
        sample_rate=network.sr,
        segment=network.segment,
        prefix=0)


def _check_target(config: Config, target: str) -> None:
    if target not in config.data.stems:
        raise ConfigError(f"train.target = {target!r}: no such stem, there is "
                          f"{_list(config.data.stems)} (data.stems)")


def _list(stems: tuple[str, ...]) -> str:
    return ", ".join(stems)
