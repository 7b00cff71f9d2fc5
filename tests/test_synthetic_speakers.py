"""Speakers made by speech synthesisers: usable in songs, repeatable, refused in one line."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from model.render_songs.corpus import Corpus
from model.render_songs.mix import render_song
from model.render_songs.singer import SPEAKERS
from model.render_songs.synthetic_speakers import main
from tests.songs_fixture import make_corpus

needs_flite = pytest.mark.skipif(shutil.which("flite") is None, reason="flite is not installed")


def add(corpus: Path, *more: str) -> int:
    return main(["--corpus", str(corpus), "--seconds", "20", *more])


@needs_flite
def test_a_speaker_sings_in_training_songs(tmp_path: Path):
    corpus = make_corpus(tmp_path / "corpus")
    assert add(corpus, "--flite", "rms") == 0
    opened = Corpus(corpus)
    assert set(opened.voices) == {"hum", "kathleen", "rms"}
    assert sum(end - start for _, start, end in opened.voices["rms"]) >= 20
    sound, rate = soundfile.read(corpus / "voices" / "rms.flac")
    for file, start, end in opened.voices["rms"]:
        assert file.endswith("rms.flac")
        said = sound[int(start * rate):int(end * rate)]
        assert -25 < 10 * np.log10((said ** 2).mean()) < -21
    sung = [render_song(seed, 4, opened)[1]["sources"] for seed in range(12)]
    assert any("voice/rms" in sources for sources in sung)
    held_out = [render_song(seed, 4, opened, "test")[1]["sources"] for seed in range(4)]
    assert not any("voice/rms" in sources for sources in held_out)


@needs_flite
def test_the_same_twice(tmp_path: Path):
    first, second = (make_corpus(tmp_path / name) for name in "ab")
    for corpus in (first, second):
        assert add(corpus, "--flite", "slt") == 0
    for name in ("slt.flac", "index.tsv"):
        assert (first / "voices" / name).read_bytes() == (second / "voices" / name).read_bytes()


@needs_flite
def test_an_index_keeps_its_other_columns(tmp_path: Path):
    corpus = make_corpus(tmp_path / "corpus")
    index = corpus / "voices" / "index.tsv"
    lines = index.read_text().splitlines()
    index.write_text("\n".join([f"{lines[0]}\ttext", *(f'{line}\t"so' for line in lines[1:])]))
    assert add(corpus, "--flite", "awb") == 0
    assert index.read_text().splitlines()[1:len(lines)] == [f'{line}\t"so' for line in lines[1:]]
    with open(index, encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    assert {row["text"] for row in rows if row["speaker"] == "awb"} == {""}


@needs_flite
def test_another_speakers_file_is_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture):
    corpus = make_corpus(tmp_path / "corpus")
    voices = corpus / "voices"
    shutil.copy(voices / "hum.wav", voices / "rms.flac")
    with open(voices / "index.tsv", "a", encoding="utf-8") as file:
        file.write("rms.flac\t0\t2\thum\n")
    before = {path.name: path.read_bytes() for path in voices.iterdir()}
    assert add(corpus, "--flite", "rms") == 2
    assert "it has a file rms.flac of another speaker already" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in voices.iterdir()} == before


def test_flites_men_are_known_as_men():
    assert SPEAKERS["rms"].male
    assert SPEAKERS["awb"].male
    assert not SPEAKERS["slt"].male
    assert not SPEAKERS["rms"].sung


@needs_flite
@pytest.mark.parametrize(("given", "message"), [
    (("--flite", "nobody"), "--flite nobody: flite has kal"),
    (("--flite", "hum"), "--flite hum: flite has kal"),
    (("--hts", "m001"), "--hts m001: must be NAME=FILE"),
    (("--hts", "m001=none.htsvoice"), "none.htsvoice: no such file"),
    (("--flite", "rms", "--hts", "rms=none.htsvoice"), "there is a speaker rms before it"),
    (("--flite", "rms", "--flite", "rms"), ""),
])
def test_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture, given: tuple[str, ...],
                             message: str):
    corpus = make_corpus(tmp_path / "corpus")
    before = (corpus / "voices" / "index.tsv").read_bytes()
    if not message:  # given twice is given once, added twice is refused
        assert add(corpus, *given) == 0
        before = (corpus / "voices" / "index.tsv").read_bytes()
        message = "it has a speaker rms already"
    capsys.readouterr()
    assert add(corpus, *given) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert (corpus / "voices" / "index.tsv").read_bytes() == before


def test_bad_arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                       capsys: pytest.CaptureFixture):
    corpus = make_corpus(tmp_path / "corpus")
    for given in ((), ("--flite", "rms", "--seconds", "0")):
        with pytest.raises(SystemExit) as stop:
            main(["--corpus", str(corpus), *given])
        assert stop.value.code == 2
    monkeypatch.setenv("PATH", str(tmp_path))
    capsys.readouterr()
    assert add(corpus, "--flite", "rms") == 2
    assert "Debian it is the package flite" in capsys.readouterr().err
