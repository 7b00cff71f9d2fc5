"""Masks that know the answer: what they must give, and what the command refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from model.evaluate import oracle
from model.metrics import usdr
from model.stft import STFT
from rt.sections import NetworkSection
from tests.songs_fixture import STEMS, make_songs


def tones(*hz: float) -> np.ndarray:
    t = np.arange(30_000) / 44_100
    return np.stack([[np.sin(2 * np.pi * f * t), np.cos(2 * np.pi * f * t)] for f in hz]).astype(
        np.float32)


def test_stems_apart_in_frequency_are_found_and_equal_ones_are_halved():
    stft = STFT(NetworkSection().stream_spec())
    apart = tones(300, 3000, 9000)
    found = oracle.ideal_ratio(stft, apart)
    assert found.shape == apart.shape
    np.testing.assert_allclose(found.sum(0), apart.sum(0), atol=1e-4)
    middle = np.s_[..., 2048:-2048]
    assert min(usdr(a[middle], f[middle]) for a, f in zip(apart, found, strict=True)) > 25
    same = np.concatenate([tones(500), 0 * tones(500), tones(500)])
    np.testing.assert_allclose(oracle.ideal_ratio(stft, same), same, atol=1e-4)


def test_the_command_prints_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    make_songs(tmp_path, count=2, seconds=1)
    assert oracle.main(["--data", str(tmp_path), "--tier", "ultra", "network.ultra.hop=64"]) == 0
    printed = capsys.readouterr().out
    for word in (*STEMS, "uSDR", "best gain", "mean"):
        assert word in printed


def test_bad_input_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    make_songs(tmp_path / "songs", count=1, seconds=1)
    soundfile.write(tmp_path / "songs" / "odd.wav", np.zeros(10), 44_100)
    for arguments, message in (
            (["--data", "nosuch"], "nosuch: no such folder"),
            (["--data", str(tmp_path / "songs"), "--tier", "reference"], "live, ultra"),
            (["--data", str(tmp_path / "songs"), "network.live.hop=100"], "hop 100")):
        assert oracle.main(arguments) == 2
        error = capsys.readouterr().err
        assert message in error
        assert len(error.splitlines()) == 1
