"""python -m model.inference: what is asked of it, what it refuses, what it costs."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from model.inference import __main__ as inference
from tests.offline_fixture import Graph, music, write

ROOT = Path(__file__).parent.parent


def cuda_works() -> bool:
    """As far as the driver's tool knows; a session without it is an error either way."""
    return shutil.which("nvidia-smi") is not None


@pytest.mark.parametrize(("options", "message"), [
    (["-i", "nowhere.wav"], "no such file or folder"),
    (["-i", "."], "is the input folder itself"),
    (["-i", "void"], "no sound file in it"),
    (["-o", "song.wav"], "cannot be written to"),
    (["-t", "piano"], "no stem 'piano': this model gives vocals, drums, bass, other"),
    (["--two-stems", "piano"], "no stem 'piano'"),
    (["-c", "nowhere.onnx"], "no such model file"),
    (["-c", "song.wav"], "neither a step graph (.onnx) nor a reference checkpoint"),
    (["-c", "tiny"], "no packaged model 'tiny'"),
    (["-c", "bad.onnx"], "not a usable ONNX model"),
    (["-c", "bad.pt"], "not a PyTorch file"),
    (["--step", "1"], "for reference checkpoints"),
    (["-d", "cuda"], "with -d cpu"),
    (["--cluster", "nowhere"], "is not local, auto or HOST:PORT"),
    (["--cluster", "127.0.0.1:1"], "no Ray cluster answers there"),
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
    ["--threads", "0"], ["--step", "nan"], ["--subtype", "8"], ["--manifest", "m.txt"],
    ["--workers", "2"], ["--cluster", "local", "--attempts", "0"]])
def test_bad_options_are_exit_code_2(options: list[str]) -> None:
    with pytest.raises(SystemExit) as error:
        inference.main(["-i", "a", "-o", "b", *options])
    assert error.value.code == 2


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
        from model.inference.jobs import Job
        from model.inference.offline import Outputs
        from model.inference.separation import Separation
        from model.inference.stem_files import Encoding
        from model.inference.streamed import Streamed
        from rt.separator import EqualShares
        from rt.spec import StreamSpec
        model = Streamed(EqualShares(StreamSpec(hop=512, synthesis=1024)))
        for name in ("short", "long"):
            folder = Path(sys.argv[1])
            separation = Separation(model, Outputs(model, "vocals", rest=True),
                                    Encoding("WAV", "PCM_16"))
            assert separation(Job(folder / f"{name}.wav", folder / name)).status == "done"
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
    """
    result = subprocess.run([sys.executable, "-c", code, tmp_path], cwd=ROOT, text=True,
                            stdout=subprocess.PIPE, timeout=240, check=True)
    short, long = map(int, result.stdout.split())
    assert long - short < 32  # MB
    assert soundfile.info(str(tmp_path / "long_vocals.wav")).frames == 600 * 48_000
    for path in tmp_path.glob("*.wav"):
        path.unlink()
