"""Offline separation: the stems are the live separator's, aligned, complete, and add up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from model.inference import __main__ as inference
from model.inference.streamed import Streamed
from rt.separator import EqualShares, Separator
from rt.session import Session, SessionError, packaged_model
from rt.spec import StreamSpec
from tests.offline_fixture import Graph, music, read, run, write


@pytest.mark.parametrize("samples", [1, 31, 4410, 70_001])
def test_stems_are_the_live_separators_exactly(step_graph: Graph, tmp_path: Path,
                                               samples: int) -> None:
    x = music(samples)
    assert run(step_graph, write(tmp_path / "song.wav", x), tmp_path / "out") == 0
    stems, rate = read(tmp_path / "out")
    live = Separator(Session(step_graph[0], "cpu"))
    spec = live.spec
    late = spec.algorithmic_latency
    expected = live.push(np.pad(x, ((0, late + spec.hop), (0, 0))))[late:late + samples]
    assert rate == 44_100
    np.testing.assert_array_equal(stems, expected.swapaxes(0, 1))
    np.testing.assert_allclose(stems.sum(0), x, atol=1e-5)


@pytest.mark.parametrize("tier", ["live", "ultra"])
def test_packaged_models_separate_by_name(tmp_path: Path, tier: str) -> None:
    """Whatever they were trained on: their stems add up to the input."""
    try:
        packaged_model(tier)
    except SessionError as error:
        pytest.skip(str(error))
    x = music(30_001)
    source = write(tmp_path / "song.wav", x)
    assert inference.main(["-i", str(source), "-o", str(tmp_path / "out"), "-c", tier]) == 0
    np.testing.assert_allclose(read(tmp_path / "out")[0].sum(0), x, atol=1e-4)


def test_the_second_file_starts_from_silence(step_graph: Graph, tmp_path: Path) -> None:
    x = music(9000)
    for name in ("a/song.wav", "b/song.wav"):
        write(tmp_path / "in" / name, x)
    assert run(step_graph, tmp_path / "in", tmp_path / "out") == 0
    first, second = (read(tmp_path / "out" / folder)[0] for folder in "ab")
    np.testing.assert_array_equal(first, second)


def test_one_stem_is_the_same_as_among_all(step_graph: Graph, tmp_path: Path) -> None:
    source = write(tmp_path / "song.wav", music(20_001))
    run(step_graph, source, tmp_path / "all")
    run(step_graph, source, tmp_path / "one", "-t", "bass")
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["song_bass.wav"]
    np.testing.assert_array_equal(read(tmp_path / "one", ("bass",))[0][0],
                                  read(tmp_path / "all")[0][2])


@pytest.mark.parametrize("rate", [44_100, 48_000])
def test_two_stems_add_up_to_the_mixture(step_graph: Graph, tmp_path: Path, rate: int) -> None:
    x = music(70_003, rate)
    source = write(tmp_path / "song.wav", x, rate)
    run(step_graph, source, tmp_path / "all")
    run(step_graph, source, tmp_path / "two", "--two-stems", "vocals")
    assert len(list((tmp_path / "two").iterdir())) == 2
    two, _ = read(tmp_path / "two", ("vocals", "accompaniment"))
    stems, _ = read(tmp_path / "all")
    np.testing.assert_allclose(two.sum(0), x, atol=2e-6 if rate == 44_100 else 2e-3)
    np.testing.assert_array_equal(two[0], stems[0])
    np.testing.assert_allclose(two[1], stems[1:].sum(0), atol=1e-5)


def test_a_stream_of_blocks_is_read_as_it_goes() -> None:
    """No more than a block ahead of what came out."""
    spec = StreamSpec(n_fft=64, synthesis=32, hop=16)
    read = 0

    def blocks() -> Iterator[np.ndarray]:
        nonlocal read
        for _ in range(1000):
            read += 100
            yield np.ones((100, 2), np.float32)

    given = 0
    for stems in Streamed(EqualShares(spec)).separate(blocks()):
        given += len(stems)
        assert read - given <= 100 + spec.synthesis
    assert given == 100_000
