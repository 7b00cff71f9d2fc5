"""Activity lists: the paper's rule, resumed and parallel runs, bad tracks, and training on them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from model import prepare_dataset
from model.data import DataError, RandomMixes, Song
from model.data.activity import ActivitySettings, active_segments, read_list, write_list
from model.data.songs import open_song
from rt.sections import DataSection
from tests.dataset_fixture import RATE, STEMS, bursts, write_song

QUICK = "window_s: 1.0\n"  # the tests' songs are short


def plain_activity(x: np.ndarray, rate: int, c: ActivitySettings) -> list[tuple[int, int]]:
    """The paper's rule spelled out, a window and a part at a time."""
    part = round(c.window_s * rate / c.parts)
    window, levels, starts = part * c.parts, [], []
    start = 0
    while start + window <= x.shape[1]:
        starts.append(start)
        cut = [x[:, start + i * part:start + (i + 1) * part] for i in range(c.parts)]
        levels.append([float(np.sqrt((piece.astype(float) ** 2).mean())) for piece in cut])
        start += round(window * (1 - c.overlap))
    if not starts:
        return []
    everything = sorted(level for row in levels for level in row)
    place = c.quantile * (len(everything) - 1)
    below = int(place)
    above = min(below + 1, len(everything) - 1)
    quantile = everything[below] + (place - below) * (everything[above] - everything[below])
    threshold = max(quantile, c.floor)
    return [(start, start + window) for start, row in zip(starts, levels, strict=True)
            if len([level for level in row if level > threshold]) > c.share * c.parts]


@pytest.mark.parametrize("settings", [
    ActivitySettings(), ActivitySettings(window_s=1, parts=7, overlap=0.25),
    ActivitySettings(window_s=0.5, quantile=0.6, share=0.2), ActivitySettings(floor=0.05)])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_activity_is_the_papers(settings: ActivitySettings, seed: int):
    x = bursts(25, seed).T.astype(np.float32)
    found = active_segments(x, RATE, settings)
    assert found == plain_activity(x, RATE, settings)


def test_activity_of_the_extremes():
    settings = ActivitySettings()
    loud = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 20 * RATE)).astype(np.float32)
    assert active_segments(np.zeros_like(loud), RATE, settings) == []
    assert active_segments(loud * 1e-3, RATE, settings) == []  # below the floor
    assert active_segments(loud[:, :5 * RATE], RATE, settings) == []  # shorter than a window
    assert active_segments(loud, RATE, settings) == [
        (s * RATE, (s + 6) * RATE) for s in (0, 3, 6, 9, 12)]


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    for i in range(4):
        write_song(tmp_path / "musdb" / "train" / f"song {i}", 3, seed=i)
    (tmp_path / "musdb" / "train" / "song 1" / "vocals.wav").unlink()
    (tmp_path / "sad.yaml").write_text(QUICK)
    return tmp_path / "musdb"


def arguments(dataset: Path, out: str, *more: object) -> list[str]:
    return ["-i", str(dataset), "-o", str(dataset.parent / out),
            "--sad-cfg", str(dataset.parent / "sad.yaml"), *map(str, more)]


def lists(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in folder.glob("*.txt")}


def opened(songs: Path) -> list[Song]:
    return [open_song(folder, STEMS, {}, RATE) for folder in sorted(songs.iterdir())]


def test_lists_hold_what_each_track_gives(dataset: Path, capsys: pytest.CaptureFixture[str]):
    assert prepare_dataset.main(arguments(dataset, "out")) == 0
    printed = capsys.readouterr()
    assert "4 tracks, 0 of them done before; met now: 0 tracks skipped" in printed.out
    out = dataset.parent / "out"
    assert set(lists(out)) == {f"{stem}_train.txt" for stem in STEMS}
    for stem in STEMS:
        expected = {}
        for file in sorted(dataset.glob(f"train/*/{stem}.wav")):
            x = soundfile.read(file)[0].T
            if segments := plain_activity(x, RATE, ActivitySettings(window_s=1)):
                expected[file.parent.name] = segments
        assert read_list(out / f"{stem}_train.txt") == expected
        assert expected
    line = lists(out)["drums_train.txt"].splitlines()[0]
    assert line.startswith("song 0\t")
    assert line.count("\t") == 2


def test_parallel_is_the_same(dataset: Path):
    assert prepare_dataset.main(arguments(dataset, "one")) == 0
    assert prepare_dataset.main(arguments(dataset, "two", "--jobs", 2)) == 0
    assert lists(dataset.parent / "one") == lists(dataset.parent / "two")


def test_an_interrupted_run_goes_on(dataset: Path, monkeypatch: pytest.MonkeyPatch,
                                    capsys: pytest.CaptureFixture[str]):
    whole = prepare_dataset.prepare_track
    done: list[str] = []

    def counted(path: Path, plan: prepare_dataset.Plan) -> prepare_dataset.Outcome:
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(path.name)
        return whole(path, plan)

    monkeypatch.setattr(prepare_dataset, "prepare_track", counted)
    command = arguments(dataset, "out")
    assert prepare_dataset.main(command) == 130
    assert not lists(dataset.parent / "out")
    journal = dataset.parent / "out" / "activity_train.jsonl"
    journal.write_text(journal.read_text() + '{"track": "song 2", "stam')  # killed as it wrote

    def again(*more: str) -> list[str]:
        done.clear()
        monkeypatch.setattr(prepare_dataset, "prepare_track",
                            lambda path, plan: done.append(path.name) or whole(path, plan))
        assert prepare_dataset.main([*command, *more]) == 0
        return done

    assert again() == ["song 2", "song 3"]
    assert "2 of them done before" in capsys.readouterr().out
    monkeypatch.undo()
    assert prepare_dataset.main(arguments(dataset, "fresh")) == 0
    assert lists(dataset.parent / "out") == lists(dataset.parent / "fresh")
    assert all(json.loads(line) for line in journal.read_text().splitlines())

    assert again() == []
    write_song(dataset / "train" / "song 1", 2.5, seed=9)
    assert again() == ["song 1"]
    write_song(dataset / "train" / "song 4", 3, seed=4)
    assert again() == ["song 4"]
    assert len(again("-t", "bass")) == 5


def test_bad_tracks_are_named_and_counted(dataset: Path, capsys: pytest.CaptureFixture[str]):
    train = dataset / "train"
    (train / "song 0" / "bass.wav").write_text("not audio")
    write_song(train / "song 2", 0.5)
    soundfile.write(train / "song 3" / "drums.wav", np.zeros((3 * RATE, 2)), RATE)
    (train / "covers").mkdir()
    assert prepare_dataset.main(arguments(dataset, "out")) == 0
    printed = capsys.readouterr()
    assert "2 tracks, 0 of them" in printed.out
    assert "met now: 3 tracks skipped, 1 silent stems" in printed.out
    for part in ("bass.wav: not a sound file", "song 2: 22050 samples are shorter",
                 "song 3: drums is silent", "covers: none of its files"):
        assert part in printed.err
    assert set(read_list(dataset.parent / "out" / "drums_train.txt")) == {"song 1"}


def test_songs_are_converted_for_training(dataset: Path, capsys: pytest.CaptureFixture[str]):
    song = dataset / "train" / "song 3"
    soundfile.write(song / "guitar.wav", bursts(3, 77), RATE, subtype="FLOAT")
    soundfile.write(song / "drums.wav", np.full((3 * RATE, 2), 1.5), RATE, subtype="FLOAT")
    songs = dataset.parent / "songs"
    assert prepare_dataset.main(arguments(dataset, "out", "--songs", songs)) == 0
    assert f"{2 * 3 * RATE} values were over full scale" in capsys.readouterr().err
    converted = {one.name: one for one in opened(songs)}
    assert set(converted["song 1"].stems) == set(STEMS) - {"vocals"}
    exact = soundfile.read(dataset / "train" / "song 0" / "bass.wav", dtype="float32")[0].T
    np.testing.assert_array_equal(converted["song 0"].read("bass"), exact)
    both = sum(soundfile.read(song / f"{name}.wav")[0].T for name in ("other", "guitar"))
    np.testing.assert_allclose(converted["song 3"].read("other"), both, atol=0.6 / 32768)
    assert not list(songs.glob(".*"))


def test_training_takes_stems_from_where_they_sound(tmp_path: Path):
    n = 4 * RATE
    for i in range(2):
        (tmp_path / "songs" / f"s{i}").mkdir(parents=True)
        for stem in STEMS:  # every sample tells its place
            ramp = np.arange(n)[:, None].repeat(2, 1) % 32000
            soundfile.write(tmp_path / "songs" / f"s{i}" / f"{stem}.wav",
                            ramp.astype(np.int16), RATE, subtype="PCM_16")
    for stem in STEMS:
        write_list(tmp_path / f"{stem}_train.txt", {"s1": [(8000, 12_000), (n - 5000, n)]})
    songs = opened(tmp_path / "songs")
    config = DataSection(activity=tmp_path, coherent=0, silenced=0, gain_db=0, speed_varied=0,
                         equalised=0, coded=0, paused=0, band_limited=0, room=0, noisy=0,
                         mono=0, clipped=0, level_varied=0)
    for samples in (1000, 6000):  # shorter and longer than a segment
        mixes = RandomMixes(songs, STEMS, config, samples, 0, 0, 60)
        places = {round(abs(float(mixes[i][k, 0, 0])) * 32768) for i in range(60) for k in (0, 3)}
        inside = {p for p in places if (8000 <= p <= 11_000 if samples == 1000
                                        else 6000 <= p <= 8000)}
        at_end = {p for p in places if n - 6000 <= p + (n - 1) // 32000 * 32000 <= n - 1000}
        assert places == inside | at_end
        assert len(inside) > 20
        assert len(at_end) > (20 if samples == 1000 else 0)
    write_list(tmp_path / "bass_train.txt", {"elsewhere": [(0, 1000)]})
    with pytest.raises(DataError, match=r"bass_train\.txt: names no song"):
        RandomMixes(songs, STEMS, config, 1000, 0, 0, 1)


@pytest.mark.parametrize("text", ["a\t1", "a\tx\t2", "a\t5\t5", "\n"])
def test_a_spoiled_list_is_named(tmp_path: Path, text: str):
    (tmp_path / "l.txt").write_text(f"a\t1\t2\n{text}\n")
    with pytest.raises(DataError, match=r"l\.txt: line 2"):
        read_list(tmp_path / "l.txt")
    with pytest.raises(DataError, match="prepare_dataset"):
        read_list(tmp_path / "none.txt")


def test_bad_input_is_one_line_and_code_2(dataset: Path, tmp_path: Path,
                                          capsys: pytest.CaptureFixture[str]):
    (tmp_path / "empty").mkdir()
    (tmp_path / "none" / "train" / "x").mkdir(parents=True)
    (tmp_path / "bad.yaml").write_text("window: 6\n")
    (tmp_path / "file").touch()
    out = ["-o", str(tmp_path / "o")]
    cases = [
        (["-i", str(tmp_path / "nowhere"), *out], "no such folder"),
        (["-i", str(tmp_path / "empty"), *out], "no song in it"),
        (["-i", str(tmp_path / "none"), *out], "none of its 1 tracks can be used"),
        (["-i", str(dataset), *out, "-t", "tuba"], "no such stem, there is vocals"),
        (["-i", str(dataset), *out, "--subset", "test"], "test: no such folder"),
        (["-i", str(dataset), *out, "--split", "valid"], "no song of the valid split"),
        (["-i", str(dataset), *out, "--sad-cfg", str(tmp_path / "bad.yaml")], "window = 6"),
        (["-i", str(dataset), *out, "--sad-cfg", str(tmp_path / "no.yaml")], "cannot be read"),
        (["-i", str(dataset), "-o", str(tmp_path / "file")], "file"),
        (["-i", str(dataset), *out, "--config", str(tmp_path / "no.yaml")], "cannot be read"),
    ]
    for command, message in cases:
        capsys.readouterr()
        assert prepare_dataset.main(command) == 2, message
        lines = capsys.readouterr().err.splitlines()
        assert message in lines[-1]
        assert lines[-1].startswith("error: ")
        assert all(line.startswith("skipped: ") for line in lines[:-1])
    for more in (["--jobs", "0"], ["--subset", "test", "--split", "valid"]):
        with pytest.raises(SystemExit) as caught:
            prepare_dataset.main(["-i", str(dataset), *out, *more])
        assert caught.value.code == 2
