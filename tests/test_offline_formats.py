"""Formats, rates and channels that go in, and those that come out."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from model.inference.offline import resampled
from tests.offline_fixture import Graph, music, needs_ffmpeg, read, run, write


@pytest.mark.parametrize(("rate", "samples"), [(48_000, 48_001), (22_050, 30_007), (96_000, 9),
                                               (44_100, 44_101), (48_000, 1)])
def test_any_rate_comes_back_in_length_and_in_time(step_graph: Graph, tmp_path: Path, rate: int,
                                                   samples: int) -> None:
    x = music(samples, rate)
    run(step_graph, write(tmp_path / "song.wav", x, rate), tmp_path / "out")
    stems, out_rate = read(tmp_path / "out")
    assert (out_rate, stems.shape) == (rate, (4, samples, 2))
    np.testing.assert_allclose(stems.sum(0), x, atol=2e-3)


@pytest.mark.parametrize(("option", "rate", "samples"), [
    ("model", 44_100, 44_101), ("32000", 32_000, 32_001), ("input", 48_000, 48_001)])
def test_stems_at_another_rate(step_graph: Graph, tmp_path: Path, option: str, rate: int,
                               samples: int) -> None:
    x = music(48_001, 48_000)
    run(step_graph, write(tmp_path / "song.wav", x, 48_000), tmp_path / "out", "--rate", option)
    stems, out_rate = read(tmp_path / "out")
    assert (out_rate, stems.shape) == (rate, (4, samples, 2))
    expected = next(resampled([np.concatenate([x, x * 0])], 48_000, rate))[:samples - 2000]
    np.testing.assert_allclose(stems.sum(0)[:len(expected)], expected, atol=2e-3)


def test_mono_in_mono_out(step_graph: Graph, tmp_path: Path) -> None:
    x = music(20_001, channels=1)
    run(step_graph, write(tmp_path / "song.wav", x), tmp_path / "out")
    mono, _ = read(tmp_path / "out")
    assert mono.shape == (4, 20_001, 1)
    np.testing.assert_allclose(mono.sum(0), x, atol=1e-5)
    run(step_graph, write(tmp_path / "song.wav", x.repeat(2, 1)), tmp_path / "stereo")
    stereo, _ = read(tmp_path / "stereo")
    np.testing.assert_allclose(mono[..., 0], stereo.mean(2), atol=1e-6)


@pytest.mark.parametrize(("options", "suffix", "subtype", "step"), [
    ([], "wav", "FLOAT", 0.0), (["--subtype", "16"], "wav", "PCM_16", 2**-15),
    (["--subtype", "24"], "wav", "PCM_24", 2**-23), (["--flac"], "flac", "PCM_24", 2**-23),
    (["--flac", "--subtype", "16"], "flac", "PCM_16", 2**-15)])
def test_encodings(step_graph: Graph, tmp_path: Path, options: list[str], suffix: str,
                   subtype: str, step: float) -> None:
    source = write(tmp_path / "song.wav", music(9001))
    run(step_graph, source, tmp_path / "float")
    run(step_graph, source, tmp_path / "out", *options)
    assert soundfile.info(str(tmp_path / "out" / f"song_bass.{suffix}")).subtype == subtype
    np.testing.assert_allclose(read(tmp_path / "out", suffix=suffix)[0],
                               read(tmp_path / "float")[0], atol=step)


def test_what_is_clipped_is_said(step_graph: Graph, tmp_path: Path,
                                 capsys: pytest.CaptureFixture[str]) -> None:
    source = write(tmp_path / "song.wav", 100 * music(9001))
    run(step_graph, source, tmp_path / "float")
    assert "full scale" not in capsys.readouterr().out
    run(step_graph, source, tmp_path / "out", "--subtype", "16")
    over = int((np.abs(read(tmp_path / "float")[0]) > 1).sum())
    assert f"{over} values were over full scale and are clipped" in capsys.readouterr().out
    assert read(tmp_path / "out")[0].max() == pytest.approx(1, abs=1e-4)  # no wrapping round


@needs_ffmpeg
@pytest.mark.parametrize("suffix", ["mp3", "m4a", "ogg", "flac"])
def test_compressed_files(step_graph: Graph, tmp_path: Path, suffix: str) -> None:
    source = tmp_path / f"song.{suffix}"
    wav = write(tmp_path / "wav.wav", music(60_000, 48_000), 48_000)
    command = ["ffmpeg", "-v", "error", "-i", str(wav), str(source)]
    subprocess.run(command, check=True)
    decoded = subprocess.run(["ffmpeg", "-v", "error", "-i", str(source), "-f", "f32le", "-"],
                             check=True, capture_output=True).stdout
    expected = np.frombuffer(decoded, np.float32).reshape(-1, 2)
    assert run(step_graph, source, tmp_path / "out") == 0
    stems, rate = read(tmp_path / "out")
    assert (rate, stems.shape) == (48_000, (4, *expected.shape))
    np.testing.assert_allclose(stems.sum(0), expected, atol=5e-3)
