"""Keeps one engine process alive, from the control process.

An engine that dies, or whose heartbeat stops, is killed and replaced; the performance goes on at
the position where it was, because everything that counts lives in the shared block.
"""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from rt import process
from rt.messages import Finished, Hello, Ready, Refused, Say
from rt.rings import SharedBlock
from rt.settings import EngineError, EngineSettings
from rt.status import EngineInfo

START_S = 120.0  # the first start compiles, and a GPU provider may take its time
BEAT_LIMIT_S = 2.5  # of a running engine; busy hosts have been seen to stand still for 2 s
SLOW_LIMIT_S = 30.0  # of an engine that loads a model or opens a device
LEAVE_S = 2.0
BACKOFF_S = 0.5
HOPELESS = 5  # engines in a row that never came to run


class Supervisor:
    """`start`, `stop` and the properties belong to the control thread; from the first Ready on a
    thread of its own watches the engine. Fields it writes are single values, read as they are.
    """

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        self._context = multiprocessing.get_context("spawn")  # never fork: threads, PortAudio
        self._block: SharedBlock | None = None
        self._rate = 0
        self._process: BaseProcess | None = None
        self._connection: Connection
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="supervisor", daemon=True)
        self.info: EngineInfo | None = None
        self.state = "starting"
        self.message = ""
        self.respawns = 0

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    def start(self, meet: Callable[[Hello], SharedBlock]) -> EngineInfo:
        """meet: makes the block, and starts what plays into it, for an engine that says hello.

        Raises EngineError.
        """
        self._spawn()
        deadline = time.monotonic() + START_S
        while self.info is None:
            if not self._connection.poll(max(0.0, deadline - time.monotonic())):
                self.kill()
                raise EngineError(f"the engine did not start within {START_S:.0f} s")
            try:
                message = self._connection.recv()
            except EOFError:
                self.kill()
                raise EngineError("the engine process died while it started") from None
            if isinstance(message, Hello):
                self._settings = replace(self._settings, input=message.input,
                                         output=message.output)
                self._rate = message.sample_rate
                try:
                    self._block = meet(message)
                except Exception:
                    self.kill()
                    raise
                self._connection.send(self._block.name)
            elif isinstance(message, Refused):
                self.kill()
                raise EngineError(message.text)
            else:
                self._heed(message)
        self._thread.start()
        return self.info

    def stop(self) -> None:
        """Asks the engine to leave, and makes sure. Safe to call twice."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._block is not None:
            self._block.set("stop", 1)
        if self._process is not None:
            self._process.join(LEAVE_S)
            self.kill()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()

    def _spawn(self) -> None:
        here, there = self._context.Pipe()
        name = self._block.name if self._block is not None else None
        self._process = self._context.Process(
            target=process.main, name="bandsplit-live engine", daemon=True,
            args=(self._settings, there, name, self._rate or None))
        if self._block is not None:
            self._block.set("beat", 0)
        self._process.start()
        there.close()  # so that the engine's death is the end of file here
        self._connection = here

    def _heed(self, message: object) -> None:
        if isinstance(message, Ready):
            self.message = "" if self.info is None else "the audio is back"
            self.info, self.state = message.info, "running"
        elif isinstance(message, Say | Refused):
            self.message = message.text
        elif isinstance(message, Finished):
            self.state = "finished"

    def _watch(self) -> None:
        beat, beaten, failures = 0, time.monotonic(), 0
        looked = beaten
        while not self._stopping.is_set() and self.state != "finished":
            assert self._process is not None
            assert self._block is not None
            wait([self._connection, self._process.sentinel], 0.1)
            self._listen()
            if self.state == "running":
                failures = 0
            now, suspended = self._block.get("beat"), time.monotonic() - looked > 1
            looked = time.monotonic()
            if now != beat or suspended:  # ctrl-z stops both processes: no reason to kill one
                beat, beaten = now, looked
            limit = BEAT_LIMIT_S if beat else SLOW_LIMIT_S
            hung = time.monotonic() - beaten > limit
            if self.state == "finished" or not (hung or self._process.exitcode is not None):
                continue
            failures += self.state != "running"
            self._bury(hung)
            if failures >= HOPELESS:
                self.state = "failed"
                return
            if failures:
                self._stopping.wait(BACKOFF_S)
            self._spawn()
            beat, beaten = 0, time.monotonic()

    def _listen(self) -> None:
        try:
            while self._connection.poll():
                self._heed(self._connection.recv())
        except (EOFError, OSError):  # it died; its exit code says so too
            return

    def _bury(self, hung: bool) -> None:
        self.kill()
        if self.state == "running":
            self.respawns += 1
            self.state = "respawning"
            if hung:
                self.message = "the engine hung and is started again"
            elif not self.message.startswith("the audio device"):
                self.message = "the engine died and is started again"
        self._connection.close()
