"""What every process of tutumd other than the edge shares: requests to stop it, and its link to the edge."""

import ctypes
import json
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from io import FileIO
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

from tutumd.main.child_process import READY

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
            try:
                self._requests.get(timeout=_SIGNAL_POLL_S)
                break
            except Empty:
                continue
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)


class Edge:
    """The edge of a process that `tutumd serve` has started. Standard input is a socket to the edge: the edge sends one
    line of JSON, the task, and perhaps later a line to stop.

    Attributes:
        task: The task; None if the edge has died.
        stop: Requests of the edge and signals.
    """

    def __init__(self) -> None:
        """Read the task."""
        self.stop = StopRequest()
        # If this process is stopped when the edge dies, it must continue to notice that. prctl(2).
        if hasattr(libc := ctypes.CDLL(None), "prctl"):
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGCONT)
        self._socket = FileIO(os.dup(0), "r+")
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # for the programs that this process starts
        self.task: dict[str, Any] | None = json.loads(self._socket.readline() or "null")
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
