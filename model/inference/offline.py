"""From a sound file to stems at a chosen rate, a block at a time, whatever does the separating.

Apart from the command line so that other programs can call it: everything here is a generator
over blocks, so memory does not grow with the length of the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import numpy as np
import soxr

from model.sound import Sound
from rt.spec import CHANNELS

REST = "accompaniment"
QUALITY = "VHQ"  # of soxr: nobody waits for it here


class OfflineError(RuntimeError):
    """Something that cannot be separated with; the message is one line for the user."""


class OfflineSeparator(Protocol):
    """The streaming model (`streamed.Streamed`) or the reference (`segments.Segmented`)."""

    sample_rate: int
    stems: tuple[str, ...]

    def separate(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Blocks [n, 2] -> stems [m, stems, 2], aligned with what came in, in the end as many."""
        ...


class Outputs:
    """Which stems of a separator are wanted, and under which names."""

    def __init__(self, separator: OfflineSeparator, target: str | None = None,
                 rest: bool = False) -> None:
        """target: one stem, or None for all; rest: and the mixture minus it, as `accompaniment`.

        Raises OfflineError where the separator has no such stem.
        """
        if target is not None and target not in separator.stems:
            raise OfflineError(f"no stem {target!r}: this model gives "
                               f"{', '.join(separator.stems)}")
        if rest and target is None:
            raise ValueError("the rest of what?")
        self._separator, self._rest = separator, rest
        stems = separator.stems if target is None else (target,)
        self._chosen = [separator.stems.index(stem) for stem in stems]
        self.names = (*stems, REST) if rest else stems

    def separate(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Blocks [n, 2] at the separator's rate -> [m, names, 2]"""
        if not self._rest:
            for stems in self._separator.separate(blocks):
                yield stems[:, self._chosen]
            return
        mixture = np.zeros((0, CHANNELS), np.float32)  # what no stems have come back for

        def kept() -> Iterator[np.ndarray]:
            nonlocal mixture
            for block in blocks:
                mixture = np.concatenate([mixture, block])
                yield block

        for stems in self._separator.separate(kept()):
            here, mixture = np.split(mixture, [len(stems)])
            stem = stems[:, self._chosen[0]]
            yield np.stack([stem, here - stem], 1)


def separate_sound(sound: Sound, outputs: Outputs, model_rate: int, rate: int,
                   progress: Callable[[int], object] = lambda samples: None,
                   ) -> Iterator[np.ndarray]:
    """Blocks [m, names, channels] at `rate`, with the file's own number of channels: a mono file
    goes in doubled and comes out as the mean of both sides.

    In the end there are as many samples as in the file, or, at another rate, as many as its
    length amounts to. `progress` is called with the samples of each block that was read.
    Raises SoundError.
    """
    taken = 0

    def stereo() -> Iterator[np.ndarray]:
        nonlocal taken
        for block in sound.blocks():
            taken += len(block)
            yield block if sound.channels == CHANNELS else block.repeat(CHANNELS, 1)
            progress(len(block))

    stems = outputs.separate(resampled(stereo(), sound.sample_rate, model_rate))
    given, last = 0, np.zeros((0, len(outputs.names), sound.channels), np.float32)
    for block in resampled(stems, model_rate, rate):
        # a resampler's last block may be a sample too long, never an earlier one
        wanted = length_at(rate, taken, sound.sample_rate) - given
        last = block[:wanted] if sound.channels == CHANNELS else \
            block[:wanted].mean(2, keepdims=True)
        given += len(last)
        yield last
    missing = length_at(rate, taken, sound.sample_rate) - given
    yield np.zeros((missing, *last.shape[1:]), np.float32)


def length_at(rate: int, samples: int, sample_rate: int) -> int:
    """Samples at `rate` that last as long as so many at `sample_rate`, rounded."""
    return (2 * samples * rate + sample_rate) // (2 * sample_rate)


def resampled(blocks: Iterable[np.ndarray], rate: int, to_rate: int) -> Iterator[np.ndarray]:
    """Blocks [n, ...] float32 at `rate` -> blocks [m, ...] at `to_rate`, without a shift."""
    if rate == to_rate:
        yield from blocks
        return
    stream, shape = None, ()
    for block in blocks:
        if stream is None:
            shape = block.shape[1:]
            stream = soxr.ResampleStream(rate, to_rate, int(np.prod(shape)), quality=QUALITY)
        yield stream.resample_chunk(_flat(block)).reshape(-1, *shape)
    if stream is not None:
        rest = stream.resample_chunk(_flat(np.zeros((0, *shape), np.float32)), last=True)
        yield rest.reshape(-1, *shape)


def _flat(block: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(block.reshape(len(block), int(np.prod(block.shape[1:]))))
