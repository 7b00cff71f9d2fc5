"""The clock: drives the callback in real time where no sound device does.

Apart because it stands where a stream would: same `start`, `active` and `close`.
"""

from __future__ import annotations

import threading
import time

from rt.binding import Binding
from rt.priority import CLOCK, raise_priority


class Clock:
    """`start` and `close` belong to the engine's main thread; the callback runs on the clock's
    own. It never catches up: a stall is time lost, as on a sound card."""

    def __init__(self, callback: Binding, block: int, rate: int, realtime: bool) -> None:
        self._callback, self._block, self._rate = callback, block, rate
        self._realtime = realtime
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="clock", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def active(self) -> bool:
        return self._thread.is_alive()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(1.0)

    def _run(self) -> None:
        if self._realtime:
            raise_priority(CLOCK)
        period = self._block / self._rate
        due = time.perf_counter()
        while not self._stop.is_set():
            self._callback.call(None, None, self._block)
            due = max(due + period, time.perf_counter() - period)
            time.sleep(max(0.0, due - time.perf_counter()))
