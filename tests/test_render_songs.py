"""The renderer: seeded, exact, on one side of the split, plain about bad input."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from model.render_songs.__main__ import main
from model.render_songs.corpus import Corpus
from model.render_songs.mix import render_song
from model.render_songs.sources import HELD_OUT
from tests.songs_fixture import STEMS, make_corpus


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_corpus(tmp_path_factory.mktemp("corpus"))


def render(corpus: Path, out: Path, *more: str) -> int:
    return main(["--corpus", str(corpus), "--out", str(out), "--songs", "1", "--seconds", "4",
                 *more])


def test_two_renders_are_identical_and_stems_add_up(corpus: Path, tmp_path: Path):
    assert render(corpus, tmp_path / "a", "--seed", "3") == 0
    assert render(corpus, tmp_path / "b", "--seed", "3") == 0
    first, second = tmp_path / "a" / "song_00003", tmp_path / "b" / "song_00003"
    names = sorted(file.name for file in first.iterdir())
    assert names == sorted(["mixture.wav", "song.json", *(f"{stem}.wav" for stem in STEMS)])
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
    pcm = {file.stem: soundfile.read(file, dtype="int16")[0] for file in first.glob("*.wav")}
    mixture = pcm.pop("mixture")
    assert mixture.shape == (4 * 44_100, 2)
    assert mixture.any()
    assert np.array_equal(sum(x.astype(np.int32) for x in pcm.values()), mixture)
    assert np.abs(mixture.astype(np.int32)).max() <= 32767


def test_a_song_does_not_depend_on_what_was_rendered_before(corpus: Path):
    used, fresh = Corpus(corpus), Corpus(corpus)
    for seed in (1, 2):
        render_song(seed, 4, used)
    after, _ = render_song(5, 4, used)
    alone, _ = render_song(5, 4, fresh)
    assert all(np.array_equal(after[stem], alone[stem]) for stem in STEMS)


def test_a_soundfont_part_starts_from_silence(corpus: Path):
    used, fresh = Corpus(corpus), Corpus(corpus)
    used.program(33, [(0.0, 5.0, 40 + i, 0.9) for i in range(9)], 4410)
    after, alone = (c.program(30, [(0.05, 0.1, 69, 0.8)], 8820) for c in (used, fresh))
    assert np.abs(alone).max() > 0.01
    assert np.array_equal(after, alone)


def test_splits_share_no_source_and_no_song(corpus: Path):
    opened = Corpus(corpus)
    used, mixes = {}, {}
    for split in ("train", "valid", "test"):
        songs = [render_song(seed, 4, opened, split) for seed in range(2)]
        used[split] = {source for _, info in songs for source in info["sources"]}
        mixes[split] = songs[0][0]["drums"]
    assert used["train"]
    assert not used["train"] & HELD_OUT
    assert used["valid"] | used["test"] <= HELD_OUT
    assert not np.array_equal(mixes["valid"], mixes["test"])


def test_song_json_says_what_was_played(corpus: Path, tmp_path: Path):
    assert render(corpus, tmp_path, "--split", "test") == 0
    info = json.loads((tmp_path / "song_00000" / "song.json").read_text())
    assert {"seed", "split", "genre", "bpm", "sources", "rms_db"} <= info.keys()


def unreadable_drums(root: Path) -> None:
    shutil.rmtree(root / "soundfont")  # no other kit to play instead
    for file in (root / "drums").glob("*.wav"):
        file.write_text("no")


@pytest.mark.parametrize(("spoil", "message"), [
    (lambda root: (root / "voices" / "index.tsv").unlink(), "voices/index.tsv: cannot be read"),
    (lambda root: (root / "drums" / "index.tsv").write_text("file\tkit\n"), "has no rows with"),
    (unreadable_drums, ".wav: cannot be read"),
    (lambda root: (root / "soundfont" / "tone.sf2").write_text("no"), "not a soundfont"),
])
def test_bad_corpus_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture, spoil, message: str):
    spoil(make_corpus(tmp_path / "corpus"))
    assert render(tmp_path / "corpus", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_bad_arguments(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    assert render(tmp_path / "nowhere", tmp_path / "out") == 2
    assert "no such folder" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        render(corpus, tmp_path / "out", "--seconds", "1")
    assert stop.value.code == 2
