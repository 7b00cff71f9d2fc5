"""torch -> ONNX: one hop of a BandSplitRNN as a graph with static shapes and named states.

Compressed spectrum and states in, the masks of all stems but the last and next states out, the
StreamSpec in the metadata. What stays outside (the STFT pair, the compression, the last stem) costs
ONNX Runtime more than the live engine.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import onnx
import torch

from export.hop import Hop
from model.network import BandSplitRNN
from rt.session import COMPRESSED, MASKS, NEXT
from rt.spec import CHANNELS, StreamSpec

OPSET = 20  # the first one with a Gelu


def write_step_graph(network: BandSplitRNN, spec: StreamSpec, path: Path) -> onnx.ModelProto:
    """Writes the graph to `path` and returns it, checked by onnx.checker."""
    names = [s.name for s in spec.states]
    arguments = (torch.zeros(spec.bins, 2 * CHANNELS),
                 *(torch.zeros(s.shape) for s in spec.states))
    # without gradients, which need a form of the recurrence that ONNX has no node for
    with torch.no_grad(), warnings.catch_warnings():
        # torch's newer exporter unrolls the GRU; the older one keeps it as one node
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Hop(network).eval(), arguments, str(path), dynamo=False, opset_version=OPSET,
            input_names=[COMPRESSED, *names], output_names=[MASKS, *(n + NEXT for n in names)])
    model = onnx.load(str(path))
    onnx.helper.set_model_props(model, spec.to_metadata())
    model.producer_name, model.producer_version = "bandsplit-live", spec.version
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))
    return model
