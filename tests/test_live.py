"""python -m rt.live as a user types it: real files, a real terminal, real signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from jackrig import Card, isolated, jack_server

from rt.session import packaged_model

ROOT = Path(__file__).parent.parent
STEMS = ("vocals", "drums", "bass", "other")
STATS = {"sample_rate", "hop", "latency_samples", "latency_ms", "provider", "hops", "late_hops",
         "underruns", "overruns", "step_ms", "rtf", "seconds"}


def live(*arguments: str | Path | float, timeout: float = 90) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "rt.live", *map(str, arguments)], cwd=ROOT,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=timeout, check=False)


def recording(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """-> mixture [n, 2], stems [n, 4, 2]"""
    files = [soundfile.read(folder / f"{name}.wav", dtype="float32")[0]
             for name in ("mixture", *STEMS)]
    assert len({len(f) for f in files}) == 1
    return files[0], np.stack(files[1:], 1)


@pytest.mark.parametrize("tier", ["live", "ultra"])
def test_the_demo_comes_apart_into_stems_that_add_up(tier: str, tmp_path: Path) -> None:
    result = live("-i", "demo", "-o", "null", "--headless", "--tier", tier, "--duration", 4,
                  "--record", tmp_path / "take", "--stats", tmp_path / "s.json")
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    mixture, stems = recording(tmp_path / "take")
    assert len(mixture) == 4 * 44100
    peak = np.abs(mixture).max()
    assert peak > 0.05
    assert np.abs(stems.sum(1) - mixture).max() <= 1e-4 * peak
    stats = json.loads((tmp_path / "s.json").read_text())
    assert stats.keys() == STATS
    assert stats["latency_samples"] == {"live": 512, "ultra": 256}[tier] or stats["hops"] == 0
    assert stats["hops"] == pytest.approx(4 * 44100 / stats["hop"], abs=8)
    assert 0 < stats["step_ms"]["p50"] <= stats["step_ms"]["p99"] <= stats["step_ms"]["max"]
    deadline = 1e3 * stats["hop"] / 44100
    assert stats["rtf"]["p50"] == pytest.approx(stats["step_ms"]["p50"] / deadline)
    for word in ("input", "provider", "trained on", "latency", "sum", "RTF", "late"):
        assert word in result.stdout


def test_the_mixture_is_the_file_and_the_output_is_it_delayed_and_whole(
        step_graph: tuple[Path, object], signal: np.ndarray, tmp_path: Path) -> None:
    """Unity gains through the whole program, to the sample; and an untrained model says so."""
    song = tmp_path / "song.wav"
    soundfile.write(song, np.tile(signal, (4, 1)), 44100, subtype="FLOAT")
    result = live("-i", song, "-o", tmp_path / "out.wav", "--headless", "--slack", 8,
                  "--blocksize", 441, "--model", step_graph[0], "--record", tmp_path / "take")
    assert result.returncode == 0, result.stderr
    assert "untrained" in result.stdout
    x = np.tile(signal, (4, 1))
    mixture, stems = recording(tmp_path / "take")
    np.testing.assert_array_equal(mixture, x)
    tolerance = 1e-4 * np.abs(x).max()
    np.testing.assert_allclose(stems.sum(1), x, atol=tolerance)
    out = soundfile.read(tmp_path / "out.wav", dtype="float32")[0]
    assert len(out) == len(x)
    # dry or wet, late or not: the output at unity is the input
    np.testing.assert_allclose(out, x, atol=tolerance)


def test_what_starts_muted_is_not_heard(
        step_graph: tuple[Path, object], signal: np.ndarray, tmp_path: Path) -> None:
    song = tmp_path / "song.wav"
    soundfile.write(song, np.tile(signal, (3, 1)), 44100, subtype="FLOAT")
    result = live("-i", song, "-o", tmp_path / "out.wav", "--headless", "--slack", 16,
                  "--model", step_graph[0], "--record", tmp_path / "take",
                  "mixer.muted=[drums, bass]", "mixer.gains.other=0.5")
    assert result.returncode == 0, result.stderr
    _, stems = recording(tmp_path / "take")
    out = soundfile.read(tmp_path / "out.wav", dtype="float32")[0]
    expected = stems[:, 0] + 0.5 * stems[:, 3]
    error = np.abs(out - expected).max(1) > 1e-5
    assert error[4410:].mean() < 0.05  # but for what a noisy machine made late


def test_a_user_hears_why(tmp_path: Path, step_graph: tuple[Path, object]) -> None:
    """Every mistake: exit code 2, one line, what it was about; nothing left behind."""
    truncated, typo = tmp_path / "truncated.onnx", tmp_path / "typo.yaml"
    truncated.write_bytes(step_graph[0].read_bytes()[:2000])
    typo.write_text("engine: {slak: 1}\n")
    (tmp_path / "noise.wav").write_bytes(b"RIFF????WAVE but not really")
    mistakes: dict[str, list[str | Path]] = {
        "nosuch": ["-i", "nosuch"],
        "999": ["-i", "999"],
        "missing.onnx": ["--model", "missing.onnx"],
        "truncated.onnx": ["--model", truncated],
        "slak": ["--config", typo],
        "engine.provider": ["--provider", "gpu"],
        "there is live": ["--tier", "nosuch"],
        "noise.wav": ["-i", tmp_path / "noise.wav"],
        "missing.flac": ["-i", tmp_path / "missing.flac"],
        "--stats": ["--stats", tmp_path / "no" / "s.json"],
        "--duration 0": ["--duration", "0"],
        "--duration inf": ["--duration", "inf"],
        "typo.yaml": ["--record", typo],
        "audio.input_channels": ["--channels", "0"],
    }
    before = sorted(tmp_path.iterdir())
    for about, arguments in mistakes.items():
        usual = [] if {"-i"} & set(map(str, arguments)) else ["-i", "null"]
        result = live("--headless", *usual, "-o", "null", *arguments)
        assert result.returncode == 2, (arguments, result.stdout)
        assert len(result.stderr.strip().splitlines()) == 1, result.stderr
        assert about in result.stderr
        assert sorted(tmp_path.iterdir()) == before


def test_cuda_without_a_gpu_is_an_error_with_its_cure() -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this machine's ONNX Runtime has CUDA")
    result = live("-i", "demo", "-o", "null", "--headless", "--provider", "cuda")
    assert result.returncode == 2
    assert len(result.stderr.strip().splitlines()) == 1
    for word in ("cuda", "bandsplit-live[gpu]", "--provider cpu"):
        assert word in result.stderr


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM], ids=lambda s: s.name)
def test_an_interrupted_performance_is_finished_properly(
        sent: signal.Signals, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "rt.live", "-i", "demo", "-o", "null", "--headless", "--record",
         tmp_path / "take", "--stats", tmp_path / "s.json"], cwd=ROOT, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    while "RTF" not in (line := process.stdout.readline()):
        assert line, process.communicate()
    process.send_signal(sent)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, "")
    assert "Played" in out
    mixture, stems = recording(tmp_path / "take")
    assert len(mixture) > 20_000
    np.testing.assert_allclose(stems.sum(1), mixture, atol=1e-4)
    assert json.loads((tmp_path / "s.json").read_text())["seconds"] > 0.5


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_keys_on_a_real_terminal(tmp_path: Path) -> None:
    """The whole program on a pseudo-terminal: 1 mutes the vocals, q quits, the shell is whole."""
    import pty

    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        os.environ.update(TERM="xterm-256color", COLUMNS="100", LINES="30")
        os.execv(sys.executable, [sys.executable, "-m", "rt.live", "-i", "demo", "-o", "null",
                                  "--stats", str(tmp_path / "s.json")])
    seen = b""

    def read_until(words: bytes, seconds: float) -> None:
        nonlocal seen
        end = time.monotonic() + seconds
        while words not in seen:
            assert time.monotonic() < end, seen[-3000:]
            try:
                seen += os.read(terminal, 65536)
            except OSError:  # the other side has closed
                break

    read_until(b"late hops", 60)
    os.write(terminal, b"1")
    time.sleep(0.5)
    os.write(terminal, b"q")
    read_until(b"Played", 30)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    os.close(terminal)
    assert b"MUTE" in seen
    assert b"\x1b[?1049l" in seen  # the alternate screen has been left
    assert json.loads((tmp_path / "s.json").read_text())["hops"] > 0


PAD = """
import sys, rtmidi
out = rtmidi.MidiOut(rtmidi.API_UNIX_JACK, name="pad")
out.open_virtual_port("pad")
for line in sys.stdin:
    out.send_message([int(v) for v in line.split()])
"""


def test_another_process_plays_and_a_third_one_mutes(
        tmp_path: Path, step_graph: tuple[Path, object]) -> None:
    """Three processes on one JACK server, wired as a player would wire them."""
    with jack_server():
        isolated("test_live", "played_and_muted", str(tmp_path), str(step_graph[0]), timeout=120)


def played_and_muted(folder: str, model: str) -> None:
    take = Path(folder, "take")
    pad = subprocess.Popen([sys.executable, "-c", PAD], stdin=subprocess.PIPE, text=True)
    program = subprocess.Popen(
        [sys.executable, "-u", "-m", "rt.live", "-i", "system", "-o", "system", "--headless",
         "--model", model, "--slack", "16", "--record", take, "midi.port=pad"],
        cwd=ROOT, text=True, stdout=subprocess.PIPE)
    assert program.stdout is not None
    assert pad.stdin is not None
    said = ""
    while "RTF" not in said or "MIDI: waiting" in said.splitlines()[-1]:
        line = program.stdout.readline()
        assert line, said
        said += line
    player = Card("player")
    for end in (1, 2):
        subprocess.run(["jack_connect", f"player:capture_{end}", f"PortAudio:in_{end - 1}"],
                       check=True)
        subprocess.run(["jack_connect", f"PortAudio:out_{end - 1}", f"player:playback_{end}"],
                       check=True)
    noise = np.random.default_rng(3).uniform(-0.3, 0.3, (4 * 44100, 2)).astype(np.float32)
    heard = player.play(noise)
    pad.stdin.write("144 36 100\n")  # note on: mutes the vocals
    pad.stdin.flush()
    time.sleep(0.5)
    muted = player.play(noise)
    player.close()
    pad.kill()
    program.send_signal(signal.SIGINT)
    program.communicate(timeout=30)
    assert program.returncode == 0
    mixture, stems = recording(take)
    without_vocals = mixture - stems[:, 0]
    for got, expected, other in ((heard, mixture, without_vocals),
                                 (muted, without_vocals, mixture)):
        error, wrong = (residual(got[44100:3 * 44100], x) for x in (expected, other))
        assert error < 0.05, (error, wrong)
        assert wrong > 4 * error


def residual(part: np.ndarray, whole: np.ndarray) -> float:
    """Energy of what is left of `part` after taking away the passage of `whole` that is most like
    it, relative to its own. Late hops leave a little."""
    n = len(part)
    size = 1 << (len(whole) + n).bit_length()
    product = np.fft.rfft(whole[:, 0], size) * np.fft.rfft(part[:, 0], size).conj()
    at = int(np.argmax(np.fft.irfft(product, size)[:len(whole) - n]))
    return float(((part - whole[at:at + n]) ** 2).sum() / (part ** 2).sum())


def test_the_packaged_models_are_trained() -> None:
    from rt.session import read_spec

    for tier, latency in (("live", 256), ("ultra", 128)):
        spec = read_spec(packaged_model(tier))
        assert (spec.tier, spec.algorithmic_latency, spec.stems) == (tier, latency, STEMS)
        assert spec.trained
