"""Songs and settings with which a run takes seconds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import SMALL
from tests.songs_fixture import make_songs

FIELDS = ("n_fft", "synthesis", "hop", "bands", "features", "hidden", "layers", "heads",
          "mask_hidden")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    make_songs(root / "train", seed=1)
    make_songs(root / "valid", count=2, seconds=0.5, seed=2)
    return root


def settings(data: Path, run: Path, **more: object) -> list[str]:
    network = SMALL.model_dump(mode="json")
    given = {f"network.live.{key}": json.dumps(network[key]) for key in FIELDS}
    given |= {"data.root": data, "train.run": run, "train.max_steps": 4, "train.steps_per_epoch": 2,
              "train.batch": 2, "train.segment_s": 0.1, "train.validate_every": 1,
              "train.threads": 1, "train.warmup": 2, "train.prefix_s": 0.02,
              "train.log_every": 1, "train.samples": 0, "train.loss_n_fft": 512,
              "train.loss_hop": 128, "train.accelerator": "cpu"}
    given |= {key.replace("__", "."): value for key, value in more.items()}
    return [f"{key}={value}" for key, value in given.items()]
