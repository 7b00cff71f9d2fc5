"""LMMS projects as songs in stems: which instrument is what, what is muted, what is rendered."""

from __future__ import annotations

import json
import shutil
import zlib
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import soundfile

from model.render_songs.lmms_projects import alone, instruments, main, read_project, stem_of

needs_lmms = pytest.mark.skipif(shutil.which("lmms") is None, reason="lmms is not installed")
BEATS = 4 * 48


def track(name: str, key: int, sample: str = "", instrument: str = "tripleoscillator",
          at: int = 0) -> str:
    if sample:
        instrument = "audiofileprocessor"
    inside = f'<{instrument} src="{sample}"/>' if sample else f"<{instrument}/>"
    return f"""<track name="{name}" type="0" muted="0" solo="0">
      <instrumenttrack basenote="57" vol="100" pan="0" fxch="0">
        <instrument name="{instrument}">{inside}</instrument></instrumenttrack>
      <pattern pos="{at}" len="{BEATS}" type="1" muted="0" steps="16" name="">
        <note pos="0" len="48" key="{key}" vol="100" pan="0"/></pattern>
    </track>"""


def project(*tracks: str, bpm: int = 120) -> bytes:
    return f"""<?xml version="1.0"?><!DOCTYPE lmms-project>
    <lmms-project version="1.0" type="song"><head bpm="{bpm}" mastervol="100" masterpitch="0"
      timesig_numerator="4" timesig_denominator="4"/>
      <song><trackcontainer type="song">{''.join(tracks)}</trackcontainer></song>
    </lmms-project>""".encode()


@pytest.mark.parametrize(("name", "key", "sample", "instrument", "stem"), [
    ("hit", 57, "drums/bassdrum03.ogg", "", "drums"), ("Sub high", 70, "", "lb302", "bass"),
    ("x", 57, "drumsynth/tr606/Hat_c.ds", "", "drums"), ("x", 57, "basses/slap01.ogg", "", "bass"),
    ("x", 57, "drumsynth/misc/mute_bass.ds", "", "bass"), ("thing", 66, "", "kicker", "other"),
    ("x", 57, "drumsynth/r_n_b/E_Piano.ds", "", "other"), ("x", 30, "effects/zap.ogg", "", "other"),
    ("Default preset", 33, "", "tripleoscillator", "bass"), ("thing", 57, "", "kicker", "drums"),
    ("Default preset", 57, "", "tripleoscillator", "other"), ("Snare I", 57, "", "sid", "drums")])
def test_an_instruments_stem(name: str, key: int, sample: str, instrument: str,
                             stem: str) -> None:
    root = ElementTree.fromstring(project(track(name, key, sample, instrument)))
    assert [stem_of(one) for one in instruments(root)] == [stem]


def test_only_one_stem_sounds_and_late_clips_are_gone() -> None:
    root = ElementTree.fromstring(project(
        track("Bass", 30), track("Kick", 57), track("late pad", 57, at=3 * BEATS), bpm=120))
    copy = alone(root, "other", seconds=4)  # two bars of four beats
    muted = {one.get("name"): one.get("muted") for one in copy.iter("track")}
    assert muted == {"Bass": "1", "Kick": "1", "late pad": "0"}
    assert [len(one.findall("pattern")) for one in copy.iter("track")] == [1, 1, 0]
    assert all(one.get("muted") == "0" for one in root.iter("track"))  # the project is as it was


def test_a_compressed_project_is_the_same(tmp_path: Path) -> None:
    text = project(track("Bass", 30))
    plain, packed = tmp_path / "a.mmp", tmp_path / "a.mmpz"
    plain.write_bytes(text)
    packed.write_bytes(len(text).to_bytes(4, "big") + zlib.compress(text))
    assert ElementTree.tostring(read_project(packed)) == ElementTree.tostring(read_project(plain))


NO_NUMBER = project(track("x", 57)).replace(b'key="57"', b'key="?"')


@pytest.mark.parametrize("content", [b"", b"no XML", b"<xml/>", b"<lmms-project/>", NO_NUMBER])
def test_what_is_no_project_is_named_in_one_line(
        tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.mmp", "b.mmpz"):
        (tmp_path / name).write_bytes(content)
    assert main([str(tmp_path), "--out", str(tmp_path / "songs")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert "a.mmp" in lines[0]
    assert "b.mmpz" in lines[1]
    assert "no project" in lines[2]
    assert not (tmp_path / "songs").exists()


def test_without_lmms_the_cure_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                       capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.mmp").write_bytes(project(track("Bass", 30), track("Kick", 57)))
    monkeypatch.setenv("PATH", "")
    assert main([str(tmp_path / "a.mmp"), "--out", str(tmp_path / "songs")]) == 2
    assert "apt install lmms" in capsys.readouterr().err


@needs_lmms
def test_lmms_renders_stems_that_sound_alone(tmp_path: Path) -> None:
    file, out = tmp_path / "two.mmp", tmp_path / "songs"
    file.write_bytes(project(track("Bass", 30), track("lead", 69)))
    assert main([str(file), "--out", str(out), "--seconds", "2"]) == 0
    assert sorted(p.name for p in (out / "two").iterdir()) == [
        "bass.wav", "mixture.wav", "other.wav", "song.json"]
    sounds = [soundfile.read(out / "two" / f"{stem}.wav")[0] for stem in ("bass", "other")]
    assert sounds[0].shape == sounds[1].shape
    assert 0.9 < np.abs(sum(sounds)).max() <= 1
    told = json.loads((out / "two" / "song.json").read_text(encoding="utf-8"))
    assert told["instruments"] == {"bass": ["Bass"], "other": ["lead"]}
    # key 57 is A4, 440 Hz: the loudest frequencies are those of the notes
    for sound, hz in zip(sounds, (440 * 2 ** (-27 / 12), 880), strict=True):
        spectrum = np.abs(np.fft.rfft(sound[:22_050, 0] * np.hanning(22_050)))
        loudest = np.fft.rfftfreq(22_050, 1 / 44_100)[spectrum.argmax()]
        assert any(abs(loudest / (hz * n) - 1) < 0.04 for n in (0.5, 1, 2)), (loudest, hz)
