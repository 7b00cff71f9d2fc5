"""The compiled callback alone, driven with arrays: exactness, ramps, fallbacks, channel maps."""

import numpy as np
import pytest

from rt.binding import Binding, Wiring
from rt.callback import FROM_DEVICE, FROM_SILENCE, FROM_SOURCE
from rt.rings import SharedBlock, ring_get, ring_put

RATE = 44_100
QUEUE, ALIGN = 256, 256


@pytest.fixture
def block():
    block = SharedBlock.create(4, RATE)
    block.set("queue", QUEUE)
    block.set("alignment", ALIGN)
    yield block
    block.unlink()
    block.close()


def noise(n, seed=0):
    return np.random.default_rng(seed).uniform(-0.5, 0.5, (n, 2)).astype(np.float32)


def give_stems(block, mixture, end, shares=(0.25, 0.25, 0.25, 0.25)):
    """What a worker with fixed masks would have written by now: stems trail by ALIGN."""
    delayed = np.concatenate([np.zeros((ALIGN, 2), np.float32), mixture])[:end]
    ring_put(block.stems, 0, delayed[:, None, :] * np.asarray(shares, np.float32)[:, None])
    block.set("stems_end", end)


def play(callback, mixture, sizes, channels=2):
    """Feeds the mixture in blocks of the given sizes, round and round; returns the output."""
    out, at, i = [], 0, 0
    while at < len(mixture):
        n = min(sizes[i % len(sizes)], len(mixture) - at)
        given = np.full(n * channels, 9, np.float32)
        callback.call(np.ascontiguousarray(mixture[at:at + n]).ravel(), given, n)
        out.append(given.reshape(n, channels))
        at, i = at + n, i + 1
    return np.concatenate(out)


def delayed(mixture, by):
    return np.concatenate([np.zeros((by, mixture.shape[1]), np.float32), mixture])[:len(mixture)]


@pytest.mark.parametrize("sizes", [(256,), (1, 63, 64, 65, 441), (2048,)])
def test_unity_is_the_delayed_input_whatever_the_block(block, sizes):
    mixture = noise(20_000)
    give_stems(block, mixture, len(mixture))
    out = play(Binding(block, Wiring(), RATE, 20), mixture, sizes)
    np.testing.assert_allclose(out, delayed(mixture, QUEUE + ALIGN), atol=1e-6)
    assert block.get("underruns") == 0
    assert block.get("played") == block.get("input_end") == len(mixture)
    assert block.get("block_max") == max(sizes)


def test_a_gain_slews_for_exactly_the_ramp(block):
    mixture = np.ones((6000, 2), np.float32)
    give_stems(block, mixture, 6000, (1, 0, 0, 0))
    callback = Binding(block, Wiring(), RATE, 20)
    play(callback, mixture[:2048], (256,))
    block.gains[0] = 0
    out = play(callback, mixture[2048:4096], (256,))[:, 0]
    ramp = round(0.020 * RATE)
    np.testing.assert_allclose(out[:ramp], 1 - np.arange(1, ramp + 1) / ramp, atol=1e-6)
    assert np.all(out[ramp + 1:] == 0)


def test_bypass_is_the_dry_signal_in_time_with_the_stems(block):
    mixture = noise(20_000)
    give_stems(block, mixture, len(mixture), (0.5, 0, 0, 0))
    callback = Binding(block, Wiring(), RATE, 20)
    block.set("bypass", 1)
    out = play(callback, mixture, (441, 64))
    want = delayed(mixture, QUEUE + ALIGN)
    np.testing.assert_allclose(out[2000:], want[2000:], atol=1e-6)


def test_late_stems_at_unity_are_not_heard_but_counted(block):
    mixture = noise(20_000)
    callback = Binding(block, Wiring(), RATE, 20)
    give_stems(block, mixture, 5000)
    out = play(callback, mixture[:12_000], (256,))
    give_stems(block, mixture, len(mixture))
    out = np.concatenate([out, play(callback, mixture[12_000:], (256,))])
    np.testing.assert_allclose(out, delayed(mixture, QUEUE + ALIGN), atol=1e-5)
    assert block.get("underruns") == (12_000 - 5000 - QUEUE) // 256 + 1


def test_a_muted_stem_stays_down_when_stems_are_late_and_nothing_clicks(block):
    t = np.arange(60_000) / RATE
    mixture = np.repeat(0.5 * np.sin(2 * np.pi * 100 * t)[:, None], 2, 1).astype(np.float32)
    give_stems(block, mixture, 40_000, (0.9, 0.1, 0, 0))
    block.gains[0] = 0
    callback = Binding(block, Wiring(), RATE, 20)
    out = play(callback, mixture[:50_000], (256,))
    give_stems(block, mixture, len(mixture), (0.9, 0.1, 0, 0))
    out = np.concatenate([out, play(callback, mixture[50_000:], (256,))])
    playing, filling = np.abs(out[20_000:40_000]).max(), np.abs(out[42_000:49_000]).max()
    assert playing == pytest.approx(0.05, rel=0.02)
    assert filling < 1.5 * playing  # the dry signal is ten times as loud
    assert np.abs(np.diff(out[10_000:], axis=0)).max() < 0.004


def test_a_larger_queue_moves_playback_back_without_a_click(block):
    t = np.arange(20_000) / RATE
    mixture = np.repeat(0.5 * np.sin(2 * np.pi * 100 * t)[:, None], 2, 1).astype(np.float32)
    give_stems(block, mixture, len(mixture))
    callback = Binding(block, Wiring(), RATE, 20)
    out = play(callback, mixture[:10_240], (256,))
    block.set("queue", 2 * QUEUE)
    out = np.concatenate([out, play(callback, mixture[10_240:], (256,))])
    assert np.abs(np.diff(out, axis=0)).max() < 0.03
    np.testing.assert_allclose(out[12_000:], delayed(mixture, 2 * QUEUE + ALIGN)[12_000:],
                               atol=1e-4)


def test_two_of_many_channels_in_and_out(block):
    wide = noise(8192 * 3).reshape(8192, 6)
    give_stems(block, wide[:, [4, 1]], 8192)
    wiring = Wiring(FROM_DEVICE, 6, (4, 1), 6, (2, 5))
    callback = Binding(block, wiring, RATE, 20)
    out = play(callback, wide, (256,), channels=6)
    np.testing.assert_allclose(out[:, [2, 5]], delayed(wide[:, [4, 1]], QUEUE + ALIGN), atol=1e-6)
    assert np.all(out[:, [0, 1, 3, 4]] == 0)


def test_mono_is_doubled_on_the_way_in_and_averaged_on_the_way_out(block):
    mono = noise(4096)[:, :1]
    give_stems(block, np.repeat(mono, 2, 1), 4096)
    out = play(Binding(block, Wiring(FROM_DEVICE, 1, (0, 0), 1, (0, 0)), RATE, 20), mono, (256,),
               channels=1)
    np.testing.assert_allclose(out, delayed(mono, QUEUE + ALIGN), atol=1e-6)


def test_null_pointers(block):
    mixture = noise(4096)
    give_stems(block, mixture, 4096)
    callback = Binding(block, Wiring(), RATE, 20)
    for at in range(0, 2048, 256):
        callback.call(mixture[at:at + 256].ravel(), None, 256)  # an input-only stream
    taken = np.empty((2048, 2), np.float32)
    ring_get(block.inputs, 0, taken)
    np.testing.assert_array_equal(taken, mixture[:2048])
    out = np.full(512, 9, np.float32)
    callback.call(None, out, 256)  # an output-only stream: what was taken in still comes out
    np.testing.assert_allclose(out.reshape(-1, 2), mixture[2048 - 512:2048 - 256], atol=1e-6)
    ring_get(block.inputs, 2048, taken[:256])
    assert np.all(taken[:256] == 0)


def test_a_source_plays_to_its_end_and_what_the_latency_holds(block):
    mixture = noise(3000)
    give_stems(block, np.concatenate([mixture, np.zeros((3000, 2), np.float32)]), 6000)
    ring_put(block.source, 0, mixture)
    block.set("source_end", 3000)
    block.set("length", 3000)
    callback = Binding(block, Wiring(FROM_SOURCE), RATE, 20)
    out = np.concatenate([_block(callback, 441) for _ in range(10)])
    end = 3000 + QUEUE + ALIGN
    assert block.get("played") == end
    np.testing.assert_allclose(out[QUEUE + ALIGN:end], mixture, atol=1e-6)
    assert np.all(out[end:] == 0)
    assert block.get("source_misses") == 0


def test_a_source_that_is_late_gives_silence_and_is_counted(block):
    ring_put(block.source, 0, noise(300))
    block.set("source_end", 300)
    callback = Binding(block, Wiring(FROM_SOURCE), RATE, 20)
    _block(callback, 512)
    taken = np.empty((512, 2), np.float32)
    ring_get(block.inputs, 0, taken)
    assert block.get("source_misses") == 1
    assert np.all(taken[300:] == 0)
    assert np.any(taken[:300])


def test_meters_rise_at_once_and_fall_back(block):
    give_stems(block, np.full((60_000, 2), 0.5, np.float32), 2048, (1, 0, 0, 0))
    callback = Binding(block, Wiring(FROM_SILENCE), RATE, 20)
    for _ in range(6):
        _block(callback, 256)
    assert block.levels[2] == pytest.approx(0.5)
    assert block.levels[3] == 0
    block.set("stems_end", 60_000)
    ring_put(block.stems, 0, np.zeros((60_000, 4, 2), np.float32))
    for _ in range(200):
        _block(callback, 256)
    assert block.levels[2] < 0.02


def _block(callback, n):
    out = np.empty(2 * n, np.float32)
    callback.call(None, out, n)
    return out.reshape(n, 2)
