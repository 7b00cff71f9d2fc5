"""WavWriter: a float32 WAV that is readable at every moment and may pass 4 GB.

Apart from the recorder because it is a file format and nothing else. A library writer would do for
short files; here a full disk must leave whole samples behind and a crash a valid header, so the
few bytes of header are ours: space for RF64's 64-bit sizes (EBU Tech 3306) is kept from the start
and used when the file outgrows plain WAV.
"""

from __future__ import annotations

import os
import struct
from io import FileIO
from pathlib import Path

import numpy as np

FLOAT_FORMAT = 3
BYTES = 4
HEADER = 92  # RIFF 12, JUNK or ds64 36, fmt 24, fact 12, data 8
LARGEST_WAV = 0xFFFFFFFF - HEADER


class WavWriter:
    """One file, one thread. Every method raises OSError as the disk does.

    After an error the file is still open: `truncate` and `close` leave it valid.
    """

    def __init__(self, path: Path, channels: int) -> None:
        """Creates the file; raises FileExistsError rather than overwrite one."""
        self.path = path
        self.channels = channels
        self.sample_rate = 0
        self.samples = 0  # written, per channel
        self._file = FileIO(path, "x")

    def begin(self, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self.update_header()

    def write(self, samples: np.ndarray) -> None:
        """samples [n, channels] float32, appended whole or counted as far as they went."""
        data = memoryview(samples.astype("<f4").tobytes())
        frame = BYTES * self.channels
        start = HEADER + self.samples * frame
        self._file.seek(start)
        done = 0
        try:
            while done < len(data):  # a raw write may be short where the disk is nearly full
                done += self._file.write(data[done:])
        finally:
            self.samples += done // frame

    def truncate(self, samples: int) -> None:
        """Shortens the file to its first `samples` samples, or to the whole ones it has."""
        self.samples = min(self.samples, samples)
        self._file.truncate(HEADER + self.samples * BYTES * self.channels)
        self.update_header()

    def update_header(self) -> None:
        self._file.seek(0)
        self._file.write(self._header())

    def close(self) -> None:
        """Ends the file with a header that matches it, on the disk and not only in a cache.

        A second call does nothing.
        """
        if self._file.closed:
            return
        try:
            self.update_header()
            os.fsync(self._file.fileno())
        finally:
            self._file.close()

    def discard(self) -> None:
        self._file.close()
        self.path.unlink()

    def _header(self) -> bytes:
        frame = BYTES * self.channels
        size = self.samples * frame
        fmt = struct.pack("<4sIHHIIHH", b"fmt ", 16, FLOAT_FORMAT, self.channels,
                          self.sample_rate, self.sample_rate * frame, frame, 8 * BYTES)
        fact = struct.pack("<4sII", b"fact", 4, min(self.samples, 0xFFFFFFFF))
        if size <= LARGEST_WAV:
            riff = struct.pack("<4sI4s", b"RIFF", HEADER - 8 + size, b"WAVE")
            room = struct.pack("<4sI28x", b"JUNK", 28)
            data = struct.pack("<4sI", b"data", size)
        else:
            riff = struct.pack("<4sI4s", b"RF64", 0xFFFFFFFF, b"WAVE")
            room = struct.pack("<4sIQQQI", b"ds64", 28, HEADER - 8 + size, size, self.samples, 0)
            data = struct.pack("<4sI", b"data", 0xFFFFFFFF)
        return riff + room + fmt + fact + data
