"""Priority of one thread: as much as the system grants, and what is lost where it grants less.

Apart because every system has its own door, and because bench and engine must knock alike.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from dataclasses import dataclass

WORKER, CLOCK = 50, 60  # SCHED_FIFO levels; JACK's own threads run at 60 as we start it
_NICE = -11


@dataclass(frozen=True)
class Priority:
    text: str  # for people
    slack: int  # hops of slack that this calls for

    def __str__(self) -> str:
        return self.text


def raise_priority(level: int = WORKER) -> Priority:
    """Of the calling thread. Never raises: a refusal is part of the answer."""
    if sys.platform == "win32":
        return _windows()
    if sys.platform == "darwin":
        return _darwin()
    return _linux(level)


def normal_priority() -> Priority:
    return Priority("normal, as asked for; hops will be late when other programs run", 2)


def _linux(level: int) -> Priority:
    thread = threading.get_native_id()
    try:
        os.sched_setscheduler(thread, os.SCHED_FIFO, os.sched_param(level))
        return Priority(f"real-time (SCHED_FIFO {level})", 0)
    except PermissionError:
        pass
    cure = "an rtprio limit for your user (the audio group, on most systems) would grant it"
    try:
        os.setpriority(os.PRIO_PROCESS, thread, _NICE)
        return Priority(f"nice {_NICE}: real-time was refused; {cure}", 1)
    except PermissionError:
        return Priority(f"normal: real-time was refused, hops will be late when other programs "
                        f"run; {cure}", 2)


def _darwin() -> Priority:
    user_interactive = 0x21
    libc = ctypes.CDLL(None)
    if libc.pthread_set_qos_class_self_np(user_interactive, 0) == 0:
        return Priority("user-interactive quality of service: macOS gives no fixed deadline", 1)
    return Priority("normal: macOS refused the user-interactive class", 2)


def _windows() -> Priority:
    time_critical = 15
    kernel32 = ctypes.windll.kernel32  # type: ignore[attr-defined]
    kernel32.GetCurrentThread.restype = ctypes.c_void_p
    kernel32.SetThreadPriority.argtypes = [ctypes.c_void_p, ctypes.c_int]
    if kernel32.SetThreadPriority(kernel32.GetCurrentThread(), time_critical):
        return Priority("time-critical within a normal process, woken by polling", 1)
    return Priority("normal: Windows refused the time-critical class", 2)
