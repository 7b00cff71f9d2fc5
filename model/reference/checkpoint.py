"""Reference checkpoints: this project's own, and the public ones, which are

    NAME.pt        a plain state dict
    NAME.ckpt      a mapping with `state_dict`, whose keys carry the prefix `model.`
    hparams.yaml   model: sizes · featurizer: the STFT · audio_params: target, segments

Apart from `model.checkpoint`, which is the format of our own: these are pickles written elsewhere,
so only tensors and plain values are let out of them, and their sizes come from a file beside.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import yaml
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError, model_validator
from torch import Tensor

from model.checkpoint import CheckpointError, assign, describe, read_weights
from model.reference.network import ReferenceBandSplitRNN
from rt.reference import ReferenceSection
from rt.sections import first_problem

HPARAMS = "hparams.yaml"
PREFIX = "model."
STEP, SEGMENT, BATCH = 23_894, 134_144, 8  # the published use: samples, samples, segments


class _Part(BaseModel):
    """hparams.yaml holds training settings as well: what does not matter here is passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class _Featurizer(_Part):
    n_fft: PositiveInt = 2048
    win_length: PositiveInt = 2048
    hop_length: PositiveInt = 512
    power: Literal[None] = None


class _AudioParams(_Part):
    target: str
    sr: PositiveInt = 44_100
    win_size: Annotated[float, Field(gt=0)] = 3.0
    hop_size: Annotated[float, Field(gt=0)] = 0.5
    batch_size: PositiveInt = 8


class _Hparams(_Part):
    model: dict[str, Any]
    featurizer: _Featurizer = _Featurizer()
    audio_params: _AudioParams

    @model_validator(mode="after")
    def _consistent(self) -> _Hparams:
        pairs = {"n_fft": (self.model.get("n_fft"), self.featurizer.n_fft),
                 "sr": (self.model.get("sr"), self.audio_params.sr)}
        for key, (of_model, of_other) in pairs.items():
            if of_model != of_other:
                raise ValueError(f"{key} is {of_model} under model and {of_other} elsewhere")
        return self


@dataclass(frozen=True)
class Reference:
    """A loaded checkpoint: the network on the CPU, in evaluation mode, and its published use."""

    network: ReferenceBandSplitRNN
    target: str
    step: int  # samples from one segment to the next
    batch: int


def load_reference(path: str | Path) -> Reference:
    """The network of a `.pt` or `.ckpt` file with `hparams.yaml` beside it or one folder above, or
    of a folder that model.train left.

    Raises CheckpointError where a file is missing, is not what its name says, or where the
    weights do not fit the sizes: the message names the keys.
    """
    path = Path(path)
    if path.is_dir():
        return _load_own(path)
    weights = _read_weights(path)
    hparams, config = _read_hparams(path)
    network = ReferenceBandSplitRNN(config)
    assign(network, weights, path)
    audio = hparams.audio_params
    # the published segments are padded up to whole frames, and their step by as much
    padding = config.segment - int(audio.win_size * audio.sr)
    step = int(audio.hop_size * audio.sr) + padding
    if padding < 0 or not 0 < step <= config.segment:
        raise CheckpointError(f"{path}: {HPARAMS}: segments of {audio.win_size} s every "
                              f"{audio.hop_size} s do not fit {config.t_timesteps} frames")
    return Reference(network.eval(), audio.target, step, audio.batch_size)


def in_use(network: ReferenceBandSplitRNN, target: str, step: int | None = None) -> Reference:
    """A network of our own with the published overlap, or another step (samples)."""
    published = max(1, network.config.segment * STEP // SEGMENT)
    return Reference(network, target, step or published, BATCH)


def _load_own(folder: Path) -> Reference:
    description = describe(folder)
    if not isinstance(description.network, ReferenceSection) or description.target is None:
        raise CheckpointError(f"{folder}: a streaming network, not a reference one; "
                              "python -m export makes a step graph (.onnx) of it")
    network = ReferenceBandSplitRNN(description.network)
    assign(network, read_weights(folder), folder)
    return in_use(network.eval(), description.target)


def _read_weights(path: Path) -> dict[str, Tensor]:
    try:
        file = path.open("rb")
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        with file:
            content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # broken bytes raise nearly anything
        foreign = re.search(r"GLOBAL (\S+)", str(error))
        if foreign:
            raise CheckpointError(f"{path}: holds {foreign[1]}, which is no tensor: not loaded, "
                                  "because a pickle can run any code") from error
        raise CheckpointError(f"{path}: not a PyTorch file ({type(error).__name__})") from error
    if path.suffix == ".ckpt":
        state = content.get("state_dict") if isinstance(content, dict) else None
        if not isinstance(state, dict):
            raise CheckpointError(f"{path}: not a Lightning checkpoint: no state_dict in it")
        # beside the network, Lightning keeps the transforms' and losses' buffers
        content = {key.removeprefix(PREFIX): value for key, value in state.items()
                   if isinstance(key, str) and key.startswith(PREFIX)}
        if not content:
            raise CheckpointError(f"{path}: none of its keys starts with {PREFIX!r}")
    if not isinstance(content, dict) or not content or not all(
            isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items()):
        raise CheckpointError(f"{path}: not a state dict: it should map names to tensors")
    return content


def _read_hparams(path: Path) -> tuple[_Hparams, ReferenceSection]:
    places = [folder / HPARAMS for folder in (path.parent, path.absolute().parent.parent)]
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        raise CheckpointError(f"{path}: {HPARAMS} is not beside it; it holds the network's sizes")
    try:
        hparams = _Hparams.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
        sizes = {key: value for key, value in hparams.model.items()
                 if key in ReferenceSection.model_fields}
        stft = hparams.featurizer
        return hparams, ReferenceSection.model_validate(
            sizes | {"win_length": stft.win_length, "hop_length": stft.hop_length})
    except OSError as error:
        raise CheckpointError(f"{file}: cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{file}: not valid YAML ({_first_line(error)})") from error
    except ValidationError as error:
        raise CheckpointError(f"{file}: {first_problem(error)}") from error


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200]
