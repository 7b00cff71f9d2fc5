"""Offline separation: aligned, complete, bounded, resumable, and plain about what it cannot do."""

import os
import shutil
import signal as signals
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from model.inference import __main__ as inference
from model.inference import jobs
from model.inference.offline import resampled, separate_sound
from model.inference.streamed import Streamed
from model.network import BandSplitRNN
from model.sound import Sound
from rt.separator import EqualShares, Separator
from rt.session import Session, SessionError, packaged_model
from rt.spec import StreamSpec

ROOT = Path(__file__).parent.parent
STEMS = ("vocals", "drums", "bass", "other")
needs_ffmpeg = pytest.mark.skipif(not shutil.which("ffmpeg"), reason="ffmpeg is not installed")

Graph = tuple[Path, BandSplitRNN]


def music(samples: int, rate: int = 44_100, channels: int = 2) -> np.ndarray:
    """[samples, channels] float32: a few notes below 8 kHz that fade in and out."""
    t = np.arange(samples) / rate
    rng = np.random.default_rng(samples)
    notes = [np.sin(2 * np.pi * f * t[:, None] + rng.uniform(0, 6, channels))
             * rng.uniform(0.02, 0.1, channels) for f in rng.uniform(60, 8000, 12)]
    fade = np.minimum(1, np.minimum(np.arange(samples), np.arange(samples)[::-1]) / 2000)
    return (np.sum(notes, 0) * fade[:, None]).astype(np.float32)


def write(path: Path, samples: np.ndarray, rate: int = 44_100, subtype: str = "FLOAT") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(str(path), samples, rate, subtype=subtype)
    return path


def cuda_works() -> bool:
    """As far as the driver's tool knows; a session without it is an error either way."""
    return shutil.which("nvidia-smi") is not None


def run(graph: Graph, source: Path, out: Path, *more: str) -> int:
    return inference.main(["-i", str(source), "-o", str(out), "-c", str(graph[0]), "-d", "cpu",
                           *more])


def read(out: Path, names: tuple[str, ...] = STEMS, song: str = "song",
         suffix: str = "wav") -> tuple[np.ndarray, int]:
    """[names, samples, channels] and the rate."""
    found = [soundfile.read(str(out / f"{song}_{name}.{suffix}"), dtype="float32", always_2d=True)
             for name in names]
    return np.stack([samples for samples, _ in found]), found[0][1]


# What comes out

@pytest.mark.parametrize("samples", [1, 31, 4410, 70_001])
def test_stems_are_the_live_separators_exactly(step_graph: Graph, tmp_path: Path,
                                               samples: int) -> None:
    x = music(samples)
    assert run(step_graph, write(tmp_path / "song.wav", x), tmp_path / "out") == 0
    stems, rate = read(tmp_path / "out")
    live = Separator(Session(step_graph[0], "cpu"))
    spec = live.spec
    late = spec.algorithmic_latency
    expected = live.push(np.pad(x, ((0, late + spec.hop), (0, 0))))[late:late + samples]
    assert rate == 44_100
    np.testing.assert_array_equal(stems, expected.swapaxes(0, 1))
    np.testing.assert_allclose(stems.sum(0), x, atol=1e-5)


@pytest.mark.parametrize("tier", ["live", "ultra"])
def test_packaged_models_separate_by_name(tmp_path: Path, tier: str) -> None:
    """Whatever they were trained on: their stems add up to the input."""
    try:
        packaged_model(tier)
    except SessionError as error:
        pytest.skip(str(error))
    x = music(30_001)
    source = write(tmp_path / "song.wav", x)
    assert inference.main(["-i", str(source), "-o", str(tmp_path / "out"), "-c", tier]) == 0
    np.testing.assert_allclose(read(tmp_path / "out")[0].sum(0), x, atol=1e-4)


def test_the_second_file_starts_from_silence(step_graph: Graph, tmp_path: Path) -> None:
    x = music(9000)
    for name in ("a/song.wav", "b/song.wav"):
        write(tmp_path / "in" / name, x)
    assert run(step_graph, tmp_path / "in", tmp_path / "out") == 0
    first, second = (read(tmp_path / "out" / folder)[0] for folder in "ab")
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(("rate", "samples"), [(48_000, 48_001), (22_050, 30_007), (96_000, 9),
                                               (44_100, 44_101), (48_000, 1)])
def test_any_rate_comes_back_in_length_and_in_time(step_graph: Graph, tmp_path: Path, rate: int,
                                                   samples: int) -> None:
    x = music(samples, rate)
    run(step_graph, write(tmp_path / "song.wav", x, rate), tmp_path / "out")
    stems, out_rate = read(tmp_path / "out")
    assert (out_rate, stems.shape) == (rate, (4, samples, 2))
    np.testing.assert_allclose(stems.sum(0), x, atol=2e-3)


@pytest.mark.parametrize(("option", "rate", "samples"), [
    ("model", 44_100, 44_101), ("32000", 32_000, 32_001), ("input", 48_000, 48_001)])
def test_stems_at_another_rate(step_graph: Graph, tmp_path: Path, option: str, rate: int,
                               samples: int) -> None:
    x = music(48_001, 48_000)
    run(step_graph, write(tmp_path / "song.wav", x, 48_000), tmp_path / "out", "--rate", option)
    stems, out_rate = read(tmp_path / "out")
    assert (out_rate, stems.shape) == (rate, (4, samples, 2))
    expected = next(resampled([np.concatenate([x, x * 0])], 48_000, rate))[:samples - 2000]
    np.testing.assert_allclose(stems.sum(0)[:len(expected)], expected, atol=2e-3)


def test_mono_in_mono_out(step_graph: Graph, tmp_path: Path) -> None:
    x = music(20_001, channels=1)
    run(step_graph, write(tmp_path / "song.wav", x), tmp_path / "out")
    mono, _ = read(tmp_path / "out")
    assert mono.shape == (4, 20_001, 1)
    np.testing.assert_allclose(mono.sum(0), x, atol=1e-5)
    run(step_graph, write(tmp_path / "song.wav", x.repeat(2, 1)), tmp_path / "stereo")
    stereo, _ = read(tmp_path / "stereo")
    np.testing.assert_allclose(mono[..., 0], stereo.mean(2), atol=1e-6)


def test_one_stem_is_the_same_as_among_all(step_graph: Graph, tmp_path: Path) -> None:
    source = write(tmp_path / "song.wav", music(20_001))
    run(step_graph, source, tmp_path / "all")
    run(step_graph, source, tmp_path / "one", "-t", "bass")
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["song_bass.wav"]
    np.testing.assert_array_equal(read(tmp_path / "one", ("bass",))[0][0],
                                  read(tmp_path / "all")[0][2])


@pytest.mark.parametrize("rate", [44_100, 48_000])
def test_two_stems_add_up_to_the_mixture(step_graph: Graph, tmp_path: Path, rate: int) -> None:
    x = music(70_003, rate)
    source = write(tmp_path / "song.wav", x, rate)
    run(step_graph, source, tmp_path / "all")
    run(step_graph, source, tmp_path / "two", "--two-stems", "vocals")
    assert len(list((tmp_path / "two").iterdir())) == 2
    two, _ = read(tmp_path / "two", ("vocals", "accompaniment"))
    stems, _ = read(tmp_path / "all")
    np.testing.assert_allclose(two.sum(0), x, atol=2e-6 if rate == 44_100 else 2e-3)
    np.testing.assert_array_equal(two[0], stems[0])
    np.testing.assert_allclose(two[1], stems[1:].sum(0), atol=1e-5)


@pytest.mark.parametrize(("options", "suffix", "subtype", "step"), [
    ([], "wav", "FLOAT", 0.0), (["--subtype", "16"], "wav", "PCM_16", 2**-15),
    (["--subtype", "24"], "wav", "PCM_24", 2**-23), (["--flac"], "flac", "PCM_24", 2**-23),
    (["--flac", "--subtype", "16"], "flac", "PCM_16", 2**-15)])
def test_encodings(step_graph: Graph, tmp_path: Path, options: list[str], suffix: str,
                   subtype: str, step: float) -> None:
    source = write(tmp_path / "song.wav", music(9001))
    run(step_graph, source, tmp_path / "float")
    run(step_graph, source, tmp_path / "out", *options)
    assert soundfile.info(str(tmp_path / "out" / f"song_bass.{suffix}")).subtype == subtype
    np.testing.assert_allclose(read(tmp_path / "out", suffix=suffix)[0],
                               read(tmp_path / "float")[0], atol=step)


def test_what_is_clipped_is_said(step_graph: Graph, tmp_path: Path,
                                 capsys: pytest.CaptureFixture[str]) -> None:
    source = write(tmp_path / "song.wav", 100 * music(9001))
    run(step_graph, source, tmp_path / "float")
    assert "full scale" not in capsys.readouterr().out
    run(step_graph, source, tmp_path / "out", "--subtype", "16")
    over = int((np.abs(read(tmp_path / "float")[0]) > 1).sum())
    assert f"{over} values were over full scale and are clipped" in capsys.readouterr().out
    assert read(tmp_path / "out")[0].max() == pytest.approx(1, abs=1e-4)  # no wrapping round


# What goes in

@needs_ffmpeg
@pytest.mark.parametrize("suffix", ["mp3", "m4a", "ogg", "flac"])
def test_compressed_files(step_graph: Graph, tmp_path: Path, suffix: str) -> None:
    source = tmp_path / f"song.{suffix}"
    wav = write(tmp_path / "wav.wav", music(60_000, 48_000), 48_000)
    command = ["ffmpeg", "-v", "error", "-i", str(wav), str(source)]
    subprocess.run(command, check=True)
    decoded = subprocess.run(["ffmpeg", "-v", "error", "-i", str(source), "-f", "f32le", "-"],
                             check=True, capture_output=True).stdout
    expected = np.frombuffer(decoded, np.float32).reshape(-1, 2)
    assert run(step_graph, source, tmp_path / "out") == 0
    stems, rate = read(tmp_path / "out")
    assert (rate, stems.shape) == (48_000, (4, *expected.shape))
    np.testing.assert_allclose(stems.sum(0), expected, atol=5e-3)


def test_without_ffmpeg_it_says_so(step_graph: Graph, tmp_path: Path,
                                   monkeypatch: pytest.MonkeyPatch,
                                   capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "song.m4a").write_bytes(b"\0\0\0\x20ftypM4A ")
    assert run(step_graph, tmp_path / "song.m4a", tmp_path / "out") == 2
    assert "ffmpeg, which reads most others, is not installed" in capsys.readouterr().err


def bad_file(folder: Path, kind: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{kind}.wav"
    if kind == "text":
        path = folder / "text.mp3"
        path.write_text("these are only words\n" * 20, encoding="utf-8")
    elif kind == "hollow":
        path = folder / "hollow.flac"
        path.write_bytes(b"")
    elif kind == "name":
        path = write(folder / "line\nbreak.wav", music(100))
    elif kind == "empty":
        write(path, np.zeros((0, 2), np.float32))
    elif kind == "nothing":
        path.write_bytes(b"")
    elif kind == "surround":
        write(path, np.zeros((100, 6), np.float32))
    else:
        x = music(70_000)
        x[68_000] = np.nan
        write(path, x)
    return path


BAD = {"text": "not a sound file", "empty": "is empty", "nothing": "not a sound file",
       "hollow": "not a sound file", "name": "cannot be printed; rename it",
       "surround": "has 6 channels", "nan": "not numbers, at 1.54 s"}


@needs_ffmpeg
@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_is_one_line_and_exit_code_2(step_graph: Graph, tmp_path: Path, kind: str,
                                                capfd: pytest.CaptureFixture[str]) -> None:
    path = bad_file(tmp_path, kind)
    assert run(step_graph, path, tmp_path / "out") == 2
    captured = capfd.readouterr()  # of the process: decoders write there as well
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert repr(str(path))[1:-1] in captured.err
    assert BAD[kind] in captured.err
    assert not list(tmp_path.glob("out/*"))


@needs_ffmpeg
def test_in_a_folder_the_rest_goes_on(step_graph: Graph, tmp_path: Path,
                                      capsys: pytest.CaptureFixture[str]) -> None:
    bad_file(tmp_path / "in" / "deep", "text")
    bad_file(tmp_path / "in", "nan")
    write(tmp_path / "in" / "deep" / "-さくら\u3000 no:1.wav", music(5000))
    write(tmp_path / "in" / "song.flac", music(5000), subtype="PCM_16")
    write(tmp_path / "in" / "song.wav", music(5000))  # would have the same names
    write(tmp_path / "in" / "._song.wav", music(5000))
    (tmp_path / "in" / "notes.txt").write_text("not meant", encoding="utf-8")
    out = tmp_path / "in" / "out"
    assert run(step_graph, tmp_path / "in", out) == 1
    captured = capsys.readouterr()
    errors = captured.err.splitlines()
    assert len(errors) == 3
    for part in ("text.mp3: not a sound file", "nan.wav: holds values",
                 "song.wav: its stems would have the names of those of song.flac"):
        assert any(part in line for line in errors), part
    assert captured.out.splitlines()[-1] == "2 separated, 0 skipped, 3 failed"
    assert len(list(out.rglob("*.*"))) == 8
    assert run(step_graph, tmp_path / "in", out) == 1  # and its own stems are no input
    assert "0 separated, 2 skipped, 3 failed" in capsys.readouterr().out


@pytest.mark.parametrize(("options", "message"), [
    (["-i", "nowhere.wav"], "no such file or folder"),
    (["-i", "."], "is the input folder itself"),
    (["-i", "void"], "no sound file in it"),
    (["-o", "song.wav"], "cannot be written to"),
    (["-t", "piano"], "no stem 'piano': this model gives vocals, drums, bass, other"),
    (["--two-stems", "piano"], "no stem 'piano'"),
    (["-c", "nowhere.onnx"], "no such model file"),
    (["-c", "song.wav"], "neither a step graph (.onnx) nor a reference checkpoint"),
    (["-c", "tiny"], "no packaged model for tier 'tiny'"),
    (["-c", "bad.onnx"], "not a usable ONNX model"),
    (["-c", "bad.pt"], "not a PyTorch file"),
    (["--step", "1"], "for reference checkpoints"),
    (["-d", "cuda"], "with -d cpu"),
])
def test_bad_requests_are_one_line_and_exit_code_2(
        step_graph: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str], options: list[str], message: str) -> None:
    if options == ["-d", "cuda"] and cuda_works():
        pytest.skip("this machine has CUDA")
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "song.wav", music(500))
    (tmp_path / "void").mkdir()
    (tmp_path / "bad.onnx").write_bytes(b"no")
    (tmp_path / "bad.pt").write_bytes(b"no")
    base = ["-i", "song.wav", "-o", "." if options == ["-i", "."] else "out",
            "-c", str(step_graph[0])]
    assert inference.main([*base, *options]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize("options", [
    ["--flac", "--subtype", "float"], ["-t", "bass", "--two-stems", "vocals"], ["--rate", "12"],
    ["--threads", "0"], ["--step", "nan"], ["--subtype", "8"]])
def test_bad_options_are_exit_code_2(options: list[str]) -> None:
    with pytest.raises(SystemExit) as error:
        inference.main(["-i", "a", "-o", "b", *options])
    assert error.value.code == 2


# Interruptions

def test_an_interrupted_run_goes_on_where_it_stopped(
        step_graph: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b", "c"):
        write(tmp_path / "in" / f"{name}.wav", music(70_000))

    def interrupted(sound: Sound, *more: Any) -> Iterator[np.ndarray]:
        for block in separate_sound(sound, *more):
            yield block
            if sound.path.name == "b.wav":
                raise KeyboardInterrupt

    monkeypatch.setattr(jobs, "separate_sound", interrupted)
    assert run(step_graph, tmp_path / "in", tmp_path / "out") == 130
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(
        f"a_{stem}.wav" for stem in STEMS)
    monkeypatch.undo()
    capsys.readouterr()
    (tmp_path / "out" / "b_bass.wav.part").write_bytes(b"what a kill -9 leaves")
    assert run(step_graph, tmp_path / "in", tmp_path / "out") == 0
    assert "2 separated, 1 skipped, 0 failed" in capsys.readouterr().out
    assert len(list((tmp_path / "out").glob("*.wav"))) == len(list((tmp_path / "out").iterdir()))
    (tmp_path / "out" / "a_bass.wav").unlink()
    assert run(step_graph, tmp_path / "in", tmp_path / "out") == 0
    assert "1 separated, 2 skipped, 0 failed" in capsys.readouterr().out
    assert run(step_graph, tmp_path / "in", tmp_path / "out", "--overwrite") == 0
    assert "3 separated, 0 skipped, 0 failed" in capsys.readouterr().out


@pytest.mark.skipif(os.name != "posix", reason="signals and process limits are POSIX")
def test_ctrl_c_leaves_nothing_half_written(step_graph: Graph, tmp_path: Path) -> None:
    source = write(tmp_path / "song.wav", np.tile(music(44_100), (120, 1)))
    process = subprocess.Popen(
        [sys.executable, "-m", "model.inference", "-i", source, "-o", tmp_path / "out", "-c",
         step_graph[0]], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not any(p.stat().st_size > 10_000 for p in tmp_path.glob("out/*.part")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert not list(tmp_path.glob("out/*.wav"))
    process.send_signal(signals.SIGINT)
    assert "interrupted" in process.communicate(timeout=30)[1]
    assert process.returncode == 130
    assert not list(tmp_path.glob("out/*"))


@pytest.mark.skipif(os.name != "posix", reason="signals and process limits are POSIX")
def test_a_full_disk_is_one_line_and_exit_code_2(step_graph: Graph, tmp_path: Path) -> None:
    """A file size limit stands for the disk."""
    write(tmp_path / "in" / "song.wav", music(70_000))
    code = ("import resource, sys; from model.inference.__main__ import main; "
            "resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000)); "
            "sys.exit(main(sys.argv[1:]))")
    result = subprocess.run(
        [sys.executable, "-c", code, "-i", tmp_path / "in", "-o", tmp_path / "out", "-c",
         step_graph[0]], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 2
    assert "the disk is full" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not list(tmp_path.glob("out/*"))


# What it costs

def test_the_streaming_model_needs_no_torch(step_graph: Graph, tmp_path: Path) -> None:
    source = write(tmp_path / "song.wav", music(9001, 48_000), 48_000)
    code = ("import sys; from model.inference.__main__ import main; code = main(sys.argv[1:]); "
            "loaded = {'torch', 'lightning'} & set(sys.modules); sys.exit(str(loaded) if loaded "
            "else code)")
    result = subprocess.run(
        [sys.executable, "-c", code, "-i", source, "-o", tmp_path / "out", "-c", step_graph[0],
         "--two-stems", "vocals"], cwd=ROOT, capture_output=True, text=True, timeout=120,
        check=False)
    assert (result.returncode, result.stderr) == (0, "")
    assert len(list((tmp_path / "out").iterdir())) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read as Linux gives it")
def test_memory_does_not_grow_with_the_length(tmp_path: Path) -> None:
    """Ten minutes of 48 kHz stereo, resampled both ways, all stems: 1.8 GB if held at once."""
    second = music(48_000, 48_000)
    for name, seconds in (("short", 20), ("long", 600)):
        with soundfile.SoundFile(str(tmp_path / f"{name}.wav"), "w", 48_000, 2, "PCM_16") as file:
            for _ in range(seconds):
                file.write(second)
    code = """if True:
        import resource, sys
        from pathlib import Path
        from model.inference.jobs import Job, Run
        from model.inference.offline import Outputs
        from model.inference.stem_files import Encoding
        from model.inference.streamed import Streamed
        from rt.separator import EqualShares
        from rt.spec import StreamSpec
        model = Streamed(EqualShares(StreamSpec(hop=512, synthesis=1024)))
        for name in ("short", "long"):
            folder = Path(sys.argv[1])
            run = Run(model, Outputs(model, "vocals", rest=True), Encoding("WAV", "PCM_16"),
                      "input", True)
            list(run.run([Job(folder / f"{name}.wav", folder / name)]))
            assert run.done == 1
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
    """
    result = subprocess.run([sys.executable, "-c", code, tmp_path], cwd=ROOT, text=True,
                            stdout=subprocess.PIPE, timeout=240, check=True)
    short, long = map(int, result.stdout.split())
    assert long - short < 32  # MB
    assert soundfile.info(str(tmp_path / "long_vocals.wav")).frames == 600 * 48_000
    for path in tmp_path.glob("*.wav"):
        path.unlink()


def test_a_stream_of_blocks_is_read_as_it_goes() -> None:
    """No more than a block ahead of what came out."""
    spec = StreamSpec(n_fft=64, synthesis=32, hop=16)
    read = 0

    def blocks() -> Iterator[np.ndarray]:
        nonlocal read
        for _ in range(1000):
            read += 100
            yield np.ones((100, 2), np.float32)

    given = 0
    for stems in Streamed(EqualShares(spec)).separate(blocks()):
        given += len(stems)
        assert read - given <= 100 + spec.synthesis
    assert given == 100_000
