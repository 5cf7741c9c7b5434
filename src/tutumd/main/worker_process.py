"""The worker of `tutumd serve`, as a child process of the edge: `python -m tutumd.main.worker_process`.

Its standard input is a socket to the edge: it reads one line of JSON with its task, responds `ready` when it works, and
ends gracefully at a line `stop`. The end of the input means that the edge is dead.
"""

import ctypes
import json
import os
import signal
import socket
import sys
from contextlib import ExitStack, suppress
from threading import Event, Thread, Timer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tutumd.main.work import BuildEngines
    from tutumd.worker.loop import Worker

HANDOVER_S = 3.0
"""How long a worker whose edge is dead may take to hand over its runs."""

READY = b"ready\n"
STOP = b"stop\n"

_PR_SET_PDEATHSIG = 1


def main(build_engines: "BuildEngines | None" = None) -> None:
    """Perform actions until the edge or a signal says to stop, or the edge is dead.

    Args:
        build_engines: Replaces the engines of the setting `engine`, for tests.
    """
    stopped = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    _continue_when_edge_ends()
    edge = _take_input()
    received = b""
    while b"\n" not in received:
        if not (part := edge.recv(4096)):
            return
        received += part
    task, _, more = received.partition(b"\n")
    if more:
        stopped.set()
    workers: list[Worker] = []
    Thread(target=_follow, args=(edge, stopped, workers), daemon=True).start()

    from tutumd.main import engines, work  # slow to import
    from tutumd.main.startup import prepare
    from tutumd.main.storage import share_storage
    from tutumd.main.told_errors import told_errors

    with told_errors(), ExitStack() as stack:
        wanted = json.loads(task)
        settings = prepare(wanted["options"])
        storage = stack.enter_context(share_storage(settings))
        instances = (build_engines or engines.build)(settings, stack)
        storage.queue.take_over_from(wanted["predecessors"])
        workers.append(work.start_worker(settings, storage, instances, name=wanted["name"]))
        with suppress(OSError):
            edge.sendall(READY)
        work.stop_when_told(workers[0], stopped, settings.grace)


def _take_input() -> socket.socket:
    """Return standard input as a socket, and leave nothing to read to the programs that this process starts."""
    edge = socket.socket(fileno=os.dup(0))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return edge


def _continue_when_edge_ends() -> None:
    """Let the kernel continue this process if it is stopped when the edge ends: else it would stay. prctl(2)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGCONT)


def _follow(edge: socket.socket, stopped: Event, workers: "list[Worker]") -> None:
    """Stop at a line from the edge. At its end, hand over the runs without grace, and leave no orphan in any case."""
    with suppress(OSError):
        while edge.recv(len(STOP)):
            stopped.set()
    timer = Timer(HANDOVER_S, os._exit, [1])
    timer.daemon = True
    timer.start()
    stopped.set()
    for worker in workers:
        worker.stop(0)


if __name__ == "__main__":
    main()
