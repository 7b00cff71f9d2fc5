"""HS-TasNet (arXiv 2402.17701) as in the PyPI package hs-tasnet, run as a live engine would.

The package's `import hs_tasnet` also loads its trainer, and the network's own module imports
libraries that read files, open sound devices and draw: torchaudio and torchcodec among them, whose
binaries do not load beside a CPU build of torch. None of it is needed to run the network. So
`network_class` compiles that one module without those imports; nothing is put in `sys.modules`.
"""

from __future__ import annotations

import ast
import types
from importlib.util import find_spec
from pathlib import Path
from typing import Any

SIZES: dict[str, dict[str, Any]] = {"small": {"small": True}, "full": {"small": False}}
UNUSED = {"torchaudio", "torchcodec", "sounddevice", "loguru", "librosa", "matplotlib"}


class PeerError(RuntimeError):
    """A peer that cannot be had or used; the message is one line for the user."""


def build(size: str, sample_rate: int = 44_100, stems: int = 4) -> Any:
    """A new network (random weights) of the paper's sizes. Raises PeerError."""
    return network_class()(**SIZES[size], sample_rate=sample_rate, num_sources=stems)


def network_class() -> Any:
    """The package's HSTasNet. Raises PeerError where it or what it needs is not installed."""
    found = find_spec("hs_tasnet")
    if found is None or not found.submodule_search_locations:
        raise PeerError("hs-tasnet is not installed: pip install 'bandsplit-live[peers]', then "
                        "pip install --no-deps hs-tasnet")
    file = Path(found.submodule_search_locations[0]) / "hs_tasnet.py"
    tree = ast.parse(file.read_text(encoding="utf-8"), str(file))
    tree.body = [node for node in tree.body if not _unused(node)]
    module = types.ModuleType("hs_tasnet_network")
    try:
        exec(compile(tree, str(file), "exec"), module.__dict__)
    except ModuleNotFoundError as error:
        raise PeerError(f"hs-tasnet needs {error.name}: pip install 'bandsplit-live[peers]'"
                        ) from error
    return module.HSTasNet


def _unused(node: ast.stmt) -> bool:
    if isinstance(node, ast.Import):
        return any(alias.name.split(".")[0] in UNUSED for alias in node.names)
    return isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in UNUSED
