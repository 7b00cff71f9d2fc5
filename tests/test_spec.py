import math

import numpy as np
import pytest

from rt.spec import FORMAT, METADATA_KEY, SpecError, StateSpec, StreamSpec


@pytest.mark.parametrize(("synthesis", "hop"), [(512, 256), (256, 128), (1024, 256), (2048, 512)])
def test_window_pair_overlap_adds_to_one(synthesis: int, hop: int) -> None:
    spec = StreamSpec(synthesis=synthesis, hop=hop)
    product = spec.analysis_window()[-synthesis:] * spec.synthesis_window()
    np.testing.assert_allclose(product.reshape(-1, hop).sum(0), 1, atol=1e-12)
    assert np.sum(spec.analysis_window() ** 2) == pytest.approx(1)


def test_metadata_round_trip() -> None:
    spec = StreamSpec(hop=128, synthesis=256, stems=("a", "b"), tier="x", trained_on="songs",
                      states=(StateSpec("time_0", (34, 64)), StateSpec("time_1", (34, 64))))
    assert StreamSpec.from_metadata(spec.to_metadata()) == spec


def test_an_untrained_graph_says_so() -> None:
    assert '"trained": false' in StreamSpec().to_metadata()[METADATA_KEY]
    assert '"trained": true' in StreamSpec(trained_on="songs").to_metadata()[METADATA_KEY]


@pytest.mark.parametrize("metadata", [
    {}, {METADATA_KEY: "{"}, {METADATA_KEY: "{}"}, {METADATA_KEY: '{"format": 99}'},
    {METADATA_KEY: f'{{"format": {FORMAT}, "trained": false, "algorithmic_latency": 1, '
                   '"states": []}'}])
def test_foreign_metadata_is_a_clear_error(metadata: dict[str, str]) -> None:
    with pytest.raises(SpecError, match="export"):
        StreamSpec.from_metadata(metadata)


def test_a_graph_of_an_earlier_format_is_refused() -> None:
    """It would read and give other tensors than today's."""
    stored = StreamSpec().to_metadata()[METADATA_KEY]
    earlier = stored.replace(f'"format": {FORMAT}', f'"format": {FORMAT - 1}')
    assert earlier != stored
    with pytest.raises(SpecError, match=r"another format than .*: export it again"):
        StreamSpec.from_metadata({METADATA_KEY: earlier})


@pytest.mark.parametrize("wrong", [
    {"n_fft": 1000}, {"hop": 300}, {"hop": 512}, {"hop": 0}, {"synthesis": 4096, "hop": 2048},
    {"stems": ()}, {"stems": ("a", "a")}, {"sample_rate": 0}])
def test_sizes_that_cannot_work(wrong: dict) -> None:
    with pytest.raises(SpecError):
        StreamSpec(**wrong)


@pytest.mark.parametrize(("hop", "block", "slack", "total"), [
    (256, 256, 0, 512), (256, 128, 0, 512), (128, 128, 0, 256), (128, 128, 1, 384),
    (256, 256, 1, 768)])
def test_latency_of_the_design_table(hop: int, block: int, slack: int, total: int) -> None:
    spec = StreamSpec(synthesis=2 * hop, hop=hop)
    assert spec.algorithmic_latency + spec.queue_latency(block, slack) == total


@pytest.mark.parametrize("hop", [32, 128, 256])
@pytest.mark.parametrize("block", [1, 63, 64, 65, 128, 256, 441, 1024])
def test_queue_is_what_a_simulated_worker_needs(hop: int, block: int) -> None:
    """An oracle by simulation: in each callback a worker has finished every hop that was complete
    one callback earlier; the queue must cover the worst shortfall, and no less would."""
    spec = StreamSpec(synthesis=2 * hop, hop=hop)
    shortfall = 0
    for k in range(1, math.lcm(hop, block) // block + 2):
        done = (k - 1) * block // hop * hop  # written by hops complete after the previous callback
        shortfall = max(shortfall, k * block + block - done - block)
    assert spec.queue_latency(block) == shortfall
