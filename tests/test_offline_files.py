"""What becomes of files: bad ones are named, the rest goes on, and nothing is half-written."""

from __future__ import annotations

import os
import signal as signals
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.inference import separation
from model.inference.offline import separate_sound
from model.inference.result_table import NAME
from model.sound import Sound
from tests.offline_fixture import STEMS, Graph, music, needs_ffmpeg, run, write

ROOT = Path(__file__).parent.parent


def test_without_ffmpeg_it_says_so(step_graph: Graph, tmp_path: Path,
                                   monkeypatch: pytest.MonkeyPatch,
                                   capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "song.m4a").write_bytes(b"\0\0\0\x20ftypM4A ")
    assert run(step_graph, tmp_path / "song.m4a", tmp_path / "out") == 2
    assert "ffmpeg, which reads most others, is not installed" in capsys.readouterr().err


def bad_file(folder: Path, kind: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{kind}.wav"
    if kind == "text":
        path = folder / "text.mp3"
        path.write_text("these are only words\n" * 20, encoding="utf-8")
    elif kind == "hollow":
        path = folder / "hollow.flac"
        path.write_bytes(b"")
    elif kind == "name":
        path = write(folder / "line\nbreak.wav", music(100))
    elif kind == "empty":
        write(path, np.zeros((0, 2), np.float32))
    elif kind == "nothing":
        path.write_bytes(b"")
    elif kind == "surround":
        write(path, np.zeros((100, 6), np.float32))
    else:
        x = music(70_000)
        x[68_000] = np.nan
        write(path, x)
    return path


BAD = {"text": "not a sound file", "empty": "is empty", "nothing": "not a sound file",
       "hollow": "not a sound file", "name": "cannot be printed; rename it",
       "surround": "has 6 channels", "nan": "not numbers, at 1.54 s"}


@needs_ffmpeg
@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_is_one_line_and_exit_code_2(step_graph: Graph, tmp_path: Path, kind: str,
                                                capfd: pytest.CaptureFixture[str]) -> None:
    path = bad_file(tmp_path, kind)
    assert run(step_graph, path, tmp_path / "out") == 2
    captured = capfd.readouterr()  # of the process: decoders write there as well
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert repr(str(path))[1:-1] in captured.err
    assert BAD[kind] in captured.err
    assert not list(tmp_path.glob("out/*"))


@needs_ffmpeg
def test_in_a_folder_the_rest_goes_on(step_graph: Graph, tmp_path: Path,
                                      capsys: pytest.CaptureFixture[str]) -> None:
    bad_file(tmp_path / "in" / "deep", "text")
    bad_file(tmp_path / "in", "nan")
    write(tmp_path / "in" / "deep" / "-さくら\u3000 no:1.wav", music(5000))
    write(tmp_path / "in" / "song.flac", music(5000), subtype="PCM_16")
    write(tmp_path / "in" / "song.wav", music(5000))  # would have the same names
    write(tmp_path / "in" / "._song.wav", music(5000))
    (tmp_path / "in" / "notes.txt").write_text("not meant", encoding="utf-8")
    out = tmp_path / "in" / "out"
    assert run(step_graph, tmp_path / "in", out) == 1
    captured = capsys.readouterr()
    errors = captured.err.splitlines()
    assert len(errors) == 3
    for part in ("text.mp3: not a sound file", "nan.wav: holds values",
                 "song.wav: its stems would have the names of those of song.flac"):
        assert any(part in line for line in errors), part
    assert captured.out.splitlines()[-1] == "2 separated, 0 skipped, 3 failed"
    assert len(list(out.rglob("*.wav"))) == 8
    assert run(step_graph, tmp_path / "in", out) == 1  # and its own stems are no input
    assert "0 separated, 2 skipped, 3 failed" in capsys.readouterr().out


def test_an_interrupted_run_goes_on_where_it_stopped(
        step_graph: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b", "c"):
        write(tmp_path / "in" / f"{name}.wav", music(70_000))

    def interrupted(sound: Sound, *more: Any) -> Iterator[np.ndarray]:
        for block in separate_sound(sound, *more):
            yield block
            if sound.path.name == "b.wav":
                raise KeyboardInterrupt

    monkeypatch.setattr(separation, "separate_sound", interrupted)
    assert run(step_graph, tmp_path / "in", tmp_path / "out") == 130
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        NAME, *(f"a_{stem}.wav" for stem in STEMS)}
    monkeypatch.undo()
    capsys.readouterr()
    (tmp_path / "out" / "b_bass.wav.part").write_bytes(b"what a kill -9 leaves")
    assert run(step_graph, tmp_path / "in", tmp_path / "out") == 0
    assert "2 separated, 1 skipped, 0 failed" in capsys.readouterr().out
    assert {p.suffix for p in (tmp_path / "out").iterdir()} == {".wav", ".tsv"}
    (tmp_path / "out" / "a_bass.wav").unlink()
    assert run(step_graph, tmp_path / "in", tmp_path / "out") == 0
    assert "1 separated, 2 skipped, 0 failed" in capsys.readouterr().out
    assert run(step_graph, tmp_path / "in", tmp_path / "out", "--overwrite") == 0
    assert "3 separated, 0 skipped, 0 failed" in capsys.readouterr().out


@pytest.mark.skipif(os.name != "posix", reason="signals and process limits are POSIX")
def test_ctrl_c_leaves_nothing_half_written(step_graph: Graph, tmp_path: Path) -> None:
    source = write(tmp_path / "song.wav", np.tile(music(44_100), (120, 1)))
    process = subprocess.Popen(
        [sys.executable, "-m", "model.inference", "-i", source, "-o", tmp_path / "out", "-c",
         step_graph[0]], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not any(p.stat().st_size > 10_000 for p in tmp_path.glob("out/*.part")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert not list(tmp_path.glob("out/*.wav"))
    process.send_signal(signals.SIGINT)
    assert "interrupted" in process.communicate(timeout=30)[1]
    assert process.returncode == 130
    assert not list(tmp_path.glob("out/*"))


@pytest.mark.skipif(os.name != "posix", reason="signals and process limits are POSIX")
def test_a_full_disk_is_one_line_and_exit_code_2(step_graph: Graph, tmp_path: Path) -> None:
    """A file size limit stands for the disk."""
    write(tmp_path / "in" / "song.wav", music(70_000))
    code = ("import resource, sys; from model.inference.__main__ import main; "
            "resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000)); "
            "sys.exit(main(sys.argv[1:]))")
    result = subprocess.run(
        [sys.executable, "-c", code, "-i", tmp_path / "in", "-o", tmp_path / "out", "-c",
         step_graph[0]], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 2
    assert "the disk is full" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not list(tmp_path.glob("out/*"))
