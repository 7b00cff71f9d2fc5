"""The same separation on a local Ray of two workers, one of which is killed over and over."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from model.inference.stem_files import PART
from tests.offline_fixture import STEMS, Graph, music, read, run, write
from tests.test_archive import rows

pytest.importorskip("ray", reason="ray is not installed: --cluster is not tested")
ROOT = Path(__file__).parent.parent
DEADLINE_S = 200


def worker_on(song: str, program: psutil.Process, out: Path) -> psutil.Process:
    """The worker that has this song's stems open."""
    deadline = time.monotonic() + DEADLINE_S
    wanted = str(out / f"{song}_{STEMS[0]}.wav{PART}")
    while time.monotonic() < deadline:
        assert program.status() != psutil.STATUS_ZOMBIE, "the program has ended"
        for child in program.children(recursive=True):
            try:
                if any(file.path == wanted for file in child.open_files()):
                    return child
            except psutil.Error:  # it has just ended
                continue
        time.sleep(0.05)
    raise AssertionError(f"no worker took {song}")


@pytest.mark.skipif(sys.platform != "linux", reason="reads open files as Linux gives them")
def test_a_worker_that_dies_is_replaced_and_the_rest_goes_on(step_graph: Graph,
                                                             tmp_path: Path) -> None:
    long = np.tile(music(44_100, channels=1), (300, 1))  # seconds of work: time to be killed in
    songs, out = tmp_path / "songs", tmp_path / "out"
    write(songs / "deadly.wav", long, subtype="PCM_16")
    short = {name: write(songs / f"{name}.wav", music(44_100 + i))
             for i, name in enumerate(("x", "y", "z"))}
    (songs / "text.wav").write_text("only words", encoding="utf-8")
    with (tmp_path / "errors").open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "model.inference", "-i", songs, "-o", out, "-c",
             step_graph[0], "--cluster", "local", "--workers", "2", "--attempts", "2"],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True)
    program = psutil.Process(process.pid)
    first = worker_on("deadly", program, out)
    others = program.children(recursive=True)
    first.kill()
    first.wait(30)
    second = worker_on("deadly", program, out)
    assert second.pid != first.pid
    others += program.children(recursive=True)
    second.kill()
    printed = process.communicate(timeout=DEADLINE_S)[0]
    said = (tmp_path / "errors").read_text()
    assert process.returncode == 1, said
    assert printed.splitlines()[-1] == "3 separated, 0 skipped, 2 failed"
    assert sorted("deadly" in line for line in said.splitlines()) == [False, True], said
    table = rows(out)
    assert {name: (row["status"], row["attempts"]) for name, row in table.items()} == {
        "deadly.wav": ("failed", "2"), "text.wav": ("failed", "1"),
        "x.wav": ("done", "1"), "y.wav": ("done", "1"), "z.wav": ("done", "1")}
    assert "given up after 2 attempts: its worker died" in table["deadly.wav"]["error"]
    assert "not a sound file" in table["text.wav"]["error"]
    assert not list(out.glob(f"*{PART}"))
    psutil.wait_procs(others, timeout=30)
    assert not [child for child in others if child.is_running()]

    # and the same stems as without a cluster, which takes up where it stopped
    for name, song in short.items():
        assert run(step_graph, song, tmp_path / "here") == 0
        np.testing.assert_array_equal(read(out, song=name)[0],
                                      read(tmp_path / "here", song=name)[0])
    write(songs / "deadly.wav", music(4410))
    (songs / "text.wav").unlink()
    assert run(step_graph, songs, out) == 0
    assert rows(out)["deadly.wav"]["status"] == "done"
    assert rows(out)["x.wav"] == table["x.wav"]
