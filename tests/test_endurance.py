"""The checks of a long stream: what they pass, and that each of them can fail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.data.tracks import open_track
from model.evaluate.endurance import Check, Endurance, main
from model.network import BandSplitRNN
from rt.separator import EqualShares
from rt.session import Session
from rt.spec import StateSpec, StreamSpec
from tests.songs_fixture import RATE, STEMS, make_songs

MINUTES = 3.5 / 60


class Fading(EqualShares):
    """A Masker with a state that grows, whose masks move away from where they were."""

    def __init__(self, growing: float, moving: float, floor: float = 0.0) -> None:
        super().__init__(StreamSpec(states=(StateSpec("level", (1,)),)))
        self.growing, self.moving, self.floor = growing, moving, floor
        self.level = np.ones(1, np.float32)

    def step(self, spectrum: np.ndarray) -> np.ndarray:
        self.level = self.level * np.float32(self.growing)
        spectrum += self.floor
        self.masks *= np.float32(self.moving)
        return self.masks

    def states(self) -> dict[str, np.ndarray]:
        return {"level": self.level}


def failed(session: Any, song: Path) -> set[str]:
    track = open_track(song, STEMS, {}, RATE)
    return {check.what.split(":")[0].split(" ")[0]
            for check in Endurance(session, track).checks(MINUTES) if not check.passed}


def test_every_check_can_fail(tmp_path: Path) -> None:
    song = make_songs(tmp_path, count=2) / "song_1"
    # equal shares let the whole mixture through: a vocals stem 12 dB below it
    assert failed(Fading(1.0, 1.0), song) == {"vocals"}
    assert failed(Fading(1.005, 1.0), song) == {"vocals", "state"}
    assert failed(Fading(np.nan, 1.0), song) == {"vocals", "state"}
    assert {"drums", "bass", "other"} <= failed(Fading(1.0, 1.002), song)
    assert "silence" in failed(Fading(1.0, 1.0, floor=0.1), song)
    assert not Check("", float("nan"), 1.0, "").passed


def test_a_network_streams_and_a_missed_bound_is_exit_code_1(
        tmp_path: Path, step_graph: tuple[Path, BandSplitRNN],
        capsys: pytest.CaptureFixture[str]) -> None:
    song = make_songs(tmp_path, count=2) / "song_1"
    arguments = ["--model", str(step_graph[0]), "--song", str(song), "--minutes", str(MINUTES)]
    code = main(arguments)
    lines = capsys.readouterr().out.splitlines()
    checks = {line.split(":")[0].split("  ")[0]: line for line in lines[1:-1]}
    assert list(checks) == [*STEMS, "state time_0", "state time_1", "silence after the music",
                            "vocals of the song without its vocals"]
    assert "in repeat 4" in checks["drums"]
    for name in ("drums", "state time_0", "silence after the music"):
        assert checks[name].endswith("ok")
    assert code == any(line.endswith("MISSED") for line in checks.values())


def test_repeats_are_compared_at_the_same_place(
        tmp_path: Path, step_graph: tuple[Path, BandSplitRNN]) -> None:
    """The second repeat's stems are the stream's own, and the first one's targets are aligned."""
    song = make_songs(tmp_path, count=2, seconds=0.7) / "song_1"
    session = Session(step_graph[0], "cpu")
    endurance = Endurance(session, open_track(song, STEMS, {}, RATE))
    first, _ = endurance._repeat()
    second, _ = endurance._repeat()
    late, size = session.spec.algorithmic_latency, endurance.mixture.shape[1]
    assert size % session.spec.hop == 0
    stream = np.concatenate([first, second], -1).sum(0)
    np.testing.assert_allclose(stream[:, late:], np.tile(endurance.mixture, 2)[:, :-late],
                               atol=1e-5)


@pytest.mark.parametrize("wrong", [["--song", "nosuch"], ["--song", ".", "--tier", "nosuch"],
                                   ["--song", ".", "--model", "nosuch.onnx"]])
def test_bad_input_is_one_line_and_exit_code_2(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
        wrong: list[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(wrong) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
