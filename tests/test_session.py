from pathlib import Path

import numpy as np
import onnx
import pytest

from model.network import BandSplitRNN
from rt.session import PROVIDERS, Session, SessionError, packaged_model, read_spec

Graph = tuple[Path, BandSplitRNN]


def test_reset_starts_over(step_graph: Graph) -> None:
    session = Session(step_graph[0], "cpu")
    x = np.random.default_rng(1).standard_normal((5, session.spec.bins, 4)).astype(np.float32)
    first = [session.step(s).copy() for s in x]
    assert all(np.abs(v).max() > 0 for v in session.states().values())
    session.reset()
    assert all(np.abs(v).max() == 0 for v in session.states().values())
    for s, expected in zip(x, first, strict=True):
        np.testing.assert_array_equal(session.step(s), expected)


def test_auto_says_what_it_took_and_why(step_graph: Graph) -> None:
    session = Session(step_graph[0], "auto")
    assert session.provider in PROVIDERS.values()
    assert "CUDA" in session.provider_reason


def test_spec_comes_from_the_file(step_graph: Graph) -> None:
    path, network = step_graph
    assert read_spec(path) == network.spec(tier="small", version="test")


def test_a_provider_that_is_not_there_names_the_cure(step_graph: Graph) -> None:
    import onnxruntime

    missing = next(k for k, v in PROVIDERS.items()
                   if v not in onnxruntime.get_available_providers())
    with pytest.raises(SessionError, match="--provider"):
        Session(step_graph[0], missing)


@pytest.mark.parametrize("damage", ["missing", "truncated", "empty", "text", "foreign", "lying"])
def test_bad_models_are_one_clear_line(step_graph: Graph, tmp_path: Path, damage: str) -> None:
    good = step_graph[0].read_bytes()
    path = tmp_path / "bad.onnx"
    if damage == "truncated":
        path.write_bytes(good[:len(good) // 2])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "text":
        path.write_text("not a model at all\n" * 50)
    elif damage in ("foreign", "lying"):
        model = onnx.load(step_graph[0])
        if damage == "foreign":
            del model.metadata_props[:]
        else:
            model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 7
        onnx.save(model, path)
    with pytest.raises(SessionError) as caught:
        Session(path, "cpu")
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message


def test_packaged_models_are_named_when_one_is_missing() -> None:
    with pytest.raises(SessionError, match="python -m export"):
        packaged_model("nosuch")
