"""Songs on disk and random mixtures: reproducible, exact about levels, plain about bad files."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch.utils.data import DataLoader

from model.data import DataError, RandomMixes, Song, open_dataset
from model.data import __main__ as throughput
from model.data.musdb import VALIDATION
from model.data.songs import open_song
from rt.config import ConfigError
from rt.sections import DataSection
from tests.dataset_fixture import write_song
from tests.songs_fixture import RATE, STEMS, make_songs

SAMPLES = 4410
# nothing but the choice of songs and places
PLAIN: dict[str, Any] = {name: 0 for name in (
    "coherent", "silenced", "gain_db", "speed_varied", "paused", "band_limited", "room", "noisy",
    "mono", "clipped", "level_varied")}
EVERYTHING: dict[str, Any] = {"as_mixed": 0.3, **dict.fromkeys(
    ("speed_varied", "stretched", "paused", "band_limited", "room", "noisy", "mono", "clipped",
     "level_varied"), 0.5)}


def opened(root: Path) -> list[Song]:
    return [open_song(folder, STEMS, {}, RATE) for folder in sorted(root.iterdir())]


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> list[Song]:
    return opened(make_songs(tmp_path_factory.mktemp("songs")))


def mixes(songs: list[Song], first: int = 0, items: int = 8, seed: int = 0,
          **more: Any) -> RandomMixes:
    return RandomMixes(songs, STEMS, DataSection(**more), SAMPLES, seed, first, items)


def test_reading_is_exact_and_a_missing_stem_is_silence(songs):
    folder_song = songs[1]
    assert folder_song.read("drums").shape == (2, RATE)
    assert not songs[0].read("vocals", 10, 20).any()
    pcm = folder_song.stems["bass"][0].samples[100:200].T.astype(np.float64) / 32768
    np.testing.assert_array_equal(folder_song.read("bass", 100, 200), pcm)


def test_a_song_travels_by_its_paths(songs):
    packed = pickle.dumps(songs[1])
    assert len(packed) < 2000
    np.testing.assert_array_equal(pickle.loads(packed).read("bass"), songs[1].read("bass"))


@pytest.mark.parametrize("more", [{}, EVERYTHING])
def test_items_depend_on_seed_and_index_only(songs, more: dict[str, Any]):
    whole = mixes(songs, **more)
    late = mixes(songs, first=5, items=3, **more)
    assert torch.equal(whole[6], late[1])
    assert not torch.equal(whole[6], whole[7])
    assert not torch.equal(whole[6], mixes(songs, seed=1, **more)[6])
    for item in (whole[i] for i in range(8)):
        assert item.shape == (len(STEMS), 2, SAMPLES)
        assert item.dtype == torch.float32
        assert item.isfinite().all()


def test_loader_processes_read_the_same_items(songs):
    whole = mixes(songs, items=6, **EVERYTHING)
    expected = torch.stack([whole[i] for i in range(6)])
    assert torch.equal(torch.cat(list(DataLoader(whole, batch_size=2, num_workers=2))), expected)
    packed = pickle.dumps(whole)  # as a process that is spawned gets it
    assert len(packed) < 10_000
    assert torch.equal(pickle.loads(packed)[5], expected[5])


def test_stems_are_silenced_as_often_as_asked(songs):
    for kept in ({}, {"coherent": 1, "as_mixed": 1}):
        silent = mixes(songs, items=40, **{**PLAIN, **kept, "silenced": 1})
        assert not any(silent[i].any() for i in range(40))
    audible = mixes(songs, items=40, **PLAIN)
    assert all(bool(stem.any()) for i in range(40) for stem in audible[i])


def test_gains_reach_what_is_allowed_and_no_more(songs):
    plain, varied = (mixes(songs, items=60, **{**PLAIN, "gain_db": db}) for db in (0, 10))
    ratios_db = [20 * np.log10(float(b.abs().max() / a.abs().max()))
                 for i in range(60) for a, b in zip(plain[i], varied[i], strict=True)]
    assert -10.001 < min(ratios_db) < -9
    assert 9 < max(ratios_db) < 10.001


def test_levels_reach_from_quiet_to_hot(songs):
    varied = mixes(songs, items=200, level_varied=1.0, silenced=0.0, as_mixed=0.0)
    peaks = [20 * np.log10(float(varied[i].sum(0).abs().max())) for i in range(200)]
    assert -60.1 < min(peaks) < -55
    assert 2 < max(peaks) < 6.1


def test_what_stays_as_mixed_is_a_place_of_a_song(songs):
    everything = {**dict.fromkeys(PLAIN, 1), "stretched": 1, "as_mixed": 1, "silenced": 0}
    kept = mixes(songs, **everything)
    names = set()
    for i in range(8):
        for song in songs:
            bass = song.read("bass")[0]
            starts = np.flatnonzero(bass[:RATE - SAMPLES] == kept[i][2, 0, 0].numpy())
            for start in starts:
                place = np.stack([song.read(stem, start, start + SAMPLES) for stem in STEMS])
                if np.array_equal(place, kept[i].numpy()):
                    names.add((i, song.name))
    assert len(names) == 8
    assert len({name for _, name in names}) > 1


def test_items_beyond_the_end(songs):
    with pytest.raises(IndexError):
        mixes(songs)[8]


def broken(path: Path) -> None:
    (path / "song_1" / "bass.wav").write_text("not audio")


def cut(path: Path) -> None:
    file = path / "song_1" / "bass.wav"
    file.write_bytes(file.read_bytes()[:30])


def half(path: Path) -> None:
    file = path / "song_1" / "bass.wav"
    file.write_bytes(file.read_bytes()[:RATE])


def other_rate(path: Path) -> None:
    soundfile.write(path / "song_1" / "bass.wav", np.zeros((RATE, 2)), 48_000, subtype="PCM_16")


def other_format(path: Path) -> None:
    soundfile.write(path / "song_1" / "bass.wav", np.zeros((RATE, 2)), RATE, subtype="FLOAT")


def mono(path: Path) -> None:
    soundfile.write(path / "song_1" / "bass.wav", np.zeros(RATE), RATE, subtype="PCM_16")


def short(path: Path) -> None:
    soundfile.write(path / "song_1" / "bass.wav", np.zeros((9, 2)), RATE, subtype="PCM_16")


def silent(path: Path) -> None:
    for stem in STEMS:
        soundfile.write(path / "song_1" / f"{stem}.wav", np.zeros((RATE, 2)), RATE)


def too_short(path: Path) -> None:
    write_song(path / "song_1", 0.01)


def no_stem(path: Path) -> None:
    for stem in STEMS:
        (path / "song_1" / f"{stem}.wav").unlink()


@pytest.mark.parametrize(("spoil", "message"), [
    (broken, "not a WAV file"), (cut, "not a WAV file"), (half, "not a WAV file"),
    (other_rate, "48000 Hz"), (other_format, "prepare_dataset"), (mono, "1 channel"),
    (short, "differ in length"), (silent, "all its stems are silent"),
    (too_short, "shorter than one segment"), (no_stem, "none of its files is vocals.wav")])
def test_a_bad_song_is_named_and_left_out(tmp_path: Path, spoil, message: str):
    spoil(make_songs(tmp_path / "train"))
    make_songs(tmp_path / "valid", 1)
    data = open_dataset(DataSection(root=tmp_path), STEMS, RATE, SAMPLES)
    assert [song.name for song in data.training] == ["song_0", "song_2"]
    skipped, count = data.notes
    assert message in skipped
    assert skipped.startswith(f"skipped: {tmp_path / 'train' / 'song_1'}")
    assert "\n" not in skipped
    assert count == "1 of 4 songs are left out"


def test_a_silent_stem_is_named_and_left_out(tmp_path: Path):
    make_songs(tmp_path / "train")
    make_songs(tmp_path / "valid", 1)
    quiet = np.zeros((RATE, 2))
    soundfile.write(tmp_path / "train" / "song_2" / "drums.wav", quiet, RATE, subtype="PCM_16")
    quiet[-1000:] = 0.01  # sounds only where a glance would miss it
    soundfile.write(tmp_path / "train" / "song_1" / "drums.wav", quiet, RATE, subtype="PCM_16")
    data = open_dataset(DataSection(root=tmp_path), STEMS, RATE, SAMPLES)
    assert data.notes == ["drums is silent throughout, and left out, in 1 of 4 songs: song_2"]
    assert ["drums" in song.stems for song in data.training] == [True, True, False]


def test_extra_sources_add_up_to_the_stem_they_map_to(tmp_path: Path):
    folder = write_song(tmp_path / "song", names=("other", "guitar", "piano/1", "piano/2", "kazoo"))
    song = open_song(folder, STEMS, {"guitar": "other", "piano": "other"}, RATE)
    names = ("other", "guitar", "piano/1", "piano/2")
    parts = [soundfile.read(folder / f"{name}.wav", dtype="float32")[0].T for name in names]
    np.testing.assert_allclose(song.read("other"), np.sum(parts, 0), atol=1e-7)
    assert set(song.stems) == {"other"}


def test_musdb_trains_as_it_comes_with_the_official_split(tmp_path: Path):
    official = sorted(VALIDATION)[:2]
    for name in (*official, "A - B", "C - D"):
        write_song(tmp_path / "train" / name)
    write_song(tmp_path / "test" / "E - F")
    data = open_dataset(DataSection(root=tmp_path), STEMS, RATE, SAMPLES)
    assert [song.name for song in data.training] == ["A - B", "C - D"]
    assert [song.name for song in data.validation] == official
    data = open_dataset(DataSection(root=tmp_path, valid="test"), STEMS, RATE, SAMPLES)
    assert len(data.training) == 4
    assert [song.name for song in data.validation] == ["E - F"]


def test_a_dataset_that_cannot_be_used_is_an_error(tmp_path: Path, songs):
    def fails(message: str, error: type[ValueError] = DataError, **more) -> None:
        with pytest.raises(error, match=message) as caught:
            open_dataset(DataSection(**{"root": tmp_path, **more}), STEMS, RATE, SAMPLES)
        assert "\n" not in str(caught.value)

    fails("data.root is not set", ConfigError, root=None)
    fails("nowhere/train: no such folder", root=tmp_path / "nowhere")
    (tmp_path / "train").mkdir()
    fails("no song in it")
    (tmp_path / "train" / "covers").mkdir()
    fails("valid: no such folder")
    (tmp_path / "valid" / "covers").mkdir(parents=True)
    fails("train: none of its 1 songs can be used; the first one: .*covers")
    with pytest.raises(DataError, match="as long as one segment"):
        RandomMixes(songs, STEMS, DataSection(), 10 * RATE, 0, 0, 1)


def test_a_stem_file_is_referred_to_the_conversion(tmp_path: Path):
    make_songs(tmp_path / "valid", 1)
    make_songs(tmp_path / "train", 1)
    (tmp_path / "train" / "x.stem.mp4").touch()
    data = open_dataset(DataSection(root=tmp_path), STEMS, RATE, SAMPLES)
    assert "x.stem.mp4: cannot be mapped; python -m model.prepare_dataset --songs" in data.notes[0]


def test_throughput_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for name in ("train", "valid"):
        make_songs(tmp_path / name)
    command = ["--root", str(tmp_path), "--seconds", "0.1", "train.segment_s=0.1"]
    assert throughput.main([*command, "--workers", "0,1"]) == 0
    found, header, alone, one = capsys.readouterr().out.splitlines()
    assert found.startswith("3 songs to train on, 3 to validate with; segments of 0.1 s")
    assert [row.split()[0] for row in (alone, one)] == ["0", "1"]
    for row in (alone, one):
        _, segments, seconds, *_ = map(float, row.split())
        assert segments > 0
        assert seconds == pytest.approx(0.1 * segments, abs=0.1)
    assert len(header.split("  ")) > 3
    assert throughput.main(["--root", str(tmp_path / "no")]) == 2
    assert "no such folder" in capsys.readouterr().err
    with pytest.raises(SystemExit) as caught:
        throughput.main([*command, "--workers", "-1"])
    assert caught.value.code == 2
