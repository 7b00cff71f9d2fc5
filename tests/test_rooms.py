"""Imports run one way, and the live path never meets torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# room -> project modules it may import
ALLOWED = {
    "rt": {"rt"},
    "model": {"model", "rt.spec", "rt.config", "rt.reference", "rt.sections", "rt.session",
              "rt.separator"},
    "export": {"export", "model", "rt", "bench.latency"},  # export.ship paces its steps
    "bench": {"bench", "rt"},
    "bench/peers": {"bench", "rt", "model"},  # trains and scores another network as ours are
}
ROOMS = {name.split("/")[0] for name in ALLOWED} | {"tests"}


def imports(file: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


@pytest.mark.parametrize("room", ALLOWED)
def test_imports_run_one_way(room: str) -> None:
    apart = [ROOT / inner for inner in ALLOWED if inner.startswith(f"{room}/")]
    files = [file for file in (ROOT / room).rglob("*.py")
             if not any(file.is_relative_to(folder) for folder in apart)]
    assert files
    for file in files:
        for name in imports(file):
            if name.split(".")[0] in ROOMS:
                allowed = any(name == a or name.startswith(f"{a}.") for a in ALLOWED[room])
                assert allowed, f"{file.relative_to(ROOT)} imports {name}"


@pytest.mark.parametrize(("library", "owner"), [
    ("sounddevice", "rt/devices.py"), ("onnxruntime", "rt/session.py"), ("soxr", None),
    ("rtmidi", "rt/midi.py"), ("yaml", "rt/config.py"), ("torch", None)])
def test_each_library_of_the_live_system_has_one_owner(library: str, owner: str | None) -> None:
    users = {str(f.relative_to(ROOT)) for f in (ROOT / "rt").rglob("*.py")
             if library in {name.split(".")[0] for name in imports(f)}}
    if library == "torch":
        assert not users
    elif owner is not None:
        assert users <= {owner}


def test_the_live_system_loads_no_torch() -> None:
    code = ("import sys, rt.live, rt.engine, rt.session, rt.screen, rt.midi, rt.recorder, "
            "rt.devices; "
            "sys.exit(','.join(m for m in sys.modules if m.split('.')[0] in "
            "('torch', 'lightning', 'model', 'export')) or 0)")
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                            timeout=120, check=False, cwd=ROOT)
    assert (result.returncode, result.stderr) == (0, "")
