"""The listening page's pictures."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from model.evaluate.listen import main
from model.network import BandSplitRNN
from tests.songs_fixture import RATE


def test_a_picture_is_small_and_shows_the_stems(
        tmp_path: Path, step_graph: tuple[Path, BandSplitRNN]) -> None:
    rng = np.random.default_rng(0)
    song = tmp_path / "song.wav"
    soundfile.write(song, 0.1 * rng.standard_normal((RATE // 2, 2)), RATE)
    out = tmp_path / "deep" / "out"
    assert main(["-i", str(song), "--tier", str(step_graph[0]), "--start", "0.1",
                 "--out", str(out)]) == 0
    assert [p.name for p in out.iterdir()] == ["small.png"]
    assert (out / "small.png").stat().st_size < 300_000
    with Image.open(out / "small.png") as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    assert pixels.shape == (600, 640, 3)
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20


@pytest.mark.parametrize("wrong", [
    ["-i", "nosuch.wav"], ["--tier", "nosuch"], ["--start", "1000"]])
def test_bad_input_is_one_line_and_exit_code_2(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
        wrong: list[str], step_graph: tuple[Path, BandSplitRNN]) -> None:
    monkeypatch.chdir(tmp_path)
    soundfile.write("s.wav", np.zeros((9000, 2)), RATE)
    assert main(["-i", "s.wav", "--tier", str(step_graph[0]), "--out", "out", *wrong]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not list(Path("out").glob("*"))
