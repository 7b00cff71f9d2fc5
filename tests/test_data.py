"""Songs on disk and random mixtures: reproducible, exact about levels, plain about bad files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from model.data import DataError, RandomMixes, open_songs
from rt.config import DataSection
from tests.songs_fixture import RATE, STEMS, make_songs

SAMPLES = 4410


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory):
    return open_songs(make_songs(tmp_path_factory.mktemp("songs")), STEMS, RATE)


def mixes(songs, first: int = 0, items: int = 8, seed: int = 0, **more) -> RandomMixes:
    return RandomMixes(songs, STEMS, DataSection(**more), SAMPLES, seed, first, items)


def test_reading_is_exact_and_a_missing_stem_is_silence(songs):
    folder_song = songs[1]
    assert folder_song.read("drums").shape == (2, RATE)
    assert not songs[0].read("vocals", 10, 20).any()
    pcm = folder_song.stems["bass"][100:200].T.astype(np.float64) / 32768
    np.testing.assert_array_equal(folder_song.read("bass", 100, 200), pcm)


def test_items_depend_on_seed_and_index_only(songs):
    whole = mixes(songs)
    late = mixes(songs, first=5, items=3)
    assert torch.equal(whole[6], late[1])
    assert not torch.equal(whole[6], whole[7])
    assert not torch.equal(whole[6], mixes(songs, seed=1)[6])
    assert whole[0].shape == (len(STEMS), 2, SAMPLES)
    assert whole[0].dtype == torch.float32


def test_stems_are_silenced_as_often_as_asked(songs):
    silent = mixes(songs, items=40, silenced=1.0)
    assert not any(silent[i].any() for i in range(40))
    audible = mixes(songs, items=40, silenced=0.0, coherent=0.0)
    assert all(bool(stem.any()) for i in range(40) for stem in audible[i])


def test_levels_reach_from_quiet_to_hot(songs):
    varied = mixes(songs, items=200, level_varied=1.0, silenced=0.0,
                   level_min_db=-40.0, level_max_db=6.0)
    peaks = [20 * np.log10(float(varied[i].sum(0).abs().max())) for i in range(200)]
    assert -40.1 < min(peaks) < -36
    assert 2 < max(peaks) < 6.1


def test_items_beyond_the_end(songs):
    with pytest.raises(IndexError):
        mixes(songs)[8]


def broken(path: Path) -> None:
    (path / "song_1" / "bass.wav").write_text("not audio")


def other_rate(path: Path) -> None:
    soundfile.write(path / "song_1" / "bass.wav", np.zeros((RATE, 2)), 48_000, subtype="PCM_16")


def other_format(path: Path) -> None:
    soundfile.write(path / "song_1" / "bass.wav", np.zeros((RATE, 2)), RATE, subtype="FLOAT")


def mono(path: Path) -> None:
    soundfile.write(path / "song_1" / "bass.wav", np.zeros(RATE), RATE, subtype="PCM_16")


def short(path: Path) -> None:
    soundfile.write(path / "song_1" / "bass.wav", np.zeros((9, 2)), RATE, subtype="PCM_16")


@pytest.mark.parametrize(("spoil", "message"), [
    (broken, "not a WAV file"), (other_rate, "48000 Hz"), (other_format, "16-bit"),
    (mono, "1 channel"), (short, "differ in length")])
def test_bad_files_are_named(tmp_path: Path, spoil, message: str):
    spoil(make_songs(tmp_path))
    with pytest.raises(DataError, match=message) as error:
        open_songs(tmp_path, STEMS, RATE)
    assert "song_1" in str(error.value)


def test_empty_and_missing_folders(tmp_path: Path, songs):
    with pytest.raises(DataError, match="no song in it"):
        open_songs(tmp_path, STEMS, RATE)
    with pytest.raises(DataError, match="no such folder"):
        open_songs(tmp_path / "nowhere", STEMS, RATE)
    with pytest.raises(DataError, match="longer than one segment"):
        RandomMixes(songs, STEMS, DataSection(), 10 * RATE, 0, 0, 1)
