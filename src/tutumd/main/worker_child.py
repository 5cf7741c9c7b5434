"""The worker of `tutumd serve` from the edge's view: a child process, replaced whenever it ends."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from threading import Event, Thread
from typing import Any

import structlog

from tutumd.errors import SettingsError

COMMAND = (sys.executable, "-P", "-m", "tutumd.main.work")
READY, STOP = b"ready\n", b"stop\n"

MAX_PAUSE_S = 10.0
"""Not longer than a lease: the obstacle to its start, such as an unavailable database, may be gone."""

HEALTHY_S = 60.0
"""After a worker that lived this long, the pauses start from 0 again."""

_SIGNALED_S = 0.25
"""Time for the edge to learn about a signal that the worker also received."""

_STOP_S = 10.0
_log = structlog.get_logger(__name__)


class WorkerChild:
    """The worker process. If the edge is the first process of a container, it reaps orphans here as well.

    Attributes:
        ready: Done when the first process works. Otherwise it raises the SystemExit of a process that has printed its
            reason, or a SettingsError.
        state: `ok`, or the reason why no worker runs.
    """

    def __init__(self, command: Sequence[str], options: Mapping[str, Any], *, lock: int, grace_s: float) -> None:
        """Start the process; `close` ends it.

        Args:
            command: A program with the function of `tutumd.main.work`.
            options: Options of `tutumd serve`.
            lock: File descriptor of the lock that it shares with the edge.
            grace_s: Maximum duration of its runs after a request to stop.
        """
        self.state = "starting"
        self._command = command
        self._options = dict(options)
        self._lock = lock
        self._grace_s = grace_s
        self.ready: Future[None] = Future()
        self._stop = Event()
        self._edge: socket.socket | None = None
        self._pid: int | None = None
        self._thread = Thread(target=self._keep_running, name="worker process", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop the process, and wait until it has ended."""
        self.stop()
        self._thread.join(self._grace_s + _STOP_S)
        if self._thread.is_alive() and self._pid:
            os.kill(self._pid, signal.SIGKILL)
            self._thread.join()

    def stop(self) -> None:
        """Request the end of the process after its runs or the grace period, and return immediately."""
        self._stop.set()
        if self._edge:
            with suppress(OSError):  # it has ended
                self._edge.sendall(STOP)

    def _keep_running(self) -> None:
        # The processes inherit this setting, so that a signal does not interrupt their imports.
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
        # Each process has the name of its dead predecessor, and takes over its actions.
        task = {"options": self._options, "name": str(uuid.uuid4()), "is_successor": False}
        pause_s = next_pause_s = 0.0
        while not self._stop.wait(pause_s):
            began = time.monotonic()
            try:
                code = self._run(task)
                ended = f"ended with exit code {code}" if code >= 0 else f"was ended by signal {-code}"
            except OSError as error:
                code, ended = 0, f"cannot be started: {error}"
            if not self.ready.done():
                self.ready.set_exception(SystemExit(code) if code > 0 else SettingsError(f"the worker {ended}"))
                return
            task["is_successor"] = True
            pause_s = 0.0 if time.monotonic() - began > HEALTHY_S else next_pause_s
            next_pause_s = min(2 * pause_s + 1, MAX_PAUSE_S)
            self.state = f"{ended}; a new one starts in {pause_s:g} s"
            if not self._stop.wait(_SIGNALED_S):
                _log.warning("worker is not running", state=self.state)

    def _run(self, task: Mapping[str, object]) -> int:
        """Run one process until it ends, and return its exit code. Raises OSError if it cannot be started."""
        edge, other = socket.socketpair()
        with edge:
            with other:
                edge.sendall(json.dumps(task, default=str).encode() + b"\n")
                self._edge = edge  # from here on, `stop` reaches the process, after the task
                if self._stop.is_set():
                    return 0
                process = subprocess.Popen(self._command, stdin=other.fileno(), pass_fds=[self._lock])
            self._pid = process.pid
            with suppress(OSError):
                if edge.recv(len(READY)):
                    self.state = "ok"
                    if not self.ready.done():
                        self.ready.set_result(None)
            ended = 0
            while ended != process.pid:  # other children are orphans that the kernel assigned to this process
                ended, status = os.waitpid(-1, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            return process.returncode
