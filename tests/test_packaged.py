"""The list of packaged checkpoints: what it says, what is chosen from it, the README's table."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from model.inference import __main__ as inference
from model.inference.offline import OfflineError
from model.inference.packaged import ALL, FOLDER, best_for, packaged
from rt.session import packaged_model, read_spec
from tests.offline_fixture import STEMS, music, read, write

README = Path(__file__).parent.parent / "README.md"
TIERS = sorted(file.parent.name for file in FOLDER.glob("*/scores.json"))


@pytest.mark.parametrize("tier", TIERS)
def test_a_tier_is_listed_with_scores_of_its_own_network(tier: str) -> None:
    rows = {row.target: row for row in packaged() if row.tier == tier}
    assert rows.keys() == {*STEMS, ALL}
    spec = read_spec(packaged_model(tier))
    scores = json.loads((FOLDER / tier / "scores.json").read_text())
    assert (scores["hop"], scores["synthesis"]) == (spec.hop, spec.synthesis)
    assert scores["summary"]["mean"]["usdr"] == pytest.approx(
        np.mean([rows[stem].usdr for stem in STEMS]))
    for row in rows.values():
        assert row.latency_ms == pytest.approx(1e3 * spec.synthesis / spec.sample_rate)
        assert row.data == spec.trained_on


def test_the_readme_shows_the_list() -> None:
    lines = re.findall(r"^\|.*\|$", README.read_text(encoding="utf-8"), re.M)
    cells = {tuple(cell.strip(" *`") for cell in line.split("|")[1:-2]) for line in lines}
    for row in packaged():
        assert (row.target, row.tier, f"{row.latency_ms:.1f} ms", f"{row.usdr:.2f}",
                f"{row.best_gain:.2f}", f"{row.csdr:.2f}") in cells, row


def test_the_best_tier_for_a_target_is_taken(tmp_path: Path,
                                             capsys: pytest.CaptureFixture[str]) -> None:
    usdr = {(row.tier, row.target): row.usdr for row in packaged()}
    assert "live" in TIERS
    for target in (*STEMS, None):
        best = best_for(target)
        assert all(usdr[best, target or ALL] >= usdr[tier, target or ALL] for tier in TIERS)
    with pytest.raises(OfflineError, match="no packaged checkpoint gives 'piano': there is vocals"):
        best_for("piano")
    source = write(tmp_path / "song.wav", music(4410))
    for out, more in (("default", []), ("named", ["-c", best_for("bass")])):
        assert inference.main(["-i", str(source), "-o", str(tmp_path / out), "-t", "bass",
                               *more]) == 0
    np.testing.assert_array_equal(read(tmp_path / "default", ("bass",))[0],
                                  read(tmp_path / "named", ("bass",))[0])
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        inference.main(["--list"])
    assert ended.value.code == 0
    listed = capsys.readouterr().out
    for row in packaged():
        assert re.search(rf"{row.target} +{row.tier} .*{row.usdr:.2f}.*{row.csdr:.2f}", listed)
