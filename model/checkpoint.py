"""A trained network on disk: a folder with `weights.safetensors` and `config.yaml`.

The folder rebuilds its network from its own files, without pickle and without the project's
config.yaml:

    network:      the sizes of a streaming network (rt.sections.NetworkSection)
    trained_on:   one line for people: what was heard, then a colon and the steps

or, for the paper's offline network,

    reference:    its sizes (rt.reference.ReferenceSection)
    target:       the stem that it gives
    trained_on:   as above

`weights.safetensors` holds float32 tensors under the parameter names of BandSplitRNN, or of
ReferenceBandSplitRNN, which are those of the public checkpoints.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from model.network import BandSplitRNN
from rt.config import REFERENCE
from rt.reference import ReferenceSection
from rt.sections import NetworkSection, first_problem

WEIGHTS = "weights.safetensors"
CONFIG = "config.yaml"


class CheckpointError(ValueError):
    """Weights that cannot be used; the message names the file or the keys."""


@dataclass(frozen=True)
class Description:
    """What a checkpoint's config.yaml says. `target` belongs to a reference network."""

    network: NetworkSection | ReferenceSection
    trained_on: str
    target: str | None = None


def load(path: str | Path) -> BandSplitRNN:
    """The streaming network of a checkpoint, on the CPU, in evaluation mode.

    `path` is a folder written by `save` (a pretrained folder, or a run's `weights`), or a run's
    folder. Raises CheckpointError where a file is missing or broken, where the weights do not
    fit the network of their own configuration, and where that is a reference network
    (model.reference.checkpoint loads those).
    """
    folder = _folder(path)
    sizes = describe(folder).network
    if isinstance(sizes, ReferenceSection):
        raise CheckpointError(f"{folder}: a reference network, which hears what is still to come "
                              "and cannot stream; model.inference and model.evaluate take it")
    network = BandSplitRNN(sizes)
    assign(network, read_weights(folder), folder)
    return network.eval()


def describe(path: str | Path) -> Description:
    """The checkpoint's configuration. Raises CheckpointError."""
    file = _folder(path) / CONFIG
    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
        if REFERENCE in data:
            return Description(ReferenceSection.model_validate(data[REFERENCE]),
                               str(data["trained_on"]), str(data["target"]))
        return Description(NetworkSection.model_validate(data["network"]), str(data["trained_on"]))
    except OSError as error:
        raise CheckpointError(f"{file}: cannot be read ({error.strerror})") from error
    except ValidationError as error:
        raise CheckpointError(f"{file}: {first_problem(error)}") from error
    except yaml.YAMLError as error:
        what = " ".join(str(error).split())
        raise CheckpointError(f"{file}: not valid YAML ({what})") from error
    except KeyError as error:
        raise CheckpointError(f"{file}: not a checkpoint's configuration, it has no {error}"
                              ) from error
    except TypeError as error:
        raise CheckpointError(f"{file}: not a checkpoint's configuration, but no mapping of keys"
                              ) from error


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The checkpoint's tensors by name. Raises CheckpointError."""
    file = _folder(path) / WEIGHTS
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{file}: not a safetensors file ({error})") from error


def assign(network: nn.Module, weights: dict[str, Tensor], source: Path) -> None:
    """Copies the weights into the network.

    Raises CheckpointError naming the keys that are missing, left over or of another shape.
    """
    own = network.state_dict()
    missing, extra = sorted(own.keys() - weights.keys()), sorted(weights.keys() - own.keys())
    other = [f"{key} is {list(weights[key].shape)}, the network's is {list(own[key].shape)}"
             for key in own.keys() & weights.keys() if own[key].shape != weights[key].shape]
    parts = [f"missing {', '.join(missing)}"] * bool(missing)
    parts += [f"left over {', '.join(extra)}"] * bool(extra)
    if parts or other:
        raise CheckpointError(f"{source}: not this network's weights: {'; '.join(parts + other)}")
    network.load_state_dict(weights)


def assign_matching(network: nn.Module, weights: dict[str, Tensor]) -> list[str]:
    """Copies what fits by name and shape and returns the names that kept their initial values.

    For starting a network from a related one: another hop, fewer layers.
    Raises CheckpointError where nothing fits.
    """
    own = network.state_dict()
    fitting = {key: value for key, value in weights.items()
               if key in own and own[key].shape == value.shape}
    if not fitting:
        raise CheckpointError("train.init: none of its tensors fits this network")
    network.load_state_dict(own | fitting)
    return sorted(own.keys() - fitting.keys())


def save(folder: Path, weights: dict[str, Tensor], description: Description) -> None:
    """Writes a checkpoint; each file appears whole or not at all. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {key: value.detach().cpu().contiguous() for key, value in weights.items()}
    kind = REFERENCE if isinstance(description.network, ReferenceSection) else "network"
    text = yaml.safe_dump(
        {kind: description.network.model_dump(mode="json"),
         **({"target": description.target} if description.target else {}),
         "trained_on": description.trained_on}, sort_keys=False, allow_unicode=True)
    partial = folder / f".{WEIGHTS}.partial"
    try:
        save_file(tensors, partial)
    except SafetensorError as error:  # a full disk
        raise OSError(f"{partial}: cannot be written ({error})") from error
    partial.chmod(0o644)  # safetensors makes files that nobody else may read
    os.replace(partial, folder / WEIGHTS)
    partial = folder / f".{CONFIG}.partial"
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, folder / CONFIG)


def _folder(path: str | Path) -> Path:
    folder = Path(path)
    inside = folder / "weights"
    if not (folder / WEIGHTS).exists() and (inside / WEIGHTS).exists():
        return inside
    if not (folder / WEIGHTS).exists():
        raise CheckpointError(f"{folder}: no {WEIGHTS} in it")
    return folder
