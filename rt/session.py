"""The step graph in ONNX Runtime: provider choice, bound state, warm-up. Its only import in rt.

No silent fallback: a provider that was asked for and cannot be had is an error with the cure, and
what `auto` chose says why.
"""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path

import numpy as np
import onnxruntime as ort

from rt.spec import CHANNELS, SpecError, StreamSpec
from rt.stft import compress

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "directml": "DmlExecutionProvider",
}
COMPRESSED, MASKS = "compressed", "masks"  # the graph's names; states are {name} -> {name}_next
NEXT = "_next"
PACKAGED = Path(__file__).parent / "models"
_WARM_UP_STEPS = 50  # memory arenas, lazily loaded kernels, CPU clocks


class SessionError(RuntimeError):
    """A model or provider that cannot be used; the message is one line for the user."""


def packaged_model(tier: str, precision: str = "auto", provider: str = "auto") -> Path:
    """The ONNX file that ships for a tier.

    precision: fp32, int8, or auto: on the CPU what export.ship measured to be the better one and
    noted beside the graphs, on every other provider fp32. Raises SessionError where there is none.
    """
    if precision == "auto":
        precision = _cpu_precision(tier) if _on_cpu(provider) else "fp32"
    path = PACKAGED / (f"{tier}.int8.onnx" if precision == "int8" else f"{tier}.onnx")
    if not path.exists():
        have = ", ".join(sorted(p.stem for p in PACKAGED.glob("*.onnx"))) or "none"
        raise SessionError(f"no packaged model {path.stem!r} (there is {have}): "
                           "export one with python -m export and give it with --model")
    return path


def _cpu_precision(tier: str) -> str:
    note = PACKAGED / f"{tier}.json"
    if not note.exists():
        return "fp32"
    try:
        return str(json.loads(note.read_text(encoding="utf-8"))["cpu"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SessionError(f"{note}: cannot be read ({error}); run python -m export.ship {tier}, "
                           "or set model.precision=fp32") from error


def _on_cpu(provider: str) -> bool:
    return provider == "cpu" or (provider == "auto"
                                 and PROVIDERS["cuda"] not in ort.get_available_providers())


def read_spec(path: str | Path) -> StreamSpec:
    """The StreamSpec of an ONNX file. Raises SessionError."""
    return _spec_of(Path(path), _open(Path(path), "cpu", 1))


class Session:
    """A Masker over a step graph.

    One thread at a time; create it on the thread that will call `step`, because flushing
    denormals to zero (silence would otherwise cost CPU) holds for the creating thread only.
    State tensors stay bound between hops, in two sets that take turns, on the provider's device.
    """

    def __init__(self, path: str | Path, provider: str = "auto", threads: int = 1) -> None:
        """provider: auto or a key of PROVIDERS. Raises SessionError."""
        self.path = Path(path)
        self._session, self.provider_reason = _choose(self.path, provider, threads)
        self.provider: str = self._session.get_providers()[0]
        self.spec = _spec_of(self.path, self._session)
        self._device = "cuda" if self.provider in (PROVIDERS["cuda"], PROVIDERS["tensorrt"]) \
            else "cpu"
        self._compressed = np.zeros((self.spec.bins, 2 * CHANNELS), np.float32)
        self._masks = np.zeros((len(self.spec.stems) - 1, *self._compressed.shape), np.float32)
        self._states = [self._allocate() for _ in range(2)]
        self._bindings = [self._bind(now, after)
                          for now, after in (self._states, self._states[::-1])]
        self._turn = 0
        self._options = ort.RunOptions()
        self.warm_up()

    def step(self, spectrum: np.ndarray) -> np.ndarray:
        """spectrum [bins, 4] -> masks [stems - 1, bins, 4], a buffer overwritten by the next
        step. Raises ValueError for another shape."""
        if spectrum.shape != self._compressed.shape:
            raise ValueError(f"a spectrum is {list(self._compressed.shape)}, "
                             f"not {list(spectrum.shape)}")
        compress(spectrum, self._compressed)
        self._session.run_with_iobinding(self._bindings[self._turn], self._options)
        self._turn ^= 1
        return self._masks

    def reset(self) -> None:
        """Back to the initial state: zeros."""
        for states in self._states:
            for value in states.values():
                value.update_inplace(np.zeros(value.shape(), np.float32))
        self._turn = 0

    def states(self) -> dict[str, np.ndarray]:
        """Copies of the states that the next step will read."""
        return {name: value.numpy().copy() for name, value in self._states[self._turn].items()}

    def warm_up(self) -> None:
        """Real steps on noise, then a reset. Raises SessionError where a step fails: a provider
        can load and still lack a library that only running needs."""
        noise = np.random.default_rng(0).standard_normal(self._compressed.shape, np.float32)
        try:
            for _ in range(_WARM_UP_STEPS):
                self.step(noise)
        except Exception as error:  # ONNX Runtime raises bare RuntimeErrors of its own
            raise SessionError(f"{self.path.name}: {self.provider} loads but cannot run it: "
                               f"{_first_line(error)}") from error
        self.reset()

    def _allocate(self) -> dict[str, ort.OrtValue]:
        return {s.name: ort.OrtValue.ortvalue_from_numpy(np.zeros(s.shape, np.float32),
                                                         self._device, 0)
                for s in self.spec.states}

    def _bind(self, now: dict[str, ort.OrtValue], after: dict[str, ort.OrtValue]) -> ort.IOBinding:
        binding = self._session.io_binding()
        binding.bind_input(COMPRESSED, "cpu", 0, np.float32, self._compressed.shape,
                           self._compressed.ctypes.data)
        binding.bind_output(MASKS, "cpu", 0, np.float32, self._masks.shape,
                            self._masks.ctypes.data)
        for name in now:
            binding.bind_ortvalue_input(name, now[name])
            binding.bind_ortvalue_output(name + NEXT, after[name])
        return binding


def _choose(path: Path, provider: str, threads: int) -> tuple[ort.InferenceSession, str]:
    if provider != "auto":
        if provider not in PROVIDERS:
            raise SessionError(f"provider {provider!r}: there is auto, {', '.join(PROVIDERS)}")
        return _open(path, provider, threads), "asked for"
    if PROVIDERS["cuda"] not in ort.get_available_providers():
        return _open(path, "cpu", threads), f"no CUDA: {_installed()}"
    try:
        return _open(path, "cuda", threads), "CUDA is there"
    except SessionError as error:
        return _open(path, "cpu", threads), f"CUDA failed: {error}"


def _open(path: Path, provider: str, threads: int) -> ort.InferenceSession:
    if not path.is_file():
        raise SessionError(f"{path}: no such model file")
    name = PROVIDERS[provider]
    if name not in ort.get_available_providers():
        raise SessionError(f"provider {provider} is not in this ONNX Runtime ({_installed()}); "
                           f"{_cure(provider)}")
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what goes wrong comes back as an exception, once
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if provider != "cpu":
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        if hasattr(ort, "preload_dlls"):
            ort.preload_dlls()  # CUDA libraries out of site-packages
    try:
        session = ort.InferenceSession(str(path), options, providers=[name])
    except Exception as error:  # ONNX Runtime's exceptions share no base class
        if provider == "cpu":
            raise SessionError(f"{path}: not a usable ONNX model ({_first_line(error)}); "
                               "export it again") from error
        raise SessionError(f"{path.name}: provider {provider} cannot be used "
                           f"({_first_line(error)}); {_cure(provider)}") from error
    if session.get_providers()[0] != name:
        raise SessionError(f"{path.name}: provider {provider} was asked for and ONNX Runtime fell "
                           f"back to {session.get_providers()[0]}; {_cure(provider)}")
    return session


def _spec_of(path: Path, session: ort.InferenceSession) -> StreamSpec:
    try:
        spec = StreamSpec.from_metadata(session.get_modelmeta().custom_metadata_map)
    except SpecError as error:
        raise SessionError(f"{path}: {error}") from error
    want = {COMPRESSED: [spec.bins, 2 * CHANNELS], **{s.name: list(s.shape) for s in spec.states}}
    have = {i.name: list(i.shape) for i in session.get_inputs()}
    if want != have:
        raise SessionError(f"{path}: its inputs {have} are not what its StreamSpec says ({want})")
    return spec


def _installed() -> str:
    """Which ONNX Runtime packages are installed; two of them overwrite each other."""
    found = []
    for package in ("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml"):
        try:
            found.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            continue
    if len(found) > 1:
        return " and ".join(found) + " are both installed and overwrite each other: keep one"
    return f"{found[0]} is installed" if found else f"ONNX Runtime {ort.__version__}"


def _cure(provider: str) -> str:
    if provider in ("cuda", "tensorrt"):
        return ("it needs an NVIDIA driver and the gpu extra: pip uninstall onnxruntime, "
                "then pip install 'bandsplit-live[gpu]'; or run with --provider cpu")
    return "use --provider auto or cpu"


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200]
