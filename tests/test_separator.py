"""The streaming STFT pair and the separator, against numpy's FFT and against themselves."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.network import BandSplitRNN, apply_masks
from model.stft import STFT
from rt.separator import EqualShares, Separator
from rt.session import Session
from rt.spec import StreamSpec
from rt.stft import StreamingSTFT

SPECS = [StreamSpec(), StreamSpec(synthesis=256, hop=128), StreamSpec(synthesis=1024, hop=256),
         StreamSpec(n_fft=64, synthesis=32, hop=16), StreamSpec(n_fft=512, stems=("a", "b", "c"))]


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_spectrum_is_numpys(spec: StreamSpec, signal: np.ndarray) -> None:
    stft = StreamingSTFT(spec)
    hops = spec.n_fft // spec.hop + 3  # past one turn of the circular history
    for k in range(hops):
        spectrum = stft.analyse(signal[k * spec.hop:(k + 1) * spec.hop])
    frame = signal[:hops * spec.hop][-spec.n_fft:] * spec.analysis_window()[:, None]
    expected = np.fft.rfft(frame, axis=0)
    np.testing.assert_allclose(spectrum, np.hstack([expected.real, expected.imag]), atol=2e-6)


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_identity_after_exactly_the_declared_latency(spec: StreamSpec, signal: np.ndarray) -> None:
    stems = Separator(EqualShares(spec)).push(signal)
    mixture = stems.sum(1)
    delay = spec.algorithmic_latency
    np.testing.assert_allclose(mixture[delay:], signal[:len(mixture) - delay], atol=1e-6)
    assert np.abs(mixture[:delay]).max() <= 1e-6
    # and every stem is its share of it: the transforms alone give the input back
    for stem in stems.transpose(1, 0, 2):
        np.testing.assert_allclose(stem, mixture / len(spec.stems), atol=1e-5)


def test_complex_masks_are_applied_as_complex_products(signal: np.ndarray) -> None:
    """A mask of i everywhere is a Hilbert transform; numpy's overlap-add is the oracle."""
    spec = StreamSpec(stems=("turned", "rest"))
    masks = np.zeros((1, spec.bins, 4), np.float32)
    masks[..., 2:] = 1
    stft = StreamingSTFT(spec)
    expected = np.zeros((len(signal) + spec.n_fft, 2))
    for k in range(len(signal) // spec.hop):
        end = (k + 1) * spec.hop
        stft.analyse(signal[end - spec.hop:end])
        out = stft.synthesise(masks)[:, 0]
        frame = np.zeros((spec.n_fft, 2))
        part = signal[max(0, end - spec.n_fft):end]
        frame[spec.n_fft - len(part):] = part
        turned = np.fft.irfft(
            1j * np.fft.rfft(frame * spec.analysis_window()[:, None], axis=0), axis=0)
        at = end - spec.synthesis + spec.n_fft
        expected[at:at + spec.synthesis] += (
            turned[-spec.synthesis:] * spec.synthesis_window()[:, None])
        np.testing.assert_allclose(out, expected[at:at + spec.hop], atol=1e-5)


@pytest.mark.parametrize("size", [1, 63, 64, 65, 441, 4096])
def test_any_split_of_the_input_gives_the_same_stems(
        step_graph: tuple[Path, object], signal: np.ndarray, size: int) -> None:
    signal = signal[:5000]
    session = Session(step_graph[0], "cpu")
    separator = Separator(session)
    whole = separator.push(signal)
    separator.reset()
    parts = [separator.push(signal[i:i + size]) for i in range(0, len(signal), size)]
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(cuts=st.lists(st.integers(0, 300), min_size=1, max_size=20))
def test_random_splits(cuts: list[int]) -> None:
    spec = StreamSpec(n_fft=64, synthesis=32, hop=16)
    x = np.random.default_rng(sum(cuts)).standard_normal((sum(cuts), 2)).astype(np.float32)
    separator = Separator(EqualShares(spec))
    edges = np.cumsum([0, *cuts])
    parts = [separator.push(x[a:b]) for a, b in itertools.pairwise(edges)]
    separator.reset()
    np.testing.assert_allclose(np.concatenate(parts), separator.push(x), atol=1e-6)


def test_stems_add_up_to_the_input_whatever_the_weights(
        step_graph: tuple[Path, object], signal: np.ndarray) -> None:
    separator = Separator(Session(step_graph[0], "cpu"))
    mixture = separator.push(signal).sum(1)
    delay = separator.spec.algorithmic_latency
    error = np.abs(mixture[delay:] - signal[:len(mixture) - delay]).max()
    assert error <= 1e-6 * np.abs(signal).max()


def test_masks_and_the_rest_are_the_masks_of_all_stems(
        step_graph: tuple[Path, BandSplitRNN], signal: np.ndarray) -> None:
    """The last stem, which no mask was put on, is what the network's own mask for it gives."""
    network = step_graph[1]
    stft = STFT(network.spec())
    mixture = torch.from_numpy(signal.T[None])
    with torch.no_grad():
        spectrum = stft(mixture)
        masks, _ = network(spectrum)
        offline = stft.inverse(apply_masks(spectrum, masks), mixture.shape[-1])[0].numpy()
    stems = Separator(Session(step_graph[0], "cpu")).push(signal).transpose(1, 2, 0)
    delay = network.spec().algorithmic_latency
    np.testing.assert_allclose(stems[..., delay:], offline[..., :stems.shape[-1] - delay],
                               atol=1e-5)


def test_a_stale_step_reuses_the_newest_masks(
        step_graph: tuple[Path, object], signal: np.ndarray) -> None:
    """The sum is still the input, and the network's state has not moved."""
    session = Session(step_graph[0], "cpu")
    separator = Separator(session)
    hop = separator.spec.hop
    out = []
    for k in range(100):
        before = session.states()
        out.append(separator.step(signal[k * hop:(k + 1) * hop], fresh=k % 3 != 2).copy())
        moved = any(not np.array_equal(before[n], v) for n, v in session.states().items())
        assert moved == (k % 3 != 2)
    mixture = np.concatenate(out).sum(1)
    delay = separator.spec.algorithmic_latency
    np.testing.assert_allclose(mixture[delay:], signal[:len(mixture) - delay],
                               atol=1e-6 * np.abs(signal).max())


def test_masks_and_hops_of_another_shape_are_refused(signal: np.ndarray) -> None:
    """Compiled code checks no bounds: they would be written beyond the buffers."""
    spec = StreamSpec()
    stft = StreamingSTFT(spec)
    with pytest.raises(ValueError, match=r"a hop is \[256, 2\], not \[255, 2\]"):
        stft.analyse(signal[:255])
    stft.analyse(signal[:256])
    for shape in ((4, 1025, 4), (3, 1024, 4), (3, 1025, 2)):
        with pytest.raises(ValueError, match=r"masks are \[3, 1025, 4\], not"):
            stft.synthesise(np.zeros(shape, np.float32))


def test_a_spectrum_of_another_shape_is_refused(step_graph: tuple[Path, object]) -> None:
    with pytest.raises(ValueError, match=r"a spectrum is \[129, 4\], not \[1025, 4\]"):
        Session(step_graph[0], "cpu").step(np.zeros((1025, 4), np.float32))


def test_wrong_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\[n, 2\]"):
        Separator(EqualShares(StreamSpec())).push(np.zeros((10, 1), np.float32))
