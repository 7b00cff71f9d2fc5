"""The reference network and its public files, against the format's table and a plain oracle."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from reference_files import HPARAMS, SMALL, bands, table, weights, write

from model.checkpoint import CheckpointError
from model.reference.checkpoint import load_reference
from model.reference.network import ReferenceBandSplitRNN, ReferenceSTFT
from rt.reference import SPLITS, ReferenceSection

# The oracle: float64 numpy, band by band, gate by gate.

def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def normalise(x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    mean = x.mean(axes, keepdims=True)
    return (x - mean) / np.sqrt(((x - mean) ** 2).mean(axes, keepdims=True) + 1e-5)


def lstm(x: np.ndarray, w: dict[str, np.ndarray], at: str, way: str) -> np.ndarray:
    """[rows, steps, N] -> [rows, steps, H]"""
    hidden = w[f"{at}.rnn.weight_hh_l0{way}"].shape[1]
    h = c = np.zeros((len(x), hidden))
    out = np.zeros((*x.shape[:2], hidden))
    steps = range(x.shape[1])
    for t in reversed(steps) if way else steps:
        gates = (np.einsum("rn,gn->rg", x[:, t], w[f"{at}.rnn.weight_ih_l0{way}"], optimize=True)
                 + np.einsum("rh,gh->rg", h, w[f"{at}.rnn.weight_hh_l0{way}"], optimize=True)
                 + w[f"{at}.rnn.bias_ih_l0{way}"] + w[f"{at}.rnn.bias_hh_l0{way}"])
        i, f, g, o = np.split(gates, 4, 1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        out[:, t] = h
    return out


def oracle(w: dict[str, np.ndarray], model: dict[str, Any], spectrum: np.ndarray) -> np.ndarray:
    """complex [C, F, T] of one item -> the same"""
    mean = spectrum.mean()
    deviation = np.sqrt((np.abs(spectrum - mean) ** 2).sum() / (spectrum.size - 1))
    normed = (spectrum - mean) / (deviation + 1e-5)
    features, low = [], 0
    for i, width in enumerate(bands(model)):
        band = normed[:, low:low + width]  # [C, w, T]
        low += width
        x = np.concatenate([part for c in range(2) for part in (band[c].real, band[c].imag)])
        x = normalise(x, (0, 1)) * w[f"bandsplit.layernorms.{i}.weight"]
        x = x + w[f"bandsplit.layernorms.{i}.bias"]
        features.append(x.T @ w[f"bandsplit.fcs.{i}.weight"].T + w[f"bandsplit.fcs.{i}.bias"])
    z = np.stack(features)  # [K, T, N]
    for layer in range(model["num_layers"]):
        for d in (0, 1):
            at = f"bandsequence.bsrnn.{layer}.{d}"
            rows = z if d == 0 else z.swapaxes(0, 1)
            x = normalise(rows, (1,)) * w[f"{at}.groupnorm.weight"] + w[f"{at}.groupnorm.bias"]
            x = np.concatenate([lstm(x, w, at, ""), lstm(x, w, at, "_reverse")], 2)
            rows = rows + x @ w[f"{at}.fc.weight"].T + w[f"{at}.fc.bias"]
            z = rows if d == 0 else rows.swapaxes(0, 1)
    masks = []
    for i, width in enumerate(bands(model)):
        x = normalise(z[i], (0, 1)) * w[f"maskest.layernorms.{i}.weight"]
        x = x + w[f"maskest.layernorms.{i}.bias"]
        mlp = f"maskest.mlp.{i}.mlp"
        x = np.tanh(x @ w[f"{mlp}.0.weight"].T + w[f"{mlp}.0.bias"])
        x = x @ w[f"{mlp}.2.weight"].T + w[f"{mlp}.2.bias"]
        x = x @ w[f"{mlp}.3.linear.weight"].T + w[f"{mlp}.3.linear.bias"]
        x = (x[:, :4 * width] * sigmoid(x[:, 4 * width:])).T  # [4w, T]
        left, left_i, right, right_i = (x[j * width:(j + 1) * width] for j in range(4))
        masks.append(np.stack([left + 1j * left_i, right + 1j * right_i]))
    return np.concatenate(masks, 1) * normed * deviation + mean


def compare(network: ReferenceBandSplitRNN, model: dict[str, Any], items: int) -> None:
    shape = (items, 2, model["n_fft"] // 2 + 1, model["t_timesteps"])
    spectrum = 3 * torch.randn(shape, dtype=torch.complex64) + (0.4 - 0.2j)
    with torch.inference_mode():
        out = network(spectrum).numpy()
    w = {key: value.double().numpy() for key, value in network.state_dict().items()}
    for x, y in zip(spectrum.numpy().astype(np.complex128), out, strict=True):
        expected = oracle(w, model, x)
        assert np.abs(y - expected).max() <= 1e-4 * np.abs(expected).max()


def test_forward_is_the_oracles(tmp_path: Path) -> None:
    path = write(tmp_path, weights(SMALL["model"]), SMALL)
    compare(load_reference(path).network, SMALL["model"], items=3)


def test_forward_at_full_width_is_the_oracles() -> None:
    """All 41 bands, 263 frames, 128 features; one layer, for time."""
    model = HPARAMS["model"] | {"num_layers": 1}
    network = ReferenceBandSplitRNN(ReferenceSection(num_layers=1)).eval()
    network.load_state_dict(weights(model))
    compare(network, model, items=1)


def test_full_size_file_has_the_tables_keys_and_shapes(tmp_path: Path) -> None:
    expected = weights(HPARAMS["model"])
    reference = load_reference(write(tmp_path, expected, HPARAMS))
    own = reference.network.state_dict()
    assert {key: tuple(value.shape) for key, value in own.items()} == table(HPARAMS["model"])
    assert len(bands(HPARAMS["model"])) == 41
    assert all(torch.equal(own[key], value) for key, value in expected.items())
    assert (reference.target, reference.step, reference.batch) == ("vocals", 23_894, 8)
    assert reference.network.config.segment == 134_144


@pytest.mark.parametrize(("target", "count"), [("vocals", 41), ("other", 41), ("bass", 30),
                                               ("drums", 55)])
def test_every_targets_bands_cover_the_spectrum(target: str, count: int) -> None:
    model = HPARAMS["model"] | {"bandsplits": SPLITS[target]}
    expected = bands(model)
    config = ReferenceSection(bandsplits=SPLITS[target], num_layers=1, fc_dim=2, rnn_dim=2,
                              mlp_dim=2)
    assert ReferenceBandSplitRNN(config).bandsplit.widths == expected
    assert (len(expected), sum(expected)) == (count, 1025)


def test_stft_gives_the_segment_back() -> None:
    config = ReferenceSection()
    stft = ReferenceSTFT(config)
    signal = torch.randn(2, 2, config.segment)
    spectrum = stft(signal)
    assert spectrum.shape == (2, 2, 1025, 263)
    torch.testing.assert_close(stft.inverse(spectrum, config.segment), signal, atol=1e-5, rtol=0)
    window = np.hanning(2049)[:-1]
    frame = signal[1, 0, 512 * 100 - 1024:512 * 100 + 1024].double().numpy() * window
    np.testing.assert_allclose(spectrum[1, 0, :, 100], np.fft.rfft(frame), atol=1e-3)


def test_lightning_checkpoint(tmp_path: Path) -> None:
    """Prefixed keys; the transforms' buffers beside them; hparams.yaml one folder above."""
    state = weights(SMALL["model"])
    content = {"epoch": 3, "state_dict": {f"model.{key}": value for key, value in state.items()}
               | {"featurizer.0.window": torch.zeros(64)}}
    path = write(tmp_path, content, SMALL, "last.ckpt")
    inner = tmp_path / "weights"
    inner.mkdir()
    for place in (path, path.rename(inner / "last.ckpt")):
        if place.exists():
            own = load_reference(place).network.state_dict()
            assert all(torch.equal(own[key], value) for key, value in state.items())


def test_mismatched_keys_are_named(tmp_path: Path) -> None:
    state = weights(SMALL["model"])
    del state["bandsplit.fcs.2.bias"]
    state["bandsplit.fcs.99.bias"] = torch.zeros(6)
    state["maskest.mlp.0.mlp.0.weight"] = torch.zeros(7, 9)
    with pytest.raises(CheckpointError) as error:
        load_reference(write(tmp_path, state, SMALL))
    message = str(error.value)
    assert "missing bandsplit.fcs.2.bias" in message
    assert "left over bandsplit.fcs.99.bias" in message
    assert "maskest.mlp.0.mlp.0.weight is [7, 9], the network's is [7, 6]" in message


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("this must not be run",)


@pytest.mark.parametrize(("content", "message"), [
    ({"a": Evil()}, "print, which is no tensor"), ([1, 2], "not a state dict"),
    ({}, "not a state dict"), ({"a": 1}, "not a state dict")])
def test_other_pickles_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                   content: Any, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        load_reference(write(tmp_path, content, SMALL))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("data", [b"", b"words, not weights\n", bytes(100), b"PK\x03\x04broken"])
def test_broken_files_are_refused(tmp_path: Path, data: bytes) -> None:
    path = write(tmp_path, {}, SMALL)
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="not a PyTorch file"):
        load_reference(path)


def test_a_file_cut_short_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, weights(SMALL["model"]), SMALL)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(CheckpointError, match="not a PyTorch file"):
        load_reference(path)


@pytest.mark.parametrize("content", [{"epoch": 1}, {"state_dict": {"net.a": torch.zeros(1)}}, []])
def test_other_lightning_checkpoints_are_refused(tmp_path: Path, content: Any) -> None:
    with pytest.raises(CheckpointError, match=r"no state_dict|starts with 'model\.'"):
        load_reference(write(tmp_path, content, SMALL, "last.ckpt"))


@pytest.mark.parametrize(("part", "key", "value", "message"), [
    ("model", "bottleneck_layer", "att", "bottleneck_layer = 'att'"),
    ("model", "is_mono", True, "is_mono = True"),
    ("model", "bandsplits", [[1000, 300]], "no steps of 300 Hz"),
    ("model", "bandsplits", [[100, 10]], "holds no bin"),
    ("model", "fc_dim", "many", "fc_dim = 'many'"),
    ("model", "n_fft", 128, "n_fft is 128 under model and 64 elsewhere"),
    ("featurizer", "power", 2, "featurizer.power = 2"),
    ("audio_params", "win_size", 5, "do not fit 9 frames"),
    ("audio_params", "target", None, "audio_params.target = None")])
def test_sizes_that_cannot_be_are_named(tmp_path: Path, part: str, key: str, value: Any,
                                        message: str) -> None:
    path = write(tmp_path, weights(SMALL["model"]),
                 SMALL | {part: SMALL[part] | {key: value}})
    with pytest.raises(CheckpointError, match=r"hparams\.yaml") as error:
        load_reference(path)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nowhere\.pt: cannot be read"):
        load_reference(tmp_path / "nowhere.pt")
    path = write(tmp_path, weights(SMALL["model"]), SMALL)
    (tmp_path / "hparams.yaml").unlink()
    with pytest.raises(CheckpointError, match=r"hparams\.yaml is not beside it"):
        load_reference(path)


def test_silence_stays_silence() -> None:
    network = ReferenceBandSplitRNN(ReferenceSection(num_layers=1, fc_dim=2, rnn_dim=2,
                                                     mlp_dim=2)).eval()
    with torch.inference_mode():
        assert not network(torch.zeros(1, 2, 1025, 263, dtype=torch.complex64)).any()
