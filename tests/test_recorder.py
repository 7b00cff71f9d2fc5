"""Recordings: aligned to the sample, honest about what was lost, never looking finished early."""

from __future__ import annotations

import re
import struct
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

import rt.wav
from rt.recorder import Recorder, RecorderError
from rt.wav import HEADER, WavWriter

STEMS = ("vocals", "drums", "bass", "other")
RATE = 44_100
ROOT = Path(__file__).parent.parent


class FakeTap:
    """Stems that add up to a known mixture, in reads of awkward sizes; may lose samples.

    `positions` are the runs that arrive: [(first, last + 1), ...].
    """

    def __init__(self, *positions: tuple[int, int], sizes: tuple[int, ...] = (1, 63, 441, 4096),
                 ) -> None:
        self._runs = list(positions)
        self._sizes = sizes
        self._reads = 0
        self.open = threading.Event()
        self.open.set()

    def read(self, max_samples: int) -> tuple[int, np.ndarray, np.ndarray]:
        if not self._runs or not self.open.is_set():
            return 0, np.zeros((0, 2), np.float32), np.zeros((0, len(STEMS), 2), np.float32)
        first, end = self._runs[0]
        n = min(max_samples, end - first, self._sizes[self._reads % len(self._sizes)])
        self._reads += 1
        self._runs[0] = (first + n, end)
        if first + n == end:
            self._runs.pop(0)
        stems = stems_at(np.arange(first, first + n))
        return first, stems.sum(1), stems


def stems_at(positions: np.ndarray) -> np.ndarray:
    """[n, stems, 2]: every sample of every stem is different and says where it belongs."""
    k = np.arange(len(STEMS))[:, None] + 10 * np.arange(2)
    return ((positions[:, None, None] * 31 + k * 7) % 4096 / 4096 - 0.5).astype(np.float32)


def record(folder: Path, tap: FakeTap) -> tuple[Recorder, list[str]]:
    said: list[str] = []
    recorder = Recorder(folder, STEMS, said.append)
    recorder.start(tap, RATE)
    recorder.stop()
    return recorder, said


def read(path: Path) -> np.ndarray:
    samples, rate = sf.read(path, dtype="float32")
    assert rate == RATE
    return samples


def test_files_are_float_equally_long_and_aligned_to_the_sample(tmp_path: Path) -> None:
    record(tmp_path / "new" / "takes", FakeTap((700, 700 + 30_011)))
    folder = tmp_path / "new" / "takes"
    assert sorted(p.name for p in folder.iterdir()) == sorted(
        f"{n}.wav" for n in ("mixture", *STEMS))
    expected = stems_at(np.arange(700, 700 + 30_011))
    for k, stem in enumerate(STEMS):
        assert sf.info(folder / f"{stem}.wav").subtype == "FLOAT"
        np.testing.assert_array_equal(read(folder / f"{stem}.wav"), expected[:, k])
    total = sum(read(folder / f"{stem}.wav").astype(float) for stem in STEMS)
    np.testing.assert_allclose(read(folder / "mixture.wav"), total, atol=1e-6)


def test_lost_samples_become_silence_and_are_counted_and_said(tmp_path: Path) -> None:
    recorder, said = record(tmp_path, FakeTap((0, 5000), (25_000, 30_000), (30_100, 31_000)))
    assert recorder.lost == 20_100
    expected = stems_at(np.arange(31_000))
    expected[5000:25_000] = expected[30_000:30_100] = 0
    for k, stem in enumerate(STEMS):
        np.testing.assert_array_equal(read(tmp_path / f"{stem}.wav"), expected[:, k])
    assert len(read(tmp_path / "mixture.wav")) == 31_000
    assert len(said) == 2
    assert "20100 samples were lost" in said[-1]
    assert "20100 samples lost" in recorder.status()


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    record(tmp_path, FakeTap((0, 100)))
    first = (tmp_path / "vocals.wav").read_bytes()
    (tmp_path / "take-2").mkdir()
    (tmp_path / "take-2" / "bass.wav.part").write_bytes(b"what a crash left")
    recorder, _ = record(tmp_path, FakeTap((0, 200)))
    assert recorder.folder == tmp_path / "take-3"
    assert (tmp_path / "vocals.wav").read_bytes() == first
    assert (tmp_path / "take-2" / "bass.wav.part").read_bytes() == b"what a crash left"
    assert len(read(tmp_path / "take-3" / "vocals.wav")) == 200


def test_a_name_taken_during_the_recording_is_left_alone(tmp_path: Path) -> None:
    said: list[str] = []
    recorder = Recorder(tmp_path, STEMS, said.append)
    recorder.start(FakeTap((0, 100)), RATE)
    (tmp_path / "drums.wav").write_bytes(b"somebody else's")
    recorder.stop()
    assert (tmp_path / "drums.wav").read_bytes() == b"somebody else's"
    assert str(tmp_path / "drums.wav.part") in said[0]
    assert len(read(tmp_path / "bass.wav")) == 100


def test_a_recording_without_a_sample_is_still_valid(tmp_path: Path) -> None:
    record(tmp_path, FakeTap())
    assert len(read(tmp_path / "mixture.wav")) == 0


def test_a_recorder_that_never_started_leaves_no_files(tmp_path: Path) -> None:
    Recorder(tmp_path, STEMS).stop()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("stems", [("mixture", "drums"), ("../escape",), ("a", "a")])
def test_stems_that_cannot_be_file_names_are_refused(
        tmp_path: Path, stems: tuple[str, ...]) -> None:
    with pytest.raises(RecorderError, match="file name"):
        Recorder(tmp_path, stems)
    assert not list(tmp_path.iterdir())


def test_an_unwritable_folder_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file, not a folder")
    folders = [tmp_path / "taken", tmp_path / "taken" / "below"]
    if Path("/proc/version").exists():
        folders.append(Path("/proc/no-such-place"))
    for folder in folders:
        with pytest.raises(RecorderError, match="cannot be written") as error:
            Recorder(folder, STEMS)
        assert str(folder) in str(error.value)
        assert "\n" not in str(error.value)


CRASHING = """
    import os, resource, signal, sys, time
    sys.path.insert(0, {root!r})
    from pathlib import Path
    from tests.test_recorder import FakeTap, STEMS, RATE
    from rt.recorder import Recorder
"""


def run(code: str, **values: object) -> subprocess.CompletedProcess[str]:
    source = textwrap.dedent(CRASHING + code).format(root=str(ROOT), **values)
    return subprocess.run([sys.executable, "-c", source], capture_output=True, text=True,
                          timeout=60, check=False)


def test_a_crash_leaves_nothing_that_looks_finished_but_what_can_be_recovered(
        tmp_path: Path) -> None:
    result = run("""
    recorder = Recorder({folder!r}, STEMS)
    recorder.start(FakeTap((0, 20_000)), RATE)
    time.sleep(1.3)  # past one update of the headers
    os.kill(os.getpid(), signal.SIGKILL)
    """, folder=str(tmp_path))
    assert result.returncode == -9, result.stderr
    assert not list(tmp_path.glob("*.wav"))
    parts = sorted(tmp_path.glob("*.wav.part"))
    assert len(parts) == 5
    for part in parts:
        part.rename(part.with_suffix(""))
    np.testing.assert_array_equal(read(tmp_path / "bass.wav"), stems_at(np.arange(20_000))[:, 2])


@pytest.mark.skipif(sys.platform == "win32", reason="no RLIMIT_FSIZE on Windows")
def test_a_disk_that_fills_up_ends_the_recording_and_keeps_it(tmp_path: Path) -> None:
    result = run("""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # so that a write fails, as on a full disk
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_003, 100_003))
    said = []
    recorder = Recorder({folder!r}, STEMS, said.append)
    recorder.start(FakeTap((0, 44_100)), RATE)
    while not recorder.failure:
        time.sleep(0.01)
    print(recorder.status())
    recorder.stop()
    assert len(said) == 1, said
    """, folder=str(tmp_path))
    assert result.returncode == 0, result.stderr
    assert re.match(r"recording stopped after 0\.[123] s \(File too large\)", result.stdout)
    lengths = {len(read(tmp_path / f"{n}.wav")) for n in ("mixture", *STEMS)}
    assert len(lengths) == 1
    length = lengths.pop()
    assert (100_003 - HEADER) // 8 - 4096 <= length <= (100_003 - HEADER) // 8
    np.testing.assert_array_equal(read(tmp_path / "other.wav"), stems_at(np.arange(length))[:, 3])


def test_a_slow_disk_holds_up_nobody_but_the_recorder(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = WavWriter.write

    def slowly(self: WavWriter, samples: np.ndarray) -> None:
        time.sleep(0.05)
        write(self, samples)

    monkeypatch.setattr(WavWriter, "write", slowly)
    recorder = Recorder(tmp_path, STEMS)
    began = time.monotonic()
    recorder.start(FakeTap((0, 8000), sizes=(4000,)), RATE)
    recorder.status()
    assert time.monotonic() - began < 0.05
    recorder.stop()
    assert len(read(tmp_path / "mixture.wav")) == 8000


def test_a_file_that_outgrows_wav_becomes_rf64(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = stems_at(np.arange(1000))[:, 0]
    for limit, container in ((1 << 20, b"RIFF"), (4000, b"RF64")):
        monkeypatch.setattr(rt.wav, "LARGEST_WAV", limit)
        writer = WavWriter(tmp_path / f"{limit}.wav", 2)
        writer.begin(RATE)
        writer.write(samples)
        writer.close()
        assert writer.path.read_bytes()[:4] == container
        np.testing.assert_array_equal(read(writer.path), samples)


def test_sizes_past_4_gb_are_written_in_64_bits(tmp_path: Path) -> None:
    writer = WavWriter(tmp_path / "long.wav", 2)
    writer.begin(RATE)
    writer.samples = 600_000_000  # as if they had been written: 4.8 GB
    writer.close()
    header = writer.path.read_bytes()
    assert header[:4] == b"RF64"
    assert header[12:16] == b"ds64"
    assert struct.unpack_from("<QQQ", header, 20) == (
        HEADER - 8 + 4_800_000_000, 4_800_000_000, 600_000_000)
