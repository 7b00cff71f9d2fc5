"""The engine process: one audio stream, one worker, and nothing else.

Apart because audio must not share a Python interpreter with anything that talks to people. It is
spawned, told what to do by EngineSettings, and leaves with os._exit: interpreter exit hangs on a
dead JACK server. If its parent dies, it leaves too.
"""

from __future__ import annotations

import contextlib
import gc
import math
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TypeVar

from rt import devices
from rt.binding import Binding, Wiring
from rt.callback import FROM_DEVICE, FROM_SILENCE, FROM_SOURCE
from rt.clock import Clock
from rt.devices import DeviceError, End, Stream
from rt.messages import Finished, Hello, Ready, Refused, Say
from rt.resampling import slack_samples
from rt.rings import UNKNOWN, BlockError, SharedBlock
from rt.separator import EqualShares, Masker
from rt.settings import DEMO, NULL, EngineError, EngineSettings
from rt.sources import SourceError, is_file
from rt.spec import StreamSpec
from rt.status import EngineInfo, LatencyLine
from rt.worker import Worker

BEAT_S = 0.05
STALL_S = 2.0  # without a callback: the device is gone
RETRY_S = 0.5
FIRST_BLOCK_S = 5.0
FLUSH_S = 5.0
_T = TypeVar("_T")
_SPOKEN = {DEMO: "demo song", NULL: "silence"}  # inputs, for people


def main(settings: EngineSettings, connection: Connection, block_name: str | None,
         sample_rate: int | None) -> None:
    """Entry of the spawned process. block_name and sample_rate: of the performance to take up
    after another engine died; None for a new one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl-c is the control process's to handle
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    code = 0
    with contextlib.suppress(BrokenPipeError):  # the control process is gone: so are we
        try:
            _Performance(settings, connection, block_name, sample_rate).run()
        except (EngineError, DeviceError, BlockError, SourceError) as error:
            code = 1
            connection.send(Refused(str(error)))
        except Exception as error:
            code = 1
            traceback.print_exc()
            connection.send(Refused(f"the engine failed: {error!r}"))
    sys.stderr.flush()
    os._exit(code)


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


class _Performance:
    """One engine's life, on the main thread of its process."""

    def __init__(self, settings: EngineSettings, connection: Connection,
                 block_name: str | None, sample_rate: int | None) -> None:
        self._settings, self._connection = settings, connection
        self._block_name, self._pinned_rate = block_name, sample_rate
        self._warnings: list[str] = []
        self._worker = Worker(self._masker, settings.slack, settings.realtime)
        self._model, self._provider, self._reason = "equal shares", "none", "no network"
        self._block: SharedBlock
        self._ends: list[End] = []

    def run(self) -> None:
        spec = self._worker.load().spec
        if self._block_name is None or self._pinned_rate is None:
            self._resolve(spec)
            self._block = self._shake_hands(spec)
        else:  # take up a performance that another engine left
            self._block = SharedBlock.attach(self._block_name, len(spec.stems), self._pinned_rate)
            self._block.set("block_max", 0)
            self._block.set("block_gcd", 0)
            self._retry(lambda: self._resolve(spec))
        self._block.touch()
        self._worker.start(self._block, self._rate)
        self._block.set("alignment", self._worker.chain.alignment)
        callback = Binding(self._block, self._wiring(), self._rate, self._settings.ramp_ms,
                           self._worker.wake.fd, self._worker.chain.wake_step)
        gc.collect()  # now: it holds the GIL for longer than a hop
        gc.freeze()
        if self._block_name is None:
            stream = self._start(callback)
        else:
            stream = self._retry(lambda: self._start(callback))
        self._await_first_block(stream)
        info = self._info(spec, stream)
        self._block.add("beat", 1)  # from here on silence means that it hangs
        self._connection.send(Ready(info))
        self._watch(stream, info)

    def _masker(self) -> Masker:
        settings = self._settings
        if settings.model is None:
            if settings.spec is None:
                raise EngineError("no model: give an .onnx file or a tier")
            return EqualShares(settings.spec)
        from rt.session import Session, SessionError  # ONNX Runtime, only where a network runs
        try:
            session = Session(settings.model, settings.provider, settings.threads)
        except SessionError as error:
            raise EngineError(str(error)) from error
        self._model = Path(settings.model).name
        self._provider, self._reason = session.provider, session.provider_reason
        return session

    def _resolve(self, spec: StreamSpec) -> None:
        """What plays in and out, and how fast. A default device that is not there gives way to
        the demo and to null; one that was asked for does not."""
        settings, self._ends = self._settings, []
        self._input = self._resolve_end("input", settings.input, settings.input_channels, DEMO,
                                        "the demo song plays instead")
        self._output = self._resolve_end("output", settings.output, settings.output_channels,
                                         NULL, "nothing is heard (null output)")
        asked = self._pinned_rate or settings.samplerate
        self._rate = devices.choose_rate(self._ends, asked, spec.sample_rate) if self._ends \
            else asked or spec.sample_rate

    def _resolve_end(self, kind: devices.Kind, name: str | int | None, pair: tuple[int, int],
                     otherwise: str, consequence: str) -> str:
        """-> a name that means the same next time."""
        if name in (NULL, DEMO) or is_file(name):
            return str(name)
        try:
            device = devices.resolve(kind, name)
        except DeviceError as error:
            if name is not None:
                raise
            self._warnings.append(f"{error}: {consequence}")
            return otherwise
        self._ends.append(End(kind, device, devices.check_pair(kind, device, pair)))
        return f"{device.name}, {device.hostapi}"

    def _shake_hands(self, spec: StreamSpec) -> SharedBlock:
        kinds = {end.kind for end in self._ends}
        self._connection.send(Hello(
            spec, self._rate, self._input, self._output,
            feeds="input" not in kinds and self._input != NULL,
            writes="output" not in kinds and self._output != NULL))
        return SharedBlock.attach(self._connection.recv(), len(spec.stems), self._rate)

    def _retry(self, attempt: Callable[[], _T]) -> _T:
        """Until the device, or its server, is back."""
        said = ""
        while True:
            try:
                return attempt()
            except DeviceError as error:
                if str(error) != said:
                    said = str(error)
                    self._connection.send(Say(f"{said}; trying again"))
            if self._block.get("stop"):
                os._exit(0)
            self._block.add("beat", 1)
            time.sleep(RETRY_S)
            self._block.set("beat", 0)  # what follows may be slow
            devices.rescan()

    def _wiring(self) -> Wiring:
        ends = {end.kind: (end.channels(self._rate), end.pair) for end in self._ends}
        in_channels, in_pair = ends.get("input", (2, (0, 1)))
        out_channels, out_pair = ends.get("output", (2, (0, 1)))
        takes = FROM_DEVICE if "input" in ends else \
            FROM_SILENCE if self._input == NULL else FROM_SOURCE
        return Wiring(takes, in_channels, in_pair, out_channels, out_pair)

    def _start(self, callback: Binding) -> Stream | Clock:
        settings, spec = self._settings, self._worker.chain.spec
        if self._ends:
            stream = Stream(self._ends, rate=self._rate, blocksize=settings.blocksize,
                            latency=settings.latency, callback=callback.address,
                            user=callback.user)
            block = settings.blocksize
        else:
            block = settings.blocksize or slack_samples(spec, self._rate, 1)
            stream = Clock(callback, block, self._rate, settings.realtime)
        if block:  # else the worker waits for the first block to come
            self._worker.fix_queue(block, math.gcd(block, self._block.get("played")))
        stream.start()
        return stream

    def _await_first_block(self, stream: Stream | Clock) -> None:
        deadline = time.monotonic() + FIRST_BLOCK_S
        while self._block.get("block_max") == 0 or self._block.get("queue") == UNKNOWN:
            if time.monotonic() > deadline or not stream.active:
                raise EngineError(f"{self._output if self._ends else 'the clock'}: opened, but no "
                                  "audio came: is another program holding the device?")
            time.sleep(0.005)

    def _info(self, spec: StreamSpec, stream: Stream | Clock) -> EngineInfo:
        return EngineInfo(
            spec=spec, input=_SPOKEN.get(self._input, self._input),
            output=self._output, sample_rate=self._rate,
            block=self._block.get("block_max"), slack=self._worker.slack,
            provider=self._provider, provider_reason=self._reason,
            priority=self._worker.priority.text, model=self._model,
            latency=tuple(self._budget(spec, stream)), warnings=tuple(self._warnings))

    def _budget(self, spec: StreamSpec, stream: Stream | Clock) -> list[LatencyLine]:
        """The first lines add up to alignment + queue exactly; those of the device follow."""
        chain, (block, grid) = self._worker.chain, self._worker.fixed or (0, 0)
        slack, waiting = self._worker.slack, chain.waiting(block, grid)
        gathering = chain.gathering(block, grid)
        lines = [
            LatencyLine("window: synthesis - hop", chain.alignment),
            LatencyLine("gathering a hop from blocks", gathering),
            LatencyLine("one block to compute in", block),
            LatencyLine(f"slack of {slack} hop{'s' * (slack != 1)}",
                        slack_samples(spec, self._rate, slack)),
            LatencyLine("resampling", waiting - block - gathering),
        ]
        if isinstance(stream, Stream):
            lines += self._device_lines(stream)
        return [line for line in lines if line.samples]

    def _device_lines(self, stream: Stream) -> list[LatencyLine]:
        told = stream.latency_s()
        if told is not None:
            return [LatencyLine(f"device {end.kind}, as the driver tells",
                                round(seconds * self._rate), device=True)
                    for end, seconds in zip(self._ends, told, strict=True)]
        self._warnings.append("the device's own latency is not in the sum, the driver does not "
                              "tell it: measure it with python -m bench.loopback")
        if stream.jack and self._settings.blocksize:
            return [LatencyLine("fixed blocks on JACK: use --blocksize 0",
                                self._settings.blocksize, device=True)]
        return []

    def _watch(self, stream: Stream | Clock, info: EngineInfo) -> None:
        """Beats until the end, the control process's word, or the loss of the device."""
        block = self._block
        fixed, played, still = self._worker.fixed, UNKNOWN, 0
        while not block.get("stop"):
            block.add("beat", 1)
            now = block.get("played")
            if self._over(now):
                self._flush()
                self._connection.send(Finished())
                break
            still = still + 1 if now == played else 0
            played = now
            if not stream.active or still * BEAT_S > STALL_S:
                self._connection.send(Say("the audio device is gone; trying to get it back"))
                os._exit(1)
            if self._worker.fixed != fixed:
                fixed = self._worker.fixed
                samples = block.get("queue") + block.get("alignment")
                self._connection.send(Say(
                    f"the device now gives blocks of {block.get('block_max')}: latency is "
                    f"{1e3 * samples / self._rate:.1f} ms before the device's own"))
            time.sleep(BEAT_S)
        block.set("beat", 0)
        self._worker.stop()
        stream.close()

    def _over(self, played: int) -> bool:
        length, queue = self._block.get("length"), self._block.get("queue")
        return length != UNKNOWN and queue != UNKNOWN \
            and played >= length + queue + self._block.get("alignment")

    def _flush(self) -> None:
        """So that recordings get the last hop."""
        deadline = time.monotonic() + FLUSH_S
        while not self._worker.done and time.monotonic() < deadline:
            time.sleep(0.005)
