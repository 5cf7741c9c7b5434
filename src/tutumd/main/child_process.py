"""The worker and the notifier of `tutumd serve`: child processes that are replaced whenever they end, and the side of
the child: requests to stop it, and its link to the edge.
"""

import ctypes
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from io import FileIO
from queue import Empty, SimpleQueue
from threading import Event, Lock, Thread
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import structlog

from tutumd.errors import SettingsError, UnavailableError

if TYPE_CHECKING:
    from tutumd.settings import Settings

COMMAND = (sys.executable, "-P", "-m", "tutumd.main.work")
NOTIFIER_COMMAND = (sys.executable, "-P", "-m", "tutumd.main.notify")
READY, STOP = b"ready\n", b"stop\n"

MAX_PAUSE_S = 10.0
"""Not longer than a lease: the obstacle to its start, such as an unavailable database, may be gone."""

HEALTHY_S = 60.0
"""After a process that lived this long, the pauses start from 0 again."""

NEED_POLL_S = 2.0

_SIGNALED_S = 0.25
"""Time for the edge to learn about a signal that the process also received."""

_STOP_S = 10.0

_REAP_POLL_S = 0.02
"""Time for the thread of a process to reap it."""

_STARTING = Lock()
_started: set[int] = set()
_log = structlog.get_logger(__name__)


def _start(command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """Start a process. Raises OSError if it cannot be started."""
    with _STARTING:  # `_wait` cannot take its end for the end of an orphan
        process = subprocess.Popen(command, **options)
        _started.add(process.pid)
        return process


def _wait(process: subprocess.Popen[bytes]) -> int:
    """Wait until a process has ended, and return its exit code. If the edge is the first process of a container, it
    also reaps orphans here.
    """
    while process.poll() is None:
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)  # it does not reap
        with _STARTING, suppress(ChildProcessError):  # another thread may reap the same orphan
            if ended and ended.si_pid not in _started:
                os.waitpid(ended.si_pid, os.WNOHANG)
        time.sleep(_REAP_POLL_S)
    _started.discard(process.pid)
    return process.returncode


class ChildProcess:
    """A process that the edge starts, watches and stops.

    Attributes:
        ready: Done when the first process works. Otherwise it raises the SystemExit of a process that has printed its
            reason, or a SettingsError. Without `is_needed` only.
        state: `ok`, or the reason why no process runs.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        settings: SimpleNamespace,
        *,
        lock: int,
        grace_s: float,
        is_needed: Callable[[], bool] | None = None,
    ) -> None:
        """Start the process; `close` ends it.

        Args:
            name: `worker` or `notifier`, for the log.
            command: A program with the function of `tutumd.main.work` or `tutumd.main.notify`.
            settings: Settings of `tutumd serve`.
            lock: File descriptor of the lock that it shares with the edge.
            grace_s: Maximum duration of its work after a request to stop.
            is_needed: Start the process when it first returns true, and again if the first process cannot start.
        """
        self.state = "ok" if is_needed else "starting"
        self._name = name
        self._command = command
        self._settings = pickle.dumps(settings).hex()
        self._lock = lock
        self._grace_s = grace_s
        self._is_needed = is_needed
        self.ready: Future[None] = Future()
        self._stop = Event()
        self._edge: socket.socket | None = None
        self._pid: int | None = None
        self._thread = Thread(target=self._keep_running, name=f"{name} process", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop the process, and wait until it has ended."""
        self.stop()
        self._thread.join(self._grace_s + _STOP_S)
        if self._thread.is_alive() and self._pid:
            os.kill(self._pid, signal.SIGKILL)
            self._thread.join()

    def stop(self) -> None:
        """Request the end of the process after its work or the grace period, and return immediately."""
        self._stop.set()
        if self._edge:
            with suppress(OSError):  # it has ended
                self._edge.sendall(STOP)

    def _keep_running(self) -> None:
        # The processes inherit this setting, so that a signal does not interrupt their imports.
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
        # Each process has the name of its dead predecessor, and takes over its actions.
        task = {"settings": self._settings, "name": str(uuid.uuid4()), "is_successor": False}
        pause_s = next_pause_s = 0.0
        self._wait_for_need()
        while not self._stop.wait(pause_s):
            began = time.monotonic()
            try:
                code = self._run(task)
                ended = f"ended with exit code {code}" if code >= 0 else f"was ended by signal {-code}"
            except OSError as error:
                code, ended = 0, f"cannot be started: {error}"
            if not self.ready.done() and self._is_needed is None:
                self.ready.set_exception(SystemExit(code) if code > 0 else SettingsError(f"the {self._name} {ended}"))
                return
            task["is_successor"] = True
            pause_s = 0.0 if time.monotonic() - began > HEALTHY_S else next_pause_s
            next_pause_s = min(2 * pause_s + 1, MAX_PAUSE_S)
            self.state = f"{ended}; a new one starts in {pause_s:g} s"
            if not self._stop.wait(_SIGNALED_S):
                _log.warning(f"{self._name} is not running", state=self.state)

    def _wait_for_need(self) -> None:
        """Wait until the process is needed. The first check is late, so that the process does not slow the start of the
        server.
        """
        while self._is_needed and not self._stop.wait(NEED_POLL_S):
            with suppress(UnavailableError):
                if self._is_needed():
                    return

    def _run(self, task: Mapping[str, object]) -> int:
        """Run one process until it ends, and return its exit code. Raises OSError if it cannot be started."""
        edge, other = socket.socketpair()
        with edge:
            with other:
                edge.sendall(json.dumps(task).encode() + b"\n")
                self._edge = edge  # from here on, `stop` reaches the process, after the task
                if self._stop.is_set():
                    return 0
                # A group of its own: Ctrl-C in a terminal reaches the edge alone, and not a service that just starts.
                process = _start(self._command, stdin=other.fileno(), pass_fds=[self._lock], process_group=0)
            self._pid = process.pid
            with suppress(OSError):
                if edge.recv(len(READY)):
                    self.state = "ok"
                    if not self.ready.done():
                        self.ready.set_result(None)
            return _wait(process)


_SIGNALS = (signal.SIGINT, signal.SIGTERM)

# A signal that the system delivers to another thread does not wake the main thread, which alone handles signals.
_SIGNAL_POLL_S = 0.5

HANDOVER_S = 3
"""Maximum time for a process to end after the death of its edge."""

_PR_SET_PDEATHSIG = 1


class StopRequest:
    """A request to stop. It is made in the main thread, the only thread that waits for it."""

    def __init__(self) -> None:
        """Treat SIGINT and SIGTERM as requests from now on."""
        # Not an Event: its `set` blocks forever if the signal arrives while `wait` holds the common lock.
        self._requests: SimpleQueue[None] = SimpleQueue()
        for number in _SIGNALS:
            signal.signal(number, lambda *_: self.make())
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)  # `tutumd serve` blocks these signals for its children

    def make(self) -> None:
        """Make the request, from any thread."""
        self._requests.put(None)

    def wait(self) -> None:
        """Wait for a request. From then on, a signal ends the process immediately."""
        while True:
            with suppress(Empty):
                self._requests.get(timeout=_SIGNAL_POLL_S)
                break
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)


class Edge:
    """The edge of a process that `tutumd serve` has started. Standard input is a socket to the edge: the edge sends one
    line of JSON, the task, and perhaps later a line to stop.

    Attributes:
        task: The task.
        settings: The settings of the edge.
        stop: Requests of the edge and signals.
    """

    def __init__(self) -> None:
        """Read the task."""
        self.stop = StopRequest()
        # If this process is stopped when the edge dies, it must continue to notice that. prctl(2).
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGCONT)
        self._socket = FileIO(os.dup(0), "r+")
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # for the programs that this process starts
        self.task: dict[str, Any] = json.loads(self._socket.readline())
        self.settings: Settings = pickle.loads(bytes.fromhex(self.task["settings"]))  # noqa: S301 (from the edge alone)
        self._hand_over: Callable[[], None] = lambda: None
        Thread(target=self._follow, daemon=True).start()

    def report_ready(self, hand_over: Callable[[], None]) -> None:
        """Report that this process works.

        Args:
            hand_over: Called if the edge dies: end the work without a grace period.
        """
        self._hand_over = hand_over
        with suppress(OSError):
            self._socket.write(READY)

    def _follow(self) -> None:
        """Stop at a line from the edge. At the end of input, hand over the work without a grace period, and leave no
        orphan in any case.
        """
        with suppress(OSError):
            while self._socket.readline():
                self.stop.make()
        signal.alarm(HANDOVER_S)  # its default action ends the process
        self.stop.make()
        self._hand_over()
