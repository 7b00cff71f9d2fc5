"""Public reference checkpoints built from their format's table, without the code that loads them.

The table of keys and shapes, and the walk along the bands, are written plainly from the format's
description; tests hold the network against them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import yaml

HPARAMS: dict[str, Any] = {
    "model": {
        "sr": 44100, "n_fft": 2048,
        "bandsplits": [[1000, 100], [4000, 250], [8000, 500], [16000, 1000], [20000, 2000]],
        "t_timesteps": 263, "bottleneck_layer": "rnn", "fc_dim": 128, "rnn_dim": 256,
        "rnn_type": "LSTM", "bidirectional": True, "num_layers": 12, "mlp_dim": 512,
        "return_mask": False, "complex_as_channel": True, "is_mono": False},
    "featurizer": {"n_fft": 2048, "win_length": 2048, "hop_length": 512, "power": None},
    "audio_params": {"target": "vocals", "sr": 44100, "win_size": 3, "hop_size": 0.5,
                     "batch_size": 8, "window": None},
    "opt": {"lr": 0.001},
}
SMALL: dict[str, Any] = HPARAMS | {
    "model": HPARAMS["model"] | {
        "sr": 8000, "n_fft": 64, "bandsplits": [[1000, 250], [2000, 500]], "t_timesteps": 9,
        "fc_dim": 6, "rnn_dim": 5, "num_layers": 2, "mlp_dim": 7},
    "featurizer": {"n_fft": 64, "win_length": 64, "hop_length": 16, "power": None},
    "audio_params": HPARAMS["audio_params"] | {"sr": 8000, "win_size": 0.0155,
                                               "hop_size": 0.003},
}


def bands(model: dict[str, Any]) -> list[int]:
    """Bins per band, by walking the list with one bin after the other."""
    bins = model["n_fft"] // 2 + 1
    frequencies = [k * model["sr"] / model["n_fft"] for k in range(bins)]
    widths, used, start = [], 0, 0
    for end, step in model["bandsplits"]:
        edge = start + step
        while edge <= end:
            below = sum(f < edge for f in frequencies)
            widths.append(below - used)
            used, edge = below, edge + step
        start = end
    return [*widths, bins - used]


def table(model: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Every key of a public state dict and its shape."""
    n, h, m, t = (model[key] for key in ("fc_dim", "rnn_dim", "mlp_dim", "t_timesteps"))
    shapes: dict[str, tuple[int, ...]] = {}
    for i, width in enumerate(bands(model)):
        v = 4 * width
        for part in ("weight", "bias"):
            shapes[f"bandsplit.layernorms.{i}.{part}"] = (v, t)
            shapes[f"maskest.layernorms.{i}.{part}"] = (t, n)
        shapes |= {f"bandsplit.fcs.{i}.weight": (n, v), f"bandsplit.fcs.{i}.bias": (n,)}
        mlp = f"maskest.mlp.{i}.mlp"
        shapes |= {f"{mlp}.0.weight": (m, n), f"{mlp}.0.bias": (m,),
                   f"{mlp}.2.weight": (v, m), f"{mlp}.2.bias": (v,),
                   f"{mlp}.3.linear.weight": (2 * v, v), f"{mlp}.3.linear.bias": (2 * v,)}
    for layer in range(model["num_layers"]):
        for d in (0, 1):
            at = f"bandsequence.bsrnn.{layer}.{d}"
            shapes |= {f"{at}.groupnorm.weight": (n,), f"{at}.groupnorm.bias": (n,),
                       f"{at}.fc.weight": (n, 2 * h), f"{at}.fc.bias": (n,)}
            for way in ("", "_reverse"):
                shapes |= {f"{at}.rnn.weight_ih_l0{way}": (4 * h, n),
                           f"{at}.rnn.weight_hh_l0{way}": (4 * h, h),
                           f"{at}.rnn.bias_ih_l0{way}": (4 * h,),
                           f"{at}.rnn.bias_hh_l0{way}": (4 * h,)}
    return shapes


def weights(model: dict[str, Any]) -> dict[str, torch.Tensor]:
    """A state dict built from the table alone; large enough for every part to matter."""
    generator = torch.Generator().manual_seed(5)
    return {key: torch.randn(shape, generator=generator) * (shape[-1] ** -0.5)
            + float("norm" in key and key.endswith("weight")) for key, shape in
            table(model).items()}


def write(folder: Path, content: Any, hparams: dict[str, Any], name: str = "vocals.pt") -> Path:
    torch.save(content, folder / name)
    (folder / "hparams.yaml").write_text(yaml.safe_dump(hparams), encoding="utf-8")
    return folder / name
