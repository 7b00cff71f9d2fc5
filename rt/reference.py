"""Sizes of the reference network: the paper's, under the names of the public `hparams.yaml`.

Apart from `config`, which reads them, because the paper's band schemes come with them. The network
itself is model.reference; the live system has no use for it, since it hears what is still to come.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

from pydantic import BaseModel, ConfigDict, PositiveInt, model_validator

Splits = tuple[tuple[int, int], ...]  # (end_hz, step_hz) from low to high

# Luo & Yu (arXiv 2209.15174), section 4.2; every other target is split like the vocals
SPLITS: dict[str, Splits] = {
    "vocals": ((1000, 100), (4000, 250), (8000, 500), (16000, 1000), (20000, 2000)),
    "bass": ((500, 50), (1000, 100), (4000, 500), (8000, 1000), (16000, 2000)),
    "drums": ((1000, 50), (2000, 100), (4000, 250), (8000, 500), (16000, 1000)),
}
SPLITS["other"] = SPLITS["vocals"]


def band_edges(splits: Splits, sample_rate: int, n_fft: int) -> list[int]:
    """First bin of every band, and the number of bins at the end.

    Band edges are step_hz apart up to end_hz; a band holds the bins below its edge that no
    earlier band has, the rest up to Nyquist is the last band. Raises ValueError where a band
    would hold no bin or a step does not lead to its end.
    """
    edges, start_hz = [0], 0
    for end_hz, step_hz in splits:
        if step_hz <= 0 or end_hz <= start_hz or (end_hz - start_hz) % step_hz:
            raise ValueError(f"no steps of {step_hz} Hz lead from {start_hz} to {end_hz} Hz")
        edges += [-(-edge * n_fft // sample_rate)  # bins k with k · sample_rate / n_fft < edge
                  for edge in range(start_hz + step_hz, end_hz + 1, step_hz)]
        start_hz = end_hz
    edges.append(n_fft // 2 + 1)
    if any(low >= high for low, high in pairwise(edges)):
        raise ValueError(f"a band of {list(splits)} holds no bin at n_fft {n_fft}")
    return edges


class ReferenceSection(BaseModel):
    """Sizes of a reference network. `bandsplits` None stands for the scheme of the target, which
    `for_target` fills in; a network that is built without one has the vocals'.

    What the public code can do beyond the published network (attention, GRU, mono) is refused.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    sr: PositiveInt = 44_100
    n_fft: PositiveInt = 2048
    win_length: PositiveInt = 2048
    hop_length: PositiveInt = 512
    bandsplits: Splits | None = None
    t_timesteps: PositiveInt = 263
    fc_dim: PositiveInt = 128
    rnn_dim: PositiveInt = 256
    num_layers: PositiveInt = 12
    mlp_dim: PositiveInt = 512
    bottleneck_layer: Literal["rnn"] = "rnn"
    rnn_type: Literal["LSTM"] = "LSTM"
    bidirectional: Literal[True] = True
    complex_as_channel: Literal[True] = True
    is_mono: Literal[False] = False
    return_mask: Literal[False] = False

    @model_validator(mode="after")
    def _consistent(self) -> ReferenceSection:
        if self.bandsplits is not None:
            band_edges(self.bandsplits, self.sr, self.n_fft)
        if self.win_length > self.n_fft or 2 * self.hop_length > self.win_length:
            raise ValueError(f"hop_length {self.hop_length}, win_length {self.win_length} and "
                             f"n_fft {self.n_fft} do not overlap-add")
        if self.segment <= self.n_fft // 2:
            raise ValueError(f"t_timesteps {self.t_timesteps} is shorter than a window")
        return self

    def for_target(self, target: str) -> ReferenceSection:
        """With the target's own bands, unless `bandsplits` says otherwise. Raises ValueError
        where they do not fit n_fft."""
        splits = self.bandsplits or SPLITS.get(target, SPLITS["other"])
        band_edges(splits, self.sr, self.n_fft)
        return self.model_copy(update={"bandsplits": splits})

    @property
    def edges(self) -> list[int]:
        """First bin of every band, and the number of bins at the end."""
        return band_edges(self.bandsplits or SPLITS["vocals"], self.sr, self.n_fft)

    @property
    def segment(self) -> int:
        """Samples of the segments that the network's normalisation is made for."""
        return (self.t_timesteps - 1) * self.hop_length
