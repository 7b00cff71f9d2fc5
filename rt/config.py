"""Configuration: config.yaml, --config FILE and key.sub=value overrides, validated once, frozen.

The only reader of config.yaml. Every setting's meaning, unit and default stands in that file; a
test holds it equal to the defaults of rt.sections. An error is one line: file, key, value, what
would do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError, model_validator

from rt.reference import ReferenceSection
from rt.sections import (
    AudioSection,
    DataSection,
    EngineSection,
    MidiSection,
    MixerSection,
    ModelSection,
    NetworkSection,
    Section,
    TrainSection,
)

DEFAULT_FILE = Path(__file__).resolve().parent.parent / "config.yaml"
REFERENCE = "reference"  # the tier that is the paper's offline network


class ConfigError(ValueError):
    """A setting that cannot be used; the message is one line for the user."""


def _tiers() -> dict[str, NetworkSection]:
    return {
        "live": NetworkSection(),
        "ultra": NetworkSection(synthesis=256, hop=128, layers=2),
    }


class Config(Section):
    model: ModelSection = ModelSection()
    audio: AudioSection = AudioSection()
    engine: EngineSection = EngineSection()
    mixer: MixerSection = MixerSection()
    midi: MidiSection = MidiSection()
    network: dict[str, NetworkSection] = Field(default_factory=_tiers)
    reference: ReferenceSection = ReferenceSection()
    data: DataSection = DataSection()
    train: TrainSection = TrainSection()

    @model_validator(mode="after")
    def _names(self) -> Config:
        if REFERENCE in self.network:
            raise ValueError(f"network.{REFERENCE} = a network: its sizes stand under {REFERENCE}")
        if self.model.path is None and self.model.tier not in (*self.network, REFERENCE):
            raise ValueError(f"model.tier = {self.model.tier!r}: there is "
                             f"{', '.join(self.network)} under network, and {REFERENCE}")
        stems = dict.fromkeys(s for tier in self.network.values() for s in tier.stems)
        used = {f"mixer.gains.{s}": s for s in self.mixer.gains}
        used |= {f"mixer.muted.{i}": s for i, s in enumerate(self.mixer.muted)}
        used |= {f"midi.bindings.{i}.stem": b.stem for i, b in enumerate(self.midi.bindings)
                 if b.stem is not None}
        for key, stem in used.items():
            if self.model.path is None and stem not in stems:
                raise ValueError(f"{key} = {stem!r}: no such stem, there is {', '.join(stems)}")
        return self


def load_config(path: str | Path | None = None, overrides: Iterable[str] = (),
                flags: Mapping[str, Any] | None = None) -> Config:
    """Reads `path` (config.yaml beside the packages by default), then applies the overrides
    (key.sub=value, the value in YAML) and then the flags (dotted key to value, taken as it is;
    None means not given).

    Raises ConfigError.
    """
    file = Path(path) if path is not None else DEFAULT_FILE
    data: dict[str, Any] = {}
    if path is not None or file.exists():
        data = _read(file)
    given = []
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key:
            raise ConfigError(f"command line: {override!r} is not key.sub=value")
        value = _parse(key, text)
        if key == "model" and isinstance(value, str):  # short for its tier
            key = "model.tier"
        _assign(data, key, value)
        given.append(key)
    for key, value in (flags or {}).items():
        if value is not None:
            _assign(data, key, value)
            given.append(key)
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        raise ConfigError(_explain(error, file, given)) from None


def _read(file: Path) -> dict[str, Any]:
    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        what = getattr(error, "problem", None) or error
        raise ConfigError(f"{file}: {where}not valid YAML ({what})") from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError(f"{file}: must be a mapping of sections, not a {type(data).__name__}")
    return data


def _parse(key: str, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"command line: {key}={text}: the value is not valid YAML") from error


def _assign(data: dict[str, Any], key: str, value: Any) -> None:
    node: Any = data
    *parents, last = key.split(".")
    for part in parents:
        if isinstance(node, list):
            node = node[_index(node, part, key)]
        else:
            if not isinstance(node.get(part), (dict, list)):
                node[part] = {}
            node = node[part]
    if isinstance(node, list):
        node[_index(node, last, key)] = value
    else:
        node[last] = value


def _index(node: list[Any], part: str, key: str) -> int:
    if not part.isdigit() or int(part) >= len(node):
        raise ConfigError(f"command line: {key}: {part!r} is not an index below {len(node)}")
    return int(part)


def _explain(error: ValidationError, file: Path, overrides: list[str]) -> str:
    every = error.errors()
    first, key = every[0], _key(every[0]["loc"])
    # one value can fail several branches of a union: say what each would have taken
    wanted = dict.fromkeys(e["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
                           for e in every if _key(e["loc"]) == key)
    message = " or ".join(wanted)
    if "Input should be " in first["msg"]:
        message = f"should be {message}"
    if first["type"] == "extra_forbidden":
        names = _siblings(first["loc"])
        close = difflib.get_close_matches(str(first["loc"][-1]), names, 1)
        cure = f"did you mean {close[0]}?" if close else f"there is {', '.join(names)}"
        text = f"{key}: unknown key; {cure}"
    elif not key:  # a check across sections names its key and value itself
        key = message.split(" = ")[0]
        text = message
    else:
        value = first["input"]
        shown = "" if isinstance(value, (dict, Section)) else f" = {value!r}"
        text = f"{key}{shown}: {message[:1].lower() + message[1:]}"
    overridden = any(f"{key}.".startswith(f"{o}.") or o.startswith(f"{key}.") for o in overrides)
    return f"{'command line' if overridden else file}: {text}"


def _key(loc: tuple[int | str, ...]) -> str:
    """pydantic names the branch of a union inside the location; users have no such key."""
    return ".".join(str(part) for part in loc
                    if not (isinstance(part, str)
                            and (part in ("int", "str", "float") or any(c in part for c in "[(-"))))


def _siblings(loc: tuple[int | str, ...]) -> list[str]:
    model: Any = Config
    for part in loc[:-1]:
        field = getattr(model, "model_fields", {}).get(part)
        if field is not None:
            model = field.annotation
            args = getattr(model, "__args__", ())
            model = next((a for a in args if hasattr(a, "model_fields")), model)
    return list(getattr(model, "model_fields", {}))
