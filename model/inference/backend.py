"""Which separator a checkpoint's name asks for.

torch is imported where a reference checkpoint is opened and nowhere else: the streaming model
runs through ONNX Runtime alone.
"""

from __future__ import annotations

from pathlib import Path

from model.inference.offline import OfflineError, OfflineSeparator
from model.inference.streamed import Streamed
from rt.session import SessionError, packaged_model

REFERENCE_SUFFIXES = (".pt", ".ckpt")


def open_model(name: str, device: str = "auto", threads: int | None = None,
               batch: int | None = None, step_s: float | None = None) -> OfflineSeparator:
    """name: a tier, an .onnx file, or a reference checkpoint (.pt, .ckpt, or a folder that
    model.train left).

    Raises OfflineError or SessionError.
    """
    suffix = Path(name).suffix.lower()
    if suffix in REFERENCE_SUFFIXES or _is_trained(Path(name)):
        return _open_reference(Path(name), device, threads, batch, step_s)
    if batch is not None or step_s is not None:
        raise OfflineError("--batch and --step are for reference checkpoints: the streaming "
                           "model has no segments")
    if suffix == ".onnx":
        return Streamed.load(name, device, threads or 1)
    try:
        graph = packaged_model(name, provider=device)
    except SessionError:
        if not Path(name).exists():
            raise
        raise OfflineError(f"{name}: neither a step graph (.onnx) nor a reference checkpoint "
                           "(.pt, .ckpt, a run's folder)") from None
    return Streamed.load(graph, device, threads or 1)


def _is_trained(folder: Path) -> bool:
    """Whether model.train left it; a folder of stems may well be called like a tier."""
    return any((place / "weights.safetensors").is_file() for place in (folder, folder / "weights"))


def _open_reference(path: Path, device: str, threads: int | None, batch: int | None,
                    step_s: float | None) -> OfflineSeparator:
    try:
        import torch

        from model.checkpoint import CheckpointError
        from model.inference.segments import Segmented
        from model.reference.checkpoint import load_reference
    except ModuleNotFoundError as error:
        raise OfflineError(f"{path}: a reference checkpoint needs {error.name}: "
                           "pip install 'bandsplit-live[train]'") from error
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        reference = load_reference(path)
    except CheckpointError as error:
        raise OfflineError(str(error)) from error
    step = None if step_s is None else round(step_s * reference.network.config.sr)
    return Segmented(reference, device, batch, step)
