"""Sound files in and out of the rings, without an engine: the test plays the callback's part."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from rt.rings import UNKNOWN, SharedBlock, ring_get, ring_put
from rt.sources import Feeder, FileSink, SoundFile, SourceError, is_file

RATE = 8000


@pytest.fixture
def block():
    block = SharedBlock.create(2, RATE)
    yield block
    block.unlink()
    block.close()


def noise(n: int, channels: int = 2) -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.5, 0.5, (n, channels)).astype(np.float32)


def write(path: Path, samples: np.ndarray, rate: int = RATE) -> SoundFile:
    soundfile.write(path, samples, rate, subtype="FLOAT")
    return SoundFile.check(path)


def drain(block: SharedBlock, until: int) -> np.ndarray:
    """Plays the source ring as it fills."""
    out, at, deadline = [], 0, time.monotonic() + 20
    while at < until and time.monotonic() < deadline:
        n = min(block.get("source_end"), until) - at
        piece = np.empty((n, 2), np.float32)
        ring_get(block.source, at, piece)
        out.append(piece)
        at += n
        block.set("played", at)
        if block.get("length") != UNKNOWN and at >= block.get("length"):
            break
        time.sleep(0.002)
    return np.concatenate(out)


def feed(block: SharedBlock, file: SoundFile, until: int, **options) -> np.ndarray:
    feeder = Feeder(block, file, RATE, **options)
    feeder.start()
    try:
        assert feeder.wait_ready(10)
        return drain(block, until)
    finally:
        feeder.stop()


def test_a_long_file_passes_sample_by_sample_and_ends(block: SharedBlock, tmp_path: Path) -> None:
    samples = noise(3 * block.capacity)
    got = feed(block, write(tmp_path / "a.wav", samples), 1 << 30)
    np.testing.assert_array_equal(got, samples)
    assert block.get("length") == len(samples)


def test_mono_is_doubled_and_channels_are_chosen(block: SharedBlock, tmp_path: Path) -> None:
    mono = noise(5000, 1)
    got = feed(block, write(tmp_path / "mono.wav", mono), 1 << 30)
    np.testing.assert_array_equal(got, np.repeat(mono, 2, 1))


def test_two_of_many_channels(block: SharedBlock, tmp_path: Path) -> None:
    wide = noise(5000, 5)
    got = feed(block, write(tmp_path / "wide.wav", wide), 1 << 30, pair=(3, 1))
    np.testing.assert_array_equal(got, wide[:, [3, 1]])


def test_another_rate_is_resampled(block: SharedBlock, tmp_path: Path) -> None:
    rate = 11_025
    tone = np.sin(2 * np.pi * 440 * np.arange(2 * rate) / rate)[:, None].astype(np.float32)
    got = feed(block, write(tmp_path / "tone.wav", tone, rate), 1 << 30)
    assert len(got) == pytest.approx(2 * RATE, abs=2)
    want = np.sin(2 * np.pi * 440 * np.arange(len(got)) / RATE)
    assert np.abs(got[500:-500, 0] - want[500:-500]).max() < 1e-3


def test_a_loop_is_seamless_until_the_limit(block: SharedBlock, tmp_path: Path) -> None:
    samples = noise(3000)
    got = feed(block, write(tmp_path / "a.wav", samples), 1 << 30, loop=True, limit=10_000)
    np.testing.assert_array_equal(got[:10_000], np.tile(samples, (4, 1))[:10_000])
    assert block.get("length") == 10_000


def test_the_feeder_stays_within_the_ring(block: SharedBlock, tmp_path: Path) -> None:
    feeder = Feeder(block, write(tmp_path / "a.wav", noise(4 * block.capacity)), RATE)
    feeder.start()
    assert feeder.wait_ready(10)
    time.sleep(0.3)
    assert RATE // 2 <= block.get("source_end") <= block.capacity
    feeder.stop()


@pytest.mark.parametrize(("name", "content", "message"), [
    ("missing.wav", None, "no such sound file"),
    ("text.wav", b"this is no sound", "not a sound file that can be read"),
    ("empty.wav", b"", "not a sound file that can be read"),
])
def test_bad_files_are_one_line(tmp_path: Path, name: str, content: bytes | None,
                                message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=message) as caught:
        SoundFile.check(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_what_counts_as_a_file(tmp_path: Path) -> None:
    existing = tmp_path / "song"
    existing.write_bytes(b"x")
    assert is_file(str(existing))
    assert is_file("not/there.flac")
    assert not any(map(is_file, (None, 3, "null", "demo", "USB Audio", "system, JACK")))


def test_the_sink_writes_what_was_played_without_the_latency(block: SharedBlock,
                                                            tmp_path: Path) -> None:
    played = noise(30_000)
    sink = FileSink(tmp_path / "out.wav")
    block.set("queue", 500)
    block.set("alignment", 300)
    sink.start(block, RATE, lambda line: None)
    for at in range(0, len(played), 441):
        ring_put(block.outputs, at, played[at:at + 441])
        block.set("played", min(at + 441, len(played)))
        time.sleep(0.005)
    assert not (tmp_path / "out.wav").exists()  # named only when it is whole
    sink.stop()
    got, rate = soundfile.read(tmp_path / "out.wav", dtype="float32")
    assert rate == RATE
    np.testing.assert_array_equal(got, played[800:])
    assert list(tmp_path.iterdir()) == [tmp_path / "out.wav"]


@pytest.mark.parametrize("name", ["nowhere/out.wav", "out.mp3"])
def test_a_sink_that_cannot_be_is_one_line(tmp_path: Path, name: str) -> None:
    with pytest.raises(SourceError, match=r"cannot be written|give a name that ends in .wav"):
        FileSink(tmp_path / name)
    assert not list(tmp_path.iterdir())
