"""The resampler against sines, and the queue arithmetic against a chain that really runs."""

from __future__ import annotations

import numpy as np
import pytest
import soxr

from rt.resampling import Direct, Resampled, Resampler, chain_for
from rt.separator import EqualShares, Separator
from rt.spec import StreamSpec

SPEC = StreamSpec()
SIZES = (1, 63, 64, 65, 441)
RATES = [(48_000, 44_100), (44_100, 48_000), (96_000, 44_100), (44_100, 96_000), (44_100, 88_200)]


def in_pieces(samples: np.ndarray, push, sizes=SIZES) -> np.ndarray:
    out, at, i = [], 0, 0
    while at < len(samples):
        n = sizes[i % len(sizes)]
        out.append(push(samples[at:at + n]).copy())
        at, i = at + n, i + 1
    return np.concatenate(out)


@pytest.mark.parametrize(("source", "target"), RATES)
@pytest.mark.parametrize("hz", [100, 1000, 10_000, 19_900])
def test_a_sine_is_the_same_sine_in_the_same_place(source: int, target: int, hz: int) -> None:
    tone = np.sin(2 * np.pi * hz * np.arange(source // 2) / source).astype(np.float32)
    resampler = Resampler(source, target, 2)
    got = in_pieces(np.stack([tone, -tone], 1), resampler.push)
    assert len(got) == resampler.count(len(tone))
    want = np.sin(2 * np.pi * hz * np.arange(len(got)) / target)
    error = np.sqrt(((got[:, 0] - want)[500:] ** 2).mean())
    assert 20 * np.log10(error / np.sqrt(0.5)) < -90
    np.testing.assert_array_equal(got[:, 0], -got[:, 1])


@pytest.mark.parametrize("source", [48_000, 96_000])
def test_what_would_fold_back_is_gone(source: int) -> None:
    tone = np.sin(2 * np.pi * 24_500 * np.arange(source // 2) / source).astype(np.float32)
    if source == 48_000:  # beyond half its rate: 23 500 falls above what is passed
        tone = np.sin(2 * np.pi * 23_900 * np.arange(source // 2) / source).astype(np.float32)
    got = in_pieces(tone[:, None], Resampler(source, 44_100, 1).push)
    level = np.sqrt((got[500:] ** 2).mean() * 2)
    assert 20 * np.log10(level) < (-60 if source == 48_000 else -95)


@pytest.mark.parametrize("delay", [0.0, 0.25, 0.999])
def test_a_delay_between_samples(delay: float) -> None:
    tone = np.sin(2 * np.pi * 5000 * np.arange(20_000) / 44_100).astype(np.float32)
    got = in_pieces(tone[:, None], Resampler(44_100, 48_000, 1, delay=delay).push)[:, 0]
    want = np.sin(2 * np.pi * 5000 * (np.arange(len(got)) / 48_000 - delay / 44_100))
    assert np.abs(got - want)[500:].max() < 1e-4


@pytest.mark.parametrize("block", [1, 64, 100, 128, 256, 441, 1024])
def test_at_the_models_rate_the_queue_is_the_specs(block: int) -> None:
    chain = chain_for(Separator(EqualShares(SPEC)), SPEC.sample_rate)
    assert isinstance(chain, Direct)
    assert chain.waiting(block, block) == SPEC.queue_latency(block, 0)


@pytest.mark.parametrize("rate", [44_100, 48_000, 88_200, 96_000])
@pytest.mark.parametrize("block", [128, 256, 441])
def test_every_deadline_holds_and_the_queue_is_no_longer_than_needed(rate: int,
                                                                    block: int) -> None:
    """The oracle: run the chain on blocks, with a whole block to compute each."""
    chain = chain_for(Separator(EqualShares(SPEC)), rate)
    taken = given = needed = 0
    for k in range(1, 2 * rate // block):
        while n := chain.takes(k * block - taken):
            stems, _ = chain.push(np.zeros((n, 2), np.float32), False)
            taken, given = taken + n, given + len(stems)
        if k * block > rate // 2:
            needed = max(needed, (k + 1) * block - given)
    queue = chain.waiting(block, block)
    assert needed <= queue
    assert queue - needed <= (0 if isinstance(chain, Direct) else 32)


@pytest.mark.parametrize("rate", [48_000, 88_200, 96_000])
def test_stems_answer_to_the_input_to_the_sample(rate: int) -> None:
    chain = Resampled(Separator(EqualShares(SPEC)), rate)
    t = np.arange(rate) / rate
    tone = np.stack([np.sin(2 * np.pi * 440 * t), np.sin(2 * np.pi * 15_000 * t)], 1)
    out, at = [], 0
    while at < rate:
        n = chain.takes(rate - at)
        out.append(chain.push(tone[at:at + n].astype(np.float32), True)[0].sum(1))
        at += n
    got = np.concatenate(out)
    want = tone[:len(got) - chain.alignment]
    assert np.abs(got[chain.alignment:] - want)[3000:].max() < 1e-4


@pytest.mark.parametrize("quality", ["HQ", "MQ"])
@pytest.mark.parametrize(("source", "target"), [(48_000, 44_100), (44_100, 48_000)])
def test_why_it_is_our_own(source: int, target: int, quality: str) -> None:
    """A well-kept library would do if it did not hold so much back: soxr's streaming mode against
    ours, most milliseconds of input not yet answered after any block of 256. Should soxr fall
    below the floor one day, ours can go."""
    theirs = soxr.ResampleStream(source, target, 2, quality=quality)
    ours = Resampler(source, target, 2)
    given = np.zeros(2)
    worst = np.zeros(2)
    for blocks in range(1, 400):
        block = np.zeros((256, 2), np.float32)
        given += [len(theirs.resample_chunk(block)), len(ours.push(block))]
        worst = np.maximum(worst, 1e3 * (blocks * 256 / source - given / target))
    print(f"soxr {quality} holds back {worst[0]:.1f} ms, ours {worst[1]:.2f} ms")
    assert worst[0] > 15
    assert worst[1] < 1
