"""A real JACK server and a software sound card for tests, each test in a process of its own.

`jack_server()` is the server as a context manager (it skips the test, loudly, where jackd is not
installed); `Card` plays into whatever is connected to it and records what comes back. PortAudio
looks for servers once per process and hangs on dead ones, so `isolated` runs a function of a test
module in a fresh interpreter, with a deadline after which everything it started is killed.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bench.jackserver import Card, JackServer

__all__ = ["Card", "JackServer", "isolated", "jack_server"]
ROOT = Path(__file__).parent.parent


def jack_server(rate: int = 44_100, period: int = 256) -> JackServer:
    if shutil.which("jackd") is None:
        pytest.skip("NOT TESTED: jackd is not installed, no real audio system to test with "
                    "(Debian: apt-get install --no-install-recommends jackd2 libportaudio2)")
    return JackServer(rate, period)


def isolated(module: str, function: str, *arguments: object, timeout: float = 40,
             environment: dict[str, str] | None = None) -> str:
    """Calls module.function(*arguments), all reprs, in a fresh interpreter -> what it printed.

    Fails the test when it raises or does not end in time.
    """
    code = f"import {module}; {module}.{function}(*{arguments!r})"
    path = os.pathsep.join((str(ROOT), str(ROOT / "tests")))
    child = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, text=True, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**os.environ, "PYTHONPATH": path, **(environment or {})})
    try:
        out, _ = child.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        out, _ = child.communicate()
        pytest.fail(f"{function} was still running after {timeout} s; it said:\n{out}")
    assert child.returncode == 0, f"{function} failed:\n{out}"
    return out
