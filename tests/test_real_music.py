"""The packaged tiers on real music that they have not heard: six seconds of one of MUSDB18's test
songs, which the package stempeg carries. Whoever trains on MUSDB18's test songs makes this void."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import stempeg

from model.evaluate import __main__ as evaluate
from model.inference.packaged import packaged
from rt.session import packaged_model
from tests.offline_fixture import STEMS, needs_ffmpeg

SONG = "The Easton Ellises - Falcon 69"


@needs_ffmpeg
@pytest.mark.parametrize("tier", sorted({row.tier for row in packaged()}))
def test_every_stem_is_above_the_constant_gain(tier: str, tmp_path: Path) -> None:
    results = tmp_path / "real.json"
    assert evaluate.main(["--onnx", str(packaged_model(tier, provider="cpu")),
                          "--data", str(Path(stempeg.example_stem_path()).parent),
                          "--threads", "1", "--out", str(results)]) == 0
    scores = json.loads(results.read_text(encoding="utf-8"))
    assert scores["songs"].keys() == {SONG}
    for stem in STEMS:
        score = scores["summary"][stem]
        assert score["usdr"] > score["best_gain"] + 0.1, (stem, score)
    assert scores["summary"]["mean"]["usdr"] > scores["summary"]["mean"]["best_gain"] + 1
