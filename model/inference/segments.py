"""The reference network over a whole signal: overlapping segments, averaged. Needs torch.

The published inference (section 4.4 of the paper and the public code) divides the sum of the
segments by segment / step, the mean number that overlap; where that is not a whole number, some
samples have more and some have fewer, and the level ripples. Here every sample is divided by the
true number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from model.inference.offline import OfflineError
from model.reference.checkpoint import Reference
from model.reference.network import ReferenceSTFT
from rt.spec import CHANNELS


class Segmented:
    """An offline separator for one target; one signal at a time.

    Like the published code it begins with segments that are mostly silence before the signal,
    and ends with ones that are mostly silence after it, so that the ends are averaged over as
    many segments as the middle. Memory holds one batch, however long the signal is.
    """

    def __init__(self, reference: Reference, device: str | torch.device = "auto",
                 batch: int | None = None, step: int | None = None) -> None:
        """device: auto, cpu, cuda or PyTorch's own; batch: segments at once, by default one on
        the CPU and the published number elsewhere; step: samples between segments, by default as
        published.

        Raises OfflineError where the device is missing or the step does not fit.
        """
        config = reference.network.config
        self.sample_rate = config.sr
        self.stems = (reference.target,)
        self._segment = config.segment
        self._step = reference.step if step is None else step
        if not 0 < self._step <= self._segment:
            raise OfflineError(f"a step of {self._step} samples leaves gaps between segments of "
                               f"{self._segment}")
        self._device = torch_device(device)
        self._batch = batch or (1 if self._device.type == "cpu" else reference.batch)
        self._network: Callable[[Tensor], Tensor] = reference.network.to(self._device)
        self._stft = ReferenceSTFT(config).to(self._device)

    def separate(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Blocks [n, 2] at `sample_rate` -> stems [m, 1, 2], aligned with what came in to the
        sample, and in the end as many. Raises OfflineError where the device's memory is short."""
        segment, step = self._segment, self._step
        total = np.zeros((segment, CHANNELS), np.float32)  # of estimates, from the newest segment
        count = np.zeros((segment, 1), np.float32)  # of estimates
        before = segment - step  # silence still to be passed over
        queue = self._segments(blocks)
        while segments := list(islice(queue, self._batch)):
            estimates = self._run(np.stack([samples for samples, _ in segments]))
            for estimate, (_, real) in zip(estimates, segments, strict=True):
                total += estimate
                count += 1
                done = total[:step] / count[:step]  # no later segment reaches these
                yield done[before:real, None]
                before = max(0, before - step)
                total[:-step], total[-step:] = total[step:].copy(), 0
                count[:-step], count[-step:] = count[step:].copy(), 0

    def _segments(self, blocks: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, int]]:
        """Every segment [segment, 2], and how many of its first samples the signal still has."""
        segment, step = self._segment, self._step
        held = np.zeros((segment - step, CHANNELS), np.float32)
        for block in blocks:
            held = np.concatenate([held, block])
            while len(held) >= segment:
                yield held[:segment], segment
                held = held[step:]
        while len(held) > 0:
            yield np.pad(held, ((0, segment - len(held)), (0, 0))), len(held)
            held = held[step:]

    @torch.inference_mode()
    def _run(self, segments: np.ndarray) -> np.ndarray:
        """[B, segment, 2] -> the same"""
        try:
            signal = torch.from_numpy(segments).to(self._device).transpose(1, 2)
            estimate = self._stft.inverse(self._network(self._stft(signal)), self._segment)
            return estimate.transpose(1, 2).cpu().numpy()
        except torch.OutOfMemoryError as error:
            raise OfflineError(f"the device's memory does not hold {len(segments)} segments: "
                               "use a smaller --batch") from error


def torch_device(name: str | torch.device) -> torch.device:
    """Raises OfflineError where there is none of that name."""
    if isinstance(name, torch.device):
        return name
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise OfflineError(f"device cuda: PyTorch {torch.__version__} sees no CUDA device; it "
                           "needs an NVIDIA driver and a CUDA build of PyTorch, or use -d cpu")
    return torch.device("cuda" if available and name != "cpu" else "cpu")
