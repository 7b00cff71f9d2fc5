"""HS-TasNet is run as it should be: streamed, resumed and compared."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from bench.peers import hstasnet
from bench.peers.__main__ import main
from bench.peers.measure import check
from bench.peers.peers import Peer, tier_peer, trained_hs_tasnet, untrained_hs_tasnet
from bench.peers.step import HopStream
from bench.peers.table import Row, against, text, write
from model.network import BandSplitRNN
from tests.songs_fixture import STEMS, make_songs

if find_spec("hs_tasnet") is None:
    pytest.skip("hs-tasnet is not installed (make test installs it)", allow_module_level=True)


@pytest.fixture(autouse=True)
def _narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real network with few units: its sizes decide nothing that is tested here."""
    for sizes in hstasnet.SIZES.values():
        monkeypatch.setitem(sizes, "dim", 24)
        monkeypatch.setitem(sizes, "num_basis", 40)


def network(size: str) -> Any:
    """With masks that depend on what comes in: the package's first ones let everything through."""
    torch.manual_seed(3)
    net = hstasnet.build(size).eval()
    for estimator in (net.to_spec_masks, net.to_waveform_masks):
        torch.nn.init.normal_(estimator[1].weight, std=0.1)
    return net


@pytest.mark.parametrize("size", hstasnet.SIZES)
def test_the_stream_is_the_offline_forward_one_window_less_a_hop_later(size: str) -> None:
    net = network(size)
    stream = HopStream(net)
    noise = 0.1 * torch.randn(1, 2, 16 * 1024)
    with torch.no_grad():
        offline = net(noise)[0][0].numpy()
    for _ in range(2):  # and again from silence
        stream.reset()
        hops = noise[0].T.reshape(-1, stream.hop, 2).numpy()
        stems = np.concatenate([stream.step(hop).copy() for hop in hops]).transpose(1, 2, 0)
        late = stream.latency
        assert np.abs(offline).max() > 0.1
        np.testing.assert_allclose(stems[..., late:], offline[..., :-late], atol=2e-6)


def test_an_output_needs_its_own_window_of_input_and_no_more() -> None:
    """The latency that is claimed is the lookahead of the offline forward, to the sample: what
    comes in from sample p on is heard in the frame that p ends and not before it."""
    net = network("small")
    noise = 0.1 * torch.randn(1, 2, 8 * 1024)
    p = 4 * 1024 - 1 + 512  # the last sample of a frame: the frames begin 512 before the signal
    changed = noise.clone()
    changed[..., p:] += 0.1
    with torch.no_grad():
        difference = (net(noise)[0] - net(changed)[0]).abs().amax((0, 1, 2)).numpy()
    assert difference[:p + 1 - net.segment_len].max() == 0
    # a Hann window begins with a zero
    assert difference[p + 2 - net.segment_len] > 0


def test_every_peer_is_held_to_its_latency(step_graph: tuple[Path, BandSplitRNN]) -> None:
    ours, theirs = tier_peer(step_graph[0]), untrained_hs_tasnet("small", STEMS, 44_100)
    assert (ours.window, ours.hop) == (64, 32)
    assert (theirs.window, theirs.hop, theirs.trained_on) == (1024, 512, "")
    for peer in (ours, theirs):
        check(peer)
        peer.window += peer.hop
        with pytest.raises(hstasnet.PeerError, match="trail the input by"):
            check(peer)


def test_a_stream_that_is_not_its_network_is_noticed() -> None:
    peer = untrained_hs_tasnet("small", STEMS, 44_100)
    peer.whole = network("small")
    with pytest.raises(hstasnet.PeerError, match="differ"):
        check(peer)


def arguments(songs: Path, run: Path, segments: int) -> list[str]:
    return ["train", "--data", str(songs), "--out", str(run), "--segments", str(segments),
            "--batch", "2", "--segment-s", "0.1", "--save-every", "1"]


def test_a_resumed_run_ends_with_the_same_weights_and_is_scored(
        tmp_path: Path, capsys: pytest.CaptureFixture[str],
        step_graph: tuple[Path, BandSplitRNN]) -> None:
    songs = make_songs(tmp_path / "songs")
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    assert main([*arguments(songs, whole, 4), "--workers", "1"]) == 0
    assert main(arguments(songs, halves, 2)) == 0
    before = load_file(halves / "weights.safetensors")
    assert main(arguments(songs, halves, 4)) == 0
    one, other = (load_file(run / "weights.safetensors") for run in (whole, halves))
    assert any((one[key] != before[key]).any() for key in one)
    for key in one:
        np.testing.assert_allclose(one[key], other[key], atol=1e-6, err_msg=key)
    peer = trained_hs_tasnet(halves)
    assert (peer.segments, peer.heard_s) == (4, pytest.approx(0.4))
    assert main([*arguments(songs, halves, 6), "--segment-s", "0.2"]) == 2
    assert "segment_s" in capsys.readouterr().err

    out = tmp_path / "out"
    assert main(["--data", str(songs), "--hs-tasnet", str(halves), "--model", str(step_graph[0]),
                 "--seconds", "1", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    for word in ("best constant gain", "hs-tasnet full: not trained", "of its CPU time"):
        assert word in printed
    rows = {row["peer"]: row for row in json.loads((out / "peers.json").read_text())}
    assert list(rows) == ["small", "hs-tasnet small", "hs-tasnet full"]
    assert (out / "peers.png").stat().st_size > 5000
    assert rows["hs-tasnet small"]["latency_ms"] == pytest.approx(23.22)
    assert rows["hs-tasnet small"]["usdr_mean"] is not None
    # random weights are never scored, whosever they are
    assert rows["small"]["usdr_mean"] is rows["hs-tasnet full"]["usdr_mean"] is None
    assert all(row["cpu_ms_per_s"] > 0 for row in rows.values())


def test_rows_are_compared(tmp_path: Path) -> None:
    def row(name: str, window: int, usdr: float, cpu: float) -> Row:
        stream: Any = None
        score = {"usdr": usdr, "csdr": usdr + 1, "best_gain": 0.5}
        return Row(Peer(name, stream, window // 2, window, 44_100, ("drums",), 10, "songs"), cpu,
                   {"drums": score, "mean": score})

    rows = [row("a", 512, 4.0, 0.1), row("b", 1024, 2.5, 0.4)]
    assert against(rows, rows[1]) == [
        "a against b: +1.50 dB mean uSDR, 0.50 of its latency, 0.25 of its CPU time"]
    assert "11.6" in text(rows)
    assert [path.name for path in write(rows, tmp_path)] == ["peers.tsv", "peers.json", "peers.png"]
    heading, *lines = (tmp_path / "peers.tsv").read_text().splitlines()
    assert {len(line.split("\t")) for line in (heading, *lines)} == {len(heading.split("\t"))}


@pytest.mark.parametrize("wrong", [
    ["--data", "."], ["--data", ".", "--model", "nosuch"], ["--data", ".", "--model", "x.onnx"],
    ["--data", ".", "--hs-tasnet", "nosuch"],
    ["train", "--data", "nosuch", "--out", "run", "--segments", "2"]])
def test_bad_input_is_one_line_and_exit_code_2(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
        wrong: list[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(wrong) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not list(tmp_path.glob("**/*.*"))


@pytest.mark.parametrize(("wrong", "message"), [
    (["--workers", "-1"], "--workers: must not be below 0"),
    pytest.param(["--device", "cuda"], "use --device cpu", marks=pytest.mark.skipif(
        torch.cuda.is_available(), reason="this machine has CUDA"))])
def test_what_a_machine_cannot_do_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                             wrong: list[str], message: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*arguments(tmp_path, tmp_path / "run", 2), *wrong])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_nothing_is_stubbed_to_load_the_network() -> None:
    code = ("import sys; from bench.peers.hstasnet import build; "
            "build('small'); sys.exit(','.join({'torchaudio', 'torchcodec', 'librosa', "
            "'hs_tasnet'} & sys.modules.keys()) or 0)")
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                            timeout=120, check=False)
    assert (result.returncode, result.stderr) == (0, "")
