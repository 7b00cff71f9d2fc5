"""The reference network over whole signals: true overlap, aligned ends, files and devices."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from reference_files import SMALL, weights, write
from torch import Tensor, nn

from model.inference import __main__ as inference
from model.inference.offline import OfflineError
from model.inference.segments import Segmented
from model.reference.checkpoint import Reference, load_reference
from model.reference.network import ReferenceBandSplitRNN, ReferenceSTFT
from rt.reference import ReferenceSection

SECTION = ReferenceSection(sr=8000, n_fft=64, win_length=64, hop_length=16, t_timesteps=9,
                           bandsplits=((1000, 250), (2000, 500)), fc_dim=6, rnn_dim=5,
                           num_layers=2, mlp_dim=7)  # segments of 128 samples


class ConstantMask(nn.Module):
    """In place of the network: one mask for all bins."""

    def __init__(self, mask: float) -> None:
        super().__init__()
        self.config, self.mask, self.batches = SECTION, mask, []

    def forward(self, spectrum: Tensor) -> Tensor:
        self.batches.append(len(spectrum))
        return self.mask * spectrum


def constant_mask_network(mask: float) -> ReferenceBandSplitRNN:
    """The real network, its gates open and its last projection a constant."""
    network = ReferenceBandSplitRNN(SECTION).eval()
    for key, value in network.state_dict().items():
        if ".3.linear.weight" in key:
            value.zero_()
        elif ".3.linear.bias" in key:
            value.zero_()
            value[len(value) // 2:] = 30  # the gate
            value[:len(value) // 2].view(2, 2, -1)[:, 0] = mask  # the real parts
    return network


def separate(network: Any, x: np.ndarray, step: int, batch: int = 3, cut: int = 100,
             ) -> np.ndarray:
    """[samples, 2] -> [samples, 2]"""
    separator = Segmented(Reference(network, "vocals", step, 8), "cpu", batch)
    blocks = (x[i:i + cut] for i in range(0, len(x), cut))
    return np.concatenate(list(separator.separate(blocks)))[:, 0]


@pytest.fixture
def x() -> np.ndarray:
    return 5 * np.random.default_rng(1).standard_normal((1000, 2)).astype(np.float32)


@pytest.mark.parametrize("step", [1, 28, 64, 100, 127, 128])
@pytest.mark.parametrize("samples", [1, 27, 28, 127, 128, 129, 777])
def test_a_constant_mask_scales_every_sample(x: np.ndarray, step: int, samples: int) -> None:
    """Ends included, whether or not the step divides the segment."""
    out = separate(ConstantMask(0.3), x[:samples], step)
    np.testing.assert_allclose(out, 0.3 * x[:samples], atol=2e-5)


def test_the_real_network_with_a_mask_of_one_gives_the_input(x: np.ndarray) -> None:
    np.testing.assert_allclose(separate(constant_mask_network(1), x, 28), x, atol=1e-3)


def test_the_real_network_with_a_mask_of_zero_gives_nearly_nothing(x: np.ndarray) -> None:
    """The published mask works on the spectrum less its mean, which stays."""
    out = separate(constant_mask_network(0), x, 28)
    assert np.abs(out).mean() < 0.1 * np.abs(x).mean()


@torch.inference_mode()
def test_every_sample_is_the_mean_of_the_segments_that_reach_it(x: np.ndarray) -> None:
    """A network whose output depends on the segment, against segments laid out at once."""
    torch.manual_seed(3)
    network, stft, step = ReferenceBandSplitRNN(SECTION).eval(), ReferenceSTFT(SECTION), 28
    total, count = np.zeros((2000, 2)), np.zeros((2000, 1))
    padded = np.pad(x, ((128 - step, 900), (0, 0)))
    for start in range(0, 128 - step + len(x), step):
        segment = torch.from_numpy(padded[start:start + 128].T.copy())[None]
        total[start:start + 128] += stft.inverse(network(stft(segment)), 128)[0].numpy().T
        count[start:start + 128] += 1
    expected = (total / np.maximum(count, 1))[128 - step:][:len(x)]
    assert set(count[128:128 + len(x), 0].astype(int)) == {4, 5}  # a mean number would ripple
    for batch, cut in ((1, 1000), (4, 33), (50, 128)):
        np.testing.assert_allclose(separate(network, x, step, batch, cut), expected, atol=1e-4)


def test_memory_holds_one_batch() -> None:
    network = ConstantMask(1)
    separator = Segmented(Reference(network, "vocals", 28, 8), "cpu", 4)  # type: ignore[arg-type]
    read = given = 0

    def blocks() -> Iterator[np.ndarray]:
        nonlocal read
        for _ in range(200):
            read += 50
            yield np.ones((50, 2), np.float32)

    for stems in separator.separate(blocks()):
        given += len(stems)
        assert read - given <= 128 + 4 * 28 + 50
    assert given == 10_000
    assert max(network.batches) == 4


def test_step_must_not_leave_gaps() -> None:
    for step in (0, 129):
        with pytest.raises(OfflineError, match="leaves gaps"):
            Segmented(Reference(constant_mask_network(1), "vocals", 28, 8), "cpu", step=step)


def test_a_missing_cuda_device_is_said() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    reference = Reference(constant_mask_network(1), "vocals", 28, 8)
    with pytest.raises(OfflineError, match=r"sees no CUDA device.*use -d cpu"):
        Segmented(reference, "cuda")
    assert Segmented(reference, "auto").stems == ("vocals",)


def test_cuda_gives_what_the_cpu_gives(x: np.ndarray) -> None:
    if not torch.cuda.is_available():
        pytest.skip("this machine has no CUDA")
    network = ReferenceBandSplitRNN(SECTION).eval()
    expected = separate(network, x, 28)
    separator = Segmented(Reference(network, "vocals", 28, 8), "cuda")
    out = np.concatenate(list(separator.separate([x])))[:, 0]
    np.testing.assert_allclose(out, expected, atol=1e-2)


# The command line

Command = Callable[..., int]


@pytest.fixture
def song(tmp_path: Path) -> Path:
    t = np.arange(24_001)[:, None] / 48_000
    samples = (0.2 * np.sin(2 * np.pi * 440 * t * [1, 1.5])).astype(np.float32)
    soundfile.write(str(tmp_path / "song.wav"), samples, 48_000, subtype="FLOAT")
    return tmp_path / "song.wav"


@pytest.fixture
def separated(tmp_path: Path, song: Path) -> Command:
    checkpoint = write(tmp_path, weights(SMALL["model"]), SMALL)

    def command(*more: str) -> int:
        return inference.main(["-i", str(song), "-o", str(tmp_path / "out"), "-c",
                               str(checkpoint), "-d", "cpu", *more])
    return command


def test_a_public_pair_separates_a_file(tmp_path: Path, song: Path, separated: Command) -> None:
    assert separated("-t", "vocals", "--rate", "model") == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["song_vocals.wav"]
    stem, rate = soundfile.read(str(tmp_path / "out" / "song_vocals.wav"), dtype="float32")
    assert (rate, stem.shape) == (8000, (4000, 2))
    assert np.abs(stem).max() > 1e-3
    assert load_reference(tmp_path / "vocals.pt").step == 28  # 3 ms of 8 kHz, and the padding
    separated("--rate", "model", "--overwrite", "--step", "0.016", "--batch", "2")
    coarse, _ = soundfile.read(str(tmp_path / "out" / "song_vocals.wav"), dtype="float32")
    assert coarse.shape == stem.shape
    assert np.abs(coarse - stem).max() > 1e-6


def test_a_public_pair_gives_the_accompaniment(tmp_path: Path, song: Path,
                                               separated: Command) -> None:
    assert separated("--two-stems", "vocals") == 0
    parts = [soundfile.read(str(tmp_path / "out" / f"song_{name}.wav"))[0]
             for name in ("vocals", "accompaniment")]
    mixture = soundfile.read(str(song))[0]
    np.testing.assert_allclose((parts[0] + parts[1])[500:-500], mixture[500:-500], atol=2e-3)


def test_another_stem_than_the_checkpoints_is_refused(separated: Command,
                                                      capsys: pytest.CaptureFixture[str]) -> None:
    assert separated("-t", "drums") == 2
    assert "no stem 'drums': this model gives vocals" in capsys.readouterr().err
