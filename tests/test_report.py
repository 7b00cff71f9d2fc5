"""Banner, summary and stats say what the engine measured, and what to turn."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest

from rt.report import banner, dbfs, stats, summary
from rt.spec import StreamSpec
from rt.status import EngineInfo, LatencyLine, Snapshot, Times

INFO = EngineInfo(
    spec=StreamSpec(tier="live", trained_on="40 rendered songs: 901 steps"), input="demo song",
    output="null", sample_rate=44_100, block=256, slack=0, provider="CPUExecutionProvider",
    provider_reason="no NVIDIA driver", priority="SCHED_FIFO 50", model="live.onnx",
    latency=(LatencyLine("synthesis window - hop", 256), LatencyLine("queue", 256)))
SNAPSHOT = Snapshot(
    seconds=8.0, hops=1378, late_hops=2, underruns=1, overruns=0, step_ms=Times(1.0, 2.0, 3.0),
    total_step_ms=Times(1.161, 2.322, 5.805), input_level=0.5, stem_levels=(0.1, 0.2, 0.3, 0.0),
    output_level=0.4, respawns=0, state="finished")


def test_stats_have_exactly_the_promised_keys_and_survive_json() -> None:
    told = json.loads(json.dumps(stats(INFO, SNAPSHOT)))
    assert set(told) == {"sample_rate", "hop", "latency_samples", "latency_ms", "provider", "hops",
                         "late_hops", "underruns", "overruns", "step_ms", "rtf", "seconds"}
    assert told["latency_samples"] == 512
    assert told["latency_ms"] == pytest.approx(11.61, abs=0.01)
    assert told["step_ms"] == {"p50": 1.161, "p99": 2.322, "max": 5.805}
    assert told["rtf"] == {"p50": pytest.approx(0.2, abs=1e-3), "p99": pytest.approx(0.4, abs=1e-3)}


def test_rtf_counts_against_the_models_rate_not_the_devices() -> None:
    at_48k = dataclasses.replace(INFO, sample_rate=48_000)
    assert stats(at_48k, SNAPSHOT)["rtf"] == stats(INFO, SNAPSHOT)["rtf"]
    assert stats(at_48k, SNAPSHOT)["latency_ms"] == pytest.approx(512 / 48)
    assert "resampled to the model's 44100 Hz" in banner(at_48k)


def test_the_banner_names_everything_and_its_budget_adds_up() -> None:
    text = banner(INFO, [("MIDI", "nanoKONTROL2 (ALSA)")])
    for part in ("demo song", "null", "44100 Hz", "CPUExecutionProvider (no NVIDIA driver)",
                 "SCHED_FIFO 50", "live.onnx", "trained on 40 rendered songs",
                 "nanoKONTROL2 (ALSA)"):
        assert part in text
    assert "901 steps" not in text
    budget = [line.split() for line in text.splitlines() if " samples " in line]
    samples = [float(words[words.index("samples") - 1]) for words in budget]
    assert samples == [256, 256, 512]
    assert budget[-1][-2:] == ["11.61", "ms"]


@pytest.mark.parametrize(("trained_on", "heard"), [
    ("Free: all of it, 5 songs: 901 steps of 6 segments; 20 steps", "Free: all of it, 5 songs"),
    ("my band: demo tapes", "my band: demo tapes"), ("two songs", "two songs")])
def test_the_banner_tells_what_was_heard_and_not_the_steps(trained_on: str, heard: str) -> None:
    spec = dataclasses.replace(INFO.spec, trained_on=trained_on)
    assert f"trained on {heard}\n" in banner(dataclasses.replace(INFO, spec=spec))


def test_the_banner_warns_of_an_untrained_model_and_passes_warnings_on() -> None:
    untrained = dataclasses.replace(INFO, spec=StreamSpec(), warnings=("no real-time priority",))
    text = banner(untrained)
    assert "untrained" in text
    assert "warning: no real-time priority" in text


def test_fractional_latency_of_resampling_is_shown_and_rounded_once() -> None:
    info = dataclasses.replace(INFO, latency=(*INFO.latency, LatencyLine("resampling", 31.6)))
    assert "31.6 samples" in banner(info)
    assert stats(info, SNAPSHOT)["latency_samples"] == 544


def test_the_summary_has_a_hint_only_where_hops_were_late() -> None:
    assert "1378 hops, 2 late (0.15 %), 1 underruns" in summary(INFO, SNAPSHOT)
    assert "slack" not in summary(INFO, SNAPSHOT)
    bad = dataclasses.replace(SNAPSHOT, late_hops=100, respawns=2)
    assert "engine.slack=1" in summary(INFO, bad)
    assert "restarted 2 times" in summary(INFO, bad)
    nothing = dataclasses.replace(SNAPSHOT, hops=0, late_hops=0, seconds=0.0)
    assert "0 hops" in summary(INFO, nothing)


def test_dbfs() -> None:
    assert dbfs(1) == 0
    assert dbfs(0.5) == pytest.approx(-6.02, abs=0.01)
    assert dbfs(0) == -math.inf
