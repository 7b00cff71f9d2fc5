from pathlib import Path

import pytest
import yaml

from rt.config import DEFAULT_FILE, Config, ConfigError, load_config


def test_the_file_states_every_default() -> None:
    assert load_config() == Config()
    assert yaml.safe_load(DEFAULT_FILE.read_text()).keys() == Config.model_fields.keys()


def test_overrides_win_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("engine: {slack: 2}\nmixer: {muted: [drums]}\n")
    config = load_config(file, ["engine.slack=1", "midi.bindings=[{cc: 1, action: bypass}]",
                                "audio.input_channels=3"])
    assert config.engine.slack == 1
    assert config.mixer.muted == ("drums",)
    assert config.midi.bindings[0].cc == 1
    assert config.audio.input_channels == (3, 3)


def test_it_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_config().engine.slack = 3  # type: ignore[misc]


@pytest.mark.parametrize(("override", "words"), [
    ("audio.latncy=low", ["audio.latncy", "latency"]),
    ("nosuch=1", ["nosuch", "audio"]),
    ("audio.samplerate=fast", ["audio.samplerate", "fast"]),
    ("mixer.gains.vocals=-1", ["mixer.gains.vocals", "-1", "greater"]),
    ("mixer.gains.vocal=1", ["mixer.gains.vocal", "no such stem", "vocals"]),
    ("mixer.muted=[tuba]", ["mixer.muted.0", "tuba", "vocals"]),
    ("network.live.hop=300", ["network.live", "300", "divide"]),
    ("network.live.bands=[[1, 2]]", ["network.live", "1025"]),
    ("network.live.heads=5", ["network.live", "48", "5"]),
    ("engine.provider=gpu", ["engine.provider", "gpu", "cuda"]),
    ("engine.slack=-1", ["engine.slack", "-1"]),
    ("model.tier=fast", ["model.tier", "fast", "ultra"]),
    ("midi.bindings=[{note: 1, action: gain, stem: vocals}]", ["midi.bindings.0", "cc"]),
    ("midi.bindings=[{note: 1, cc: 2, action: bypass}]", ["midi.bindings.0", "exactly one"]),
    ("midi.bindings=[{note: 1, action: mute}]", ["midi.bindings.0", "stem"]),
    ("midi.bindings.99.note=1", ["midi.bindings.99", "99"]),
    ("slack", ["slack", "key.sub=value"]),
    ("engine.slack=[", ["engine.slack", "YAML"]),
])
def test_a_mistake_on_the_command_line_is_one_clear_line(override: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(overrides=[override])
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("command line: ")
    for word in words:
        assert word in message


@pytest.mark.parametrize(("text", "words"), [
    ("audio: {latncy: low}", ["audio.latncy", "latency"]),
    ("audio: [", ["line 1", "YAML"]),
    ("- a\n- b", ["mapping"]),
    ("audio: 3", ["audio", "3"]),
])
def test_a_mistake_in_a_file_names_the_file(tmp_path: Path, text: str, words: list[str]) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    assert str(caught.value).startswith(str(file))
    for word in words:
        assert word in str(caught.value)


def test_a_missing_file_is_an_error_and_an_empty_one_is_all_defaults(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "nosuch.yaml")
    (tmp_path / "empty.yaml").touch()
    assert load_config(tmp_path / "empty.yaml") == Config()
