"""Fixtures shared by the tests: networks of odd sizes, exported graphs, music-like signals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from export.graph import write_step_graph
from export.verify import probe_signal
from model.network import BandSplitRNN
from rt.sections import NetworkSection
from rt.spec import StreamSpec

SMALL = NetworkSection(n_fft=256, synthesis=64, hop=32, bands=((8, 4), (6, 8), (1, 49)),
                       features=16, hidden=12, layers=2, heads=2, mask_hidden=8)

# Real time on a shared machine: a host that stops for half a second fails what is right. Such a
# test may be run again, and pytest's summary then counts a rerun.
REAL_TIME = {"test_engine", "test_live", "test_loopback", "test_midi", "test_worker"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.stem in REAL_TIME:
            item.add_marker(pytest.mark.flaky(reruns=2))


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def step_graph(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, BandSplitRNN]:
    """A small network with random weights and its exported graph."""
    torch.manual_seed(7)
    network = BandSplitRNN(SMALL).eval()
    path = tmp_path_factory.mktemp("graphs") / "small.onnx"
    write_step_graph(network, network.spec(tier="small", version="test"), path)
    return path, network


@pytest.fixture
def signal() -> np.ndarray:
    """[n, 2] float32 with notes, hits, quiet passages and silence."""
    return probe_signal(StreamSpec(), 80)
