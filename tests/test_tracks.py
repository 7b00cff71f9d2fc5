"""Datasets of every layout: found, read exactly, mapped, and plain about what cannot be used."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from model.data import DataError
from model.data.musdb import VALIDATION, find_tracks
from model.data.tracks import Track, open_track
from tests.dataset_fixture import RATE, STEMS, bursts, encode_stem_file, write_song


def opened(path: Path, stem_map: dict[str, str] | None = None) -> Track:
    return open_track(path, STEMS, stem_map or {}, RATE)


def test_subsets_and_flat_folders(tmp_path: Path):
    for name in ("train/a", "train/b", "test/c", ".cache/d"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "train" / "e.stem.mp4").touch()
    (tmp_path / "train" / "notes.txt").touch()
    assert [p.name for p in find_tracks(tmp_path, "train")] == ["a", "b", "e.stem.mp4"]
    assert [p.name for p in find_tracks(tmp_path, "test")] == ["c"]
    assert [p.name for p in find_tracks(tmp_path / "test", "train")] == ["c"]
    assert [p.name for p in find_tracks(tmp_path / "test")] == ["c"]
    for folder, subset, message in ((tmp_path / "no", None, "no such folder"),
                                    (tmp_path / "test" / "c", None, "no song in it")):
        with pytest.raises(DataError, match=message):
            find_tracks(folder, subset)


def test_the_official_split(tmp_path: Path):
    assert len(VALIDATION) == 14
    names = sorted(VALIDATION)[:3]
    for name in (*names[:2], "Somebody - Else"):
        (tmp_path / "train" / name).mkdir(parents=True)
    (tmp_path / "train" / f"{names[2]}.stem.mp4").touch()
    valid = find_tracks(tmp_path, "train", "valid")
    assert [path.name.removesuffix(".stem.mp4") for path in valid] == names
    assert [path.name for path in find_tracks(tmp_path, "train", "train")] == ["Somebody - Else"]
    assert len(find_tracks(tmp_path, "train")) == 4
    for path in valid:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(DataError, match="no song of the valid split"):
        find_tracks(tmp_path, "train", "valid")


def test_the_validation_songs_are_musdbs():
    musdb = pytest.importorskip("musdb")
    import yaml
    file = Path(musdb.__file__).parent / "configs" / "mus.yaml"
    assert set(yaml.safe_load(file.read_text())["validation_tracks"]) == VALIDATION


@pytest.mark.parametrize(("subtype", "suffix"), [
    ("PCM_16", ".wav"), ("PCM_24", ".wav"), ("FLOAT", ".wav"), ("PCM_24", ".flac")])
def test_reading_is_exact_whatever_the_format(tmp_path: Path, subtype: str, suffix: str):
    folder = write_song(tmp_path / "song", subtype=subtype, suffix=suffix)
    (folder / f"vocals{suffix}").unlink()
    soundfile.write(folder / "mixture.wav", np.zeros((5, 2)), 8000)  # never read
    track = opened(folder)
    assert (track.name, track.samples) == ("song", 2 * RATE)
    drums, _ = soundfile.read(folder / f"drums{suffix}", dtype="float32")
    np.testing.assert_array_equal(track.read("drums"), drums.T)
    assert not track.read("vocals").any()


def test_extra_sources_add_up_to_the_stem_they_map_to(tmp_path: Path):
    names = ("vocals", "other", "guitar", "piano/1", "piano/2", "kazoo")
    folder = write_song(tmp_path / "song", names=names, subtype="FLOAT")
    track = opened(folder, {"guitar": "other", "piano": "other", "drums": "bass"})
    parts = [soundfile.read(folder / f"{n}.wav", dtype="float32")[0].T for n in names[1:5]]
    np.testing.assert_allclose(track.read("other"), np.sum(parts, 0), atol=1e-7)
    assert set(track.sounds) == {"vocals", "other"}
    # a file goes before a folder of its name, and a source that is a stem of its own is not mapped
    (folder / "guitar").mkdir()
    soundfile.write(folder / "guitar" / "take.wav", bursts(2, 5), RATE)
    own = open_track(folder, (*STEMS, "guitar"), {"guitar": "other"}, RATE)
    np.testing.assert_array_equal(own.read("guitar"), parts[1])


def test_a_stem_file_is_read_by_stream(tmp_path: Path):
    if shutil.which("ffmpeg") is None:
        pytest.skip("ffmpeg is not installed: .stem.mp4 files are not tested")
    tones = [0.2 * np.sin(2 * np.pi * f * np.arange(RATE) / RATE)[:, None].repeat(2, 1)
             for f in (220, 330, 550, 770)]
    file = encode_stem_file(tmp_path / "A - B.stem.mp4", [np.sum(tones, 0), *tones])
    track = opened(file)
    assert track.name == "A - B"
    assert track.samples == pytest.approx(RATE, abs=2048)
    for stem, tone in zip(("drums", "bass", "other", "vocals"), tones, strict=True):
        middle = slice(RATE // 4, 3 * RATE // 4)
        error = track.read(stem).T[middle] - tone[middle]
        assert np.sqrt(np.mean(error**2)) < 0.02 * np.sqrt(np.mean(tone**2)), stem
    with pytest.raises(DataError, match="no sound stream number 5"):
        opened(encode_stem_file(tmp_path / "few.stem.mp4", tones))
    data = file.read_bytes()
    (tmp_path / "cut.stem.mp4").write_bytes(data[:len(data) // 2])
    with pytest.raises(DataError, match=r"cut\.stem\.mp4: breaks off"):
        opened(tmp_path / "cut.stem.mp4").read("vocals")
    (tmp_path / "bad.stem.mp4").write_bytes(data[-20_000:])
    with pytest.raises(DataError, match=r"bad\.stem\.mp4: not a sound file"):
        opened(tmp_path / "bad.stem.mp4")


def broken(file: Path) -> None:
    file.write_text("not audio")


def other_rate(file: Path) -> None:
    soundfile.write(file, bursts(2, 0), 48_000)


def mono(file: Path) -> None:
    soundfile.write(file, bursts(2, 0)[:, 0], RATE)


def short(file: Path) -> None:
    soundfile.write(file, bursts(1, 0), RATE)


def empty(file: Path) -> None:
    soundfile.write(file, np.zeros((0, 2)), RATE)


def not_numbers(file: Path) -> None:
    soundfile.write(file, np.full((2 * RATE, 2), np.nan), RATE, subtype="FLOAT")


@pytest.mark.parametrize(("spoil", "message"), [
    (broken, "not a sound file"), (other_rate, "48000 Hz"), (mono, "1 channel"),
    (short, "differ in length"), (empty, "differ in length"), (not_numbers, "not numbers")])
def test_what_cannot_be_used_is_named(tmp_path: Path, spoil, message: str):
    folder = write_song(tmp_path / "song")
    spoil(folder / "bass.wav")
    with pytest.raises(DataError, match=message) as caught:
        opened(folder).read("bass")
    assert "song" in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="none of its files"):
        opened(tmp_path)
