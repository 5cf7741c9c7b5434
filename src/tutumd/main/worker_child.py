"""The worker of `tutumd serve` as the edge sees it: a child process, and a new one whenever that ends."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from threading import Event, Lock, Thread
from typing import Any, Self

import structlog

from tutumd.errors import SettingsError
from tutumd.main.worker_process import STOP

COMMAND = (sys.executable, "-P", "-m", "tutumd.main.worker_process")
RESTART_S = (0.25, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
"""Pauses before the first new worker, the second, and so on. The first one is long enough for the edge to learn of a
signal that it got, too."""

HEALTHY_S = 60.0
"""A worker that lived longer than this starts the pauses anew."""

_STOP_S = 10.0
_log = structlog.get_logger(__name__)


class WorkerChild:
    """The worker process. As the first process of a container, the edge reaps orphans here as well."""

    def __init__(self, command: Sequence[str], options: Mapping[str, Any], *, lock: int, grace_s: float) -> None:
        """Prepare the process; entering the block starts it.

        Args:
            command: A program that does what `tutumd.main.worker_process` does.
            options: Of `tutumd serve`.
            lock: File descriptor of the lock that it holds together with the edge.
            grace_s: How long its runs may take when it is to stop.
        """
        self._command = command
        self._options = options
        self._lock = lock
        self._grace_s = grace_s
        self._stop = Event()
        self._started = Event()
        self._exit_code: int | None = None
        self._state = "starting"
        self._restart_at = 0.0
        self._dead: list[str] = []
        self._starting = Lock()
        self._edge: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = Thread(target=self._keep_running, name="worker process", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Wait until the process has ended."""
        self.stop()
        self._thread.join(self._grace_s + _STOP_S)
        if self._thread.is_alive() and self._process:
            os.kill(self._process.pid, signal.SIGKILL)
            self._thread.join()

    def wait_until_ready(self) -> None:
        """Wait until the first process works. Its error ends this one, too, with the same exit code."""
        self._started.wait()
        if self._exit_code is None:
            return
        if self._exit_code > 0:
            raise SystemExit(self._exit_code)  # it has said why
        raise SettingsError(f"the worker {_describe(self._exit_code)} before it was ready")

    def state(self) -> str:
        """Return `ok`, or why nobody works."""
        left_s = self._restart_at - time.monotonic()
        return f"{self._state}; a new one starts in {left_s:.0f} s" if left_s > 0 else self._state

    def stop(self) -> None:
        """Tell the process to end when its runs have ended, or its grace is over. Does not wait for that."""
        with self._starting:
            self._stop.set()
            if self._edge:
                with suppress(OSError):
                    self._edge.sendall(STOP)

    def _keep_running(self) -> None:
        restarts = 0
        while True:
            began = time.monotonic()
            exit_code = self._run()
            if exit_code is None:
                return
            if not self._started.is_set():
                self._exit_code = exit_code
                self._started.set()
                return
            restarts = 0 if time.monotonic() - began > HEALTHY_S else restarts
            pause_s = RESTART_S[min(restarts, len(RESTART_S) - 1)]
            restarts += 1
            self._state, self._restart_at = _describe(exit_code), time.monotonic() + pause_s
            if self._stop.wait(pause_s):
                return
            _log.warning("worker ended, a new one starts", reason=self._state, after_s=pause_s)

    def _run(self) -> int | None:
        """Run one process until it ends, and return its exit code; None if it was not to be started."""
        name = str(uuid.uuid4())
        self._edge, other = socket.socketpair()
        with self._edge, other:
            with self._starting:
                if self._stop.is_set():
                    return None
                self._process = subprocess.Popen(self._command, stdin=other.fileno(), pass_fds=[self._lock])
            other.close()
            task = {"options": dict(self._options), "name": name, "predecessors": self._dead}
            with suppress(OSError):
                self._edge.sendall(json.dumps(task, default=str).encode() + b"\n")
                if self._edge.recv(100):
                    self._state, self._dead = "ok", []
                    self._started.set()
            self._dead.append(name)
            return self._reap(self._process)

    def _reap(self, process: "subprocess.Popen[bytes]") -> int:
        """Wait for the process, and for orphans that the kernel gave to this one as the first of a container."""
        while True:
            pid, status = os.waitpid(-1, 0)
            if pid == process.pid:
                process.returncode = os.waitstatus_to_exitcode(status)
                return process.returncode


def _describe(exit_code: int) -> str:
    if exit_code < 0:
        return f"was ended by {signal.Signals(-exit_code).name}"
    return f"ended with exit code {exit_code}"
