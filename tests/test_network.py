"""The streaming network: step equals sequence, unity, bounded state, causality, both mixers."""

from collections.abc import Callable, Iterator

import pytest
import torch
from conftest import SMALL
from torch import nn

from model.network import BandSplitRNN, State, apply_masks, as_complex
from model.recurrence import TimeGRU
from model.stft import STFT
from rt.sections import NetworkSection


@pytest.fixture(params=["attention", "recurrent"])
def network(request: pytest.FixtureRequest) -> Iterator[BandSplitRNN]:
    with torch.no_grad():
        yield BandSplitRNN(SMALL.model_copy(update={"mixer": request.param})).eval()


def spectra(network: BandSplitRNN, frames: int, batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, frames, network.spec().bins, 4)


@pytest.mark.parametrize("frames", [1, 2, 63, 200])
def test_steps_equal_the_sequence(network: BandSplitRNN, frames: int) -> None:
    x = spectra(network, frames)
    masks, last = network(x)
    state = network.fresh_state(2)
    for t in range(frames):
        step, state = network.step(x[:, t], state)
        torch.testing.assert_close(step, masks[:, t], atol=1e-5, rtol=0)
    for carried, expected in zip(state, last, strict=True):
        torch.testing.assert_close(carried, expected, atol=1e-5, rtol=0)


def test_nothing_looks_ahead(network: BandSplitRNN) -> None:
    x = spectra(network, 20)
    changed = x.clone()
    changed[:, 11:] = torch.randn_like(changed[:, 11:]) * 100
    before, after = network(x)[0], network(changed)[0]
    torch.testing.assert_close(before[:, :11], after[:, :11], atol=1e-6, rtol=0)
    assert (before[:, 11:] - after[:, 11:]).abs().max() > 1e-3


def test_masks_add_up_to_one(network: BandSplitRNN) -> None:
    total = network(spectra(network, 5) * 30)[0].sum(2)
    torch.testing.assert_close(total[..., :2], torch.ones_like(total[..., :2]), atol=1e-5, rtol=0)
    torch.testing.assert_close(total[..., 2:], torch.zeros_like(total[..., 2:]), atol=1e-5, rtol=0)


def test_what_training_runs_is_the_masks_and_their_product(network: BandSplitRNN) -> None:
    """Values and all gradients, in the weights, the input and the state."""
    x, state = spectra(network, 20), network.fresh_state(2)
    inputs = [x, *(torch.rand_like(s) - 0.5 for s in state)]

    def gradients(separate: Callable[..., tuple[torch.Tensor, State]]) -> list[torch.Tensor]:
        leaves = [i.clone().requires_grad_() for i in inputs]
        stems, last = separate(leaves[0], tuple(leaves[1:]))
        weight = torch.linspace(0, 1, stems.shape[-1])
        total = (torch.view_as_real(stems).tanh() * weight[:, None]).sum()
        total = total + sum(s.square().sum() for s in last)
        parameters = list(network.parameters())
        return [stems.detach(), *torch.autograd.grad(total, leaves + parameters)]

    def plainly(spectrum: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        masks, last = network(spectrum, state)
        return apply_masks(spectrum, masks), last

    with torch.enable_grad():
        pairs = zip(gradients(network.separate), gradients(plainly), strict=True)
        for found, expected in pairs:
            torch.testing.assert_close(found, expected, atol=2e-5, rtol=2e-4)


def test_the_recurrence_of_training_is_a_gru() -> None:
    ours, theirs = TimeGRU(5, 7), nn.GRU(5, 7)
    theirs.load_state_dict(ours.state_dict())
    x, state, into = torch.randn(30, 6, 5), torch.rand(6, 7), torch.randn(30, 6, 7)
    results = []
    for gru, own in ((ours, True), (theirs, False)):
        leaves = [x.clone().requires_grad_(), state.clone().requires_grad_()]
        out, last = gru(leaves[0], leaves[1] if own else leaves[1][None])
        total = (out * into).sum() + last.square().sum()
        results.append([out.detach(), *torch.autograd.grad(total, leaves + list(gru.parameters()))])
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(ours(x, state)[0], results[1][0], atol=1e-6, rtol=0)


def test_silence_gives_silence_and_states_stay_bounded(network: BandSplitRNN) -> None:
    state = network.fresh_state()
    loud = torch.randn(1, network.spec().bins, 4) * 1000
    for t in range(500):
        masks, state = network.step(loud if t < 250 else loud * 0, state)
    assert all(s.abs().max() <= 1 for s in state)  # what a GRU guarantees
    assert masks.isfinite().all()


def test_batch_stft_is_its_own_inverse_and_adds_up() -> None:
    network = BandSplitRNN(SMALL)
    stft = STFT(network.spec())
    x = torch.randn(3, 2, 4410)
    spectrum = stft(x)
    torch.testing.assert_close(stft.inverse(as_complex(spectrum), 4410), x, atol=1e-5, rtol=0)
    with torch.no_grad():
        stems = stft.inverse(apply_masks(spectrum, network(spectrum)[0]), 4410)
    assert stems.shape == (3, 4, 2, 4410)
    torch.testing.assert_close(stems.sum(1), x, atol=1e-4, rtol=0)


def test_default_tiers_differ_in_latency() -> None:
    live, ultra = (NetworkSection(synthesis=s, hop=s // 2).stream_spec() for s in (512, 256))
    assert (live.algorithmic_latency, ultra.algorithmic_latency) == (256, 128)


def test_streaming_equals_the_batch_form(step_graph, signal) -> None:
    """rt's separator over the exported graph against model's STFT and forward: one system."""
    from rt.separator import Separator
    from rt.session import Session

    path, network = step_graph
    separator = Separator(Session(path, "cpu"))
    streamed = torch.from_numpy(separator.push(signal))  # [m, stems, 2]
    stft = STFT(network.spec())
    with torch.no_grad():
        spectrum = stft(torch.from_numpy(signal.T.copy())[None])
        stems = stft.inverse(apply_masks(spectrum, network(spectrum)[0]), len(signal))[0]
    delay = separator.spec.algorithmic_latency
    torch.testing.assert_close(streamed[delay:].permute(1, 2, 0),
                               stems[..., :len(streamed) - delay], atol=1e-4, rtol=0)
