"""The whole engine, process and all: files and null in real time, real devices through JACK, and
what happens when something dies. Every scenario runs in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile
from jackrig import Card, JackServer, isolated, jack_server

from rt.engine import Engine, EngineError, EngineSettings
from rt.spec import StreamSpec

RATE = 44_100
EQUAL = EngineSettings(spec=StreamSpec(), slack=4, input="null", output="null")
ME = "test_engine"


def settings(**changes) -> EngineSettings:
    return EngineSettings(**{**EQUAL.__dict__, **changes})


def until(what: Callable[[], bool], timeout: float = 15) -> None:
    deadline = time.monotonic() + timeout
    while not what():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def noise(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, (n, 2)).astype(np.float32)


def read_all(tap) -> tuple[np.ndarray, np.ndarray]:
    mixtures, stems, end = [], [], 0
    while True:
        position, mixture, some = tap.read(4096)
        if not len(mixture):
            return np.concatenate(mixtures), np.concatenate(stems)
        assert position == end
        end += len(mixture)
        mixtures.append(mixture)
        stems.append(some)


def test_a_file_comes_out_as_it_went_in(tmp_path: Path) -> None:
    isolated(ME, "file_to_file", str(tmp_path), timeout=60)


def file_to_file(folder: str) -> None:
    samples = noise(2 * RATE + 77)
    source, sink = Path(folder, "in.wav"), Path(folder, "out.wav")
    soundfile.write(source, samples, RATE, subtype="FLOAT")
    with Engine(settings(input=str(source), output=str(sink))) as engine:
        info, tap = engine.info, engine.tap()
        assert info is not None
        assert info.latency_samples == 512 + 4 * 256
        until(lambda: engine.snapshot().state == "finished")
        mixture, stems = read_all(tap)
    snapshot = engine.snapshot()
    got, rate = soundfile.read(sink, dtype="float32")
    assert rate == RATE
    assert len(got) == len(mixture) == len(samples)
    np.testing.assert_allclose(got, samples, atol=1e-4 * 0.5)
    np.testing.assert_array_equal(mixture, samples)
    np.testing.assert_allclose(stems.sum(1), samples, atol=1e-5)
    assert snapshot.hops == (len(samples) + info.latency_samples) // 256
    assert snapshot.late_hops <= 0.1 * snapshot.hops
    assert snapshot.respawns == snapshot.overruns == 0
    assert snapshot.seconds == (len(samples) + info.latency_samples) / RATE
    assert 0 < snapshot.total_step_ms.p50 <= snapshot.total_step_ms.p99


def test_a_duration_ends_it_and_the_mix_is_heard(tmp_path: Path) -> None:
    isolated(ME, "muted_half", str(tmp_path), timeout=60)


def muted_half(folder: str) -> None:
    samples = noise(3 * RATE)
    soundfile.write(Path(folder, "in.wav"), samples, RATE, subtype="FLOAT")
    engine = Engine(settings(input=str(Path(folder, "in.wav")), duration_s=1.5,
                             output=str(Path(folder, "out.wav"))))
    engine.set_mix((0, 0, 1, 1), False)  # before it begins: no sample of the others is heard
    with engine:
        until(lambda: engine.snapshot().state == "finished")
        levels = engine.snapshot().stem_levels
    got = soundfile.read(Path(folder, "out.wav"), dtype="float32")[0]
    assert len(got) == 1.5 * RATE
    assert levels[0] == levels[1] == 0
    np.testing.assert_allclose(got, samples[:len(got)] / 2, atol=1e-4)


def test_a_stream_at_another_rate_than_the_models(tmp_path: Path) -> None:
    isolated(ME, "at_48k", str(tmp_path), timeout=60)


def at_48k(folder: str) -> None:
    rate = 48_000
    t = np.arange(2 * rate) / rate
    samples = 0.3 * np.stack([np.sin(2 * np.pi * 440 * t), np.sin(2 * np.pi * 9000 * t)], 1)
    soundfile.write(Path(folder, "in.wav"), samples, rate, subtype="FLOAT")
    with Engine(settings(input=str(Path(folder, "in.wav")), samplerate=rate,
                         output=str(Path(folder, "out.wav")))) as engine:
        info, tap = engine.info, engine.tap()
        assert info is not None
        assert any("resampling" in line.what for line in info.latency)
        until(lambda: engine.snapshot().state == "finished")
        mixture, stems = read_all(tap)
        assert engine.snapshot().underruns == 0 or engine.snapshot().late_hops > 0
    got = soundfile.read(Path(folder, "out.wav"), dtype="float32")[0]
    assert len(got) == len(samples) == len(mixture)
    inside = slice(500, -500)  # a tone that is switched on is wider than the filters
    np.testing.assert_allclose(got[inside], samples[inside], atol=1e-4)
    np.testing.assert_allclose(stems.sum(1)[inside], samples[inside], atol=1e-4)


def test_null_runs_in_real_time() -> None:
    isolated(ME, "null_to_null", timeout=60)


def null_to_null() -> None:
    with Engine(settings()) as engine:
        first, began = engine.snapshot().seconds, time.monotonic()
        time.sleep(1.5)
        played, took = engine.snapshot().seconds - first, time.monotonic() - began
        assert 0.6 * took < played < 1.1 * took
        assert engine.snapshot().state == "running"
        assert engine.snapshot().output_level == 0


def test_an_engine_that_is_killed_is_replaced_and_goes_on(tmp_path: Path) -> None:
    isolated(ME, "killed", str(tmp_path), timeout=90)


def killed(folder: str) -> None:
    samples = noise(3 * RATE)
    soundfile.write(Path(folder, "in.wav"), samples, RATE, subtype="FLOAT")
    with Engine(settings(input=str(Path(folder, "in.wav")),
                         output=str(Path(folder, "out.wav")))) as engine:
        tap, pid = engine.tap(), engine.pid
        until(lambda: engine.snapshot().seconds > 1)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        until(lambda: engine.snapshot().state == "respawning")
        assert "died" in engine.snapshot().message
        until(lambda: engine.snapshot().state == "finished", 30)
        assert engine.snapshot().respawns == 1
        assert engine.pid != pid
        mixture, stems = read_all(tap)
    got = soundfile.read(Path(folder, "out.wav"), dtype="float32")[0]
    assert len(got) == len(samples)
    np.testing.assert_allclose(got, samples, atol=1e-4)  # no gap, no repeat, in positions
    np.testing.assert_array_equal(mixture, samples)
    np.testing.assert_allclose(stems.sum(1), samples, atol=1e-4)


def test_an_engine_that_hangs_is_replaced() -> None:
    isolated(ME, "hung", timeout=60)


def hung() -> None:
    with Engine(settings()) as engine:
        pid = engine.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        until(lambda: engine.snapshot().respawns == 1)
        until(lambda: engine.snapshot().state == "running", 30)
        assert not psutil.pid_exists(pid) or engine.pid != pid


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    isolated(ME, "leaves_nothing", timeout=60)


def segment(engine: Engine) -> Path:
    assert engine._block is not None
    return Path("/dev/shm", engine._block.name)


def leaves_nothing() -> None:
    with Engine(settings()) as engine:
        assert segment(engine).exists()
        pid = engine.pid
    assert not segment(engine).exists()
    assert pid is not None
    assert not psutil.pid_exists(pid)
    engine.stop()
    assert engine.snapshot().hops > 0  # the summary comes after


def test_a_killed_control_process_takes_everything_with_it() -> None:
    code = ("import test_engine, time; e = test_engine.Engine(test_engine.EQUAL); e.start(); "
            "print(e.pid, test_engine.segment(e), flush=True); time.sleep(60)")
    root = Path(__file__).parent.parent
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        cwd=root, env={**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{root / 'tests'}"})
    try:
        assert child.stdout is not None
        pid, memory = child.stdout.readline().split()
        assert psutil.pid_exists(int(pid))
        assert Path(memory).exists()
    finally:
        child.kill()
        child.wait()
    until(lambda: not psutil.pid_exists(int(pid)), 5)
    until(lambda: not Path(memory).exists(), 5)


@pytest.mark.parametrize(("changes", "message"), [
    ({"input": "nosuch.wav"}, "no such sound file"),
    ({"output": "nowhere/out.wav"}, "cannot be written"),
    ({"model": "missing.onnx"}, "missing.onnx"),
    ({"spec": None}, "no model"),
    ({"output": "no such card"}, "no such card|no output device|PortAudio"),
])
def test_what_cannot_be_is_one_line(changes: dict, message: str) -> None:
    isolated(ME, "refused", changes, message, timeout=40, environment={
        "JACK_DEFAULT_SERVER": "none", "JACK_NO_START_SERVER": "1"})


def refused(changes: dict, message: str) -> None:
    engine = Engine(settings(**changes))
    with pytest.raises(EngineError, match=message) as caught:
        engine.start()
    assert "\n" not in str(caught.value)
    assert engine._block is None or not segment(engine).exists()


def test_without_devices_the_demo_plays_to_nowhere(tmp_path: Path) -> None:
    demo = tmp_path / "demo.wav"
    soundfile.write(demo, noise(RATE), RATE)
    isolated(ME, "no_devices", str(tmp_path), timeout=60, environment={
        "JACK_DEFAULT_SERVER": "none", "JACK_NO_START_SERVER": "1"})


def no_devices(folder: str) -> None:
    import rt.sources
    if not list(rt.sources.ASSETS.glob("demo.*")):
        rt.sources.ASSETS = Path(folder)
    if Path("/dev/snd").exists():
        return  # this machine has a card, and would use it
    with Engine(settings(input=None, output=None)) as engine:
        info = engine.info
        assert info is not None
        assert (info.input, info.output) == ("demo song", "null")
        assert len(info.warnings) == 2


# through a real sound server


@pytest.mark.parametrize(("rate", "period", "latency"), [(44_100, 256, 512), (44_100, 128, 512)])
def test_duplex_through_jack(rate: int, period: int, latency: int) -> None:
    with jack_server(rate, period):
        isolated(ME, "duplex", latency, period, timeout=60)


def duplex(latency: int, period: int) -> None:
    card = Card()
    signal_in = noise(card.rate)
    with Engine(settings(input="card", output="card, JACK", slack=8)) as engine:
        info = engine.info
        assert info is not None
        assert info.block == period
        assert info.latency_samples == latency + 8 * 256
        assert card.connected()
        total = info.latency_samples + period  # JACK breaks the loop with one period
        for bypass in (False, True):
            engine.set_mix((1, 1, 1, 1), bypass)
            exact = []
            while 1 not in exact and len(exact) < 5:  # a busy machine makes JACK drop a cycle
                heard = card.play(signal_in)
                same = np.isclose(heard[total:], signal_in[:-total], atol=1e-4)
                exact.append(same.all(1).mean())
            assert 1 in exact, f"came back as they went: {exact} of the samples"
        engine.set_mix((0, 0, 0, 0), False)
        time.sleep(0.1)
        assert np.abs(card.play(signal_in)[8820:]).max() == 0
    card.close()


def test_only_an_input_or_only_an_output(tmp_path: Path) -> None:
    with jack_server():
        isolated(ME, "one_way", str(tmp_path), timeout=80)


def one_way(folder: str) -> None:
    card = Card(channels=4)
    wide = np.zeros((RATE, 4), np.float32)
    wide[:, [3, 1]] = noise(RATE)
    with Engine(settings(input="card", output=str(Path(folder, "out.wav")), slack=8,
                         input_channels=(4, 2))) as engine:
        time.sleep(0.3)
        card.play(wide)
        time.sleep(0.5)
        tap = engine.tap()
        mixture, _ = read_all(tap)
    got = soundfile.read(Path(folder, "out.wav"), dtype="float32")[0]
    start = int(np.flatnonzero(np.abs(got).max(1) > 1e-3)[0])
    np.testing.assert_allclose(got[start:start + RATE], wide[:, [3, 1]][:len(got) - start],
                               atol=1e-3)
    assert np.abs(mixture).max() > 0.4
    samples = noise(RATE)
    soundfile.write(Path(folder, "in.wav"), samples, RATE, subtype="FLOAT")
    with Engine(settings(input=str(Path(folder, "in.wav")), output="card", slack=8, loop=True,
                         output_channels=(3, 4))) as engine:
        until(lambda: engine.snapshot().output_level > 0)
        heard = card.play(np.zeros((RATE, 4)))
    assert np.all(heard[:, :2] == 0)
    assert np.abs(heard[:, 2:]).max() > 0.4
    card.close()


def test_a_card_at_48_khz() -> None:
    with jack_server(48_000, 256):
        isolated(ME, "card_at_48k", timeout=60)


def card_at_48k() -> None:
    card = Card()
    t = np.arange(2 * card.rate) / card.rate
    tone = np.repeat(0.3 * np.sin(2 * np.pi * 440 * t)[:, None], 2, 1)
    with Engine(settings(input="card", output="card", slack=8)) as engine:
        info = engine.info
        assert info is not None
        assert info.sample_rate == 48_000
        assert card.connected()
        heard = card.play(tone)
        total = info.latency_samples + 256
        close = np.abs(heard[total + 2000:, 0] - tone[2000:-total, 0]) < 0.01
        assert close.mean() > 0.9
    card.close()


def test_a_server_that_dies_and_comes_back() -> None:
    with jack_server():
        pass  # skips where there is none
    isolated(ME, "server_dies", timeout=90)


def server_dies() -> None:
    with JackServer() as server, Engine(settings(input="system", output="system")) as engine:
        assert engine.snapshot().state == "running"
        server.kill()
        until(lambda: engine.snapshot().state == "respawning")
        until(lambda: "trying again" in engine.snapshot().message, 20)
        before = engine.snapshot().seconds
        server.start()
        back = time.monotonic()
        until(lambda: engine.snapshot().state == "running", 30)
        print(f"audio again {time.monotonic() - back:.2f} s after the server")
        until(lambda: engine.snapshot().seconds > before + 0.5)
        assert engine.snapshot().respawns == 1
        engine.stop()  # while the server still runs
