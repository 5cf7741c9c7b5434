"""The worker: the command `tutumd worker`, and the child process of `tutumd serve` (`python -m tutumd.main.work`)."""

import ctypes
import json
import os
import signal
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from datetime import timedelta
from io import FileIO
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

import structlog

from tutumd.main import engines, told_errors
from tutumd.main.healthcheck import worker_health
from tutumd.main.key_files import read_worker_key
from tutumd.main.startup import configure
from tutumd.main.storage import Storage, open_storage, share_storage
from tutumd.main.worker_child import READY
from tutumd.ports.engine import Engine
from tutumd.settings import Settings
from tutumd.worker.journal_seal import JournalSeal
from tutumd.worker.loop import Worker, WorkerLimits

_SIGNALS = (signal.SIGINT, signal.SIGTERM)

# A signal that the system delivers to another thread does not wake the main thread, which alone handles signals.
_SIGNAL_POLL_S = 0.5


class StopRequest:
    """A request to stop. It is made in the main thread, the only thread that waits for it."""

    def __init__(self) -> None:
        """Treat SIGINT and SIGTERM as requests from now on."""
        # Not an Event: its `set` blocks forever if the signal arrives while `wait` holds the common lock.
        self._requests: SimpleQueue[None] = SimpleQueue()
        for number in _SIGNALS:
            signal.signal(number, lambda *_: self.make())
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)  # `tutumd serve` blocks these signals for its worker

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


# Builds the engine instances by name for the installation with an ID, and registers objects to close on the stack.
BuildEngines = Callable[[Settings, ExitStack, str], Mapping[str, Engine]]

HANDOVER_S = 3
"""Maximum time for a worker to hand over its runs after the death of its edge."""

_PR_SET_PDEATHSIG = 1
_log = structlog.get_logger(__name__)


def work(options: Mapping[str, Any], build_engines: BuildEngines = engines.build) -> None:
    """Perform actions until a signal.

    Args:
        build_engines: Replaces the engines of the setting `engine`, for tests.

    Raises:
        SettingsError: The worker cannot start with these settings. The text gives the reason.
    """
    settings = configure(options)
    stop = StopRequest()
    with ExitStack() as stack:
        storage = stack.enter_context(open_storage(settings, serves_and_works=False))
        worker = _start(settings, storage, build_engines(settings, stack, storage.queue.installation()))
        stack.enter_context(worker_health(lambda: worker.state, lambda: worker.liveness))
        _log.info("worker is ready")
        _stop_when_requested(worker, stop, settings.grace)


def work_for_edge(build_engines: BuildEngines = engines.build) -> None:
    """Perform actions until the edge or a signal requests a stop, or the edge dies.

    Standard input is a socket to the edge: the edge sends one line of JSON, the task, and perhaps later a line to stop.
    """
    stop = StopRequest()
    # If this process is stopped when the edge dies, it must continue to notice that. prctl(2).
    if hasattr(libc := ctypes.CDLL(None), "prctl"):
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGCONT)
    edge = FileIO(os.dup(0), "r+")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # for the programs that this process starts
    task = json.loads(edge.readline() or "null")
    if task is None:
        return
    workers: list[Worker] = []
    Thread(target=_follow, args=(edge, stop, workers), daemon=True).start()
    with told_errors(), ExitStack() as stack:
        settings = configure(task["options"], is_checked=True)
        storage = stack.enter_context(share_storage(settings))
        instances = build_engines(settings, stack, storage.queue.installation())
        if task["is_successor"]:
            storage.queue.take_over([task["name"]])
        workers.append(_start(settings, storage, instances, task["name"]))
        with suppress(OSError):
            edge.write(READY)
        _stop_when_requested(workers[0], stop, settings.grace)


def _follow(edge: FileIO, stop: StopRequest, workers: list[Worker]) -> None:
    """Stop at a line from the edge. At the end of input, hand over the runs without a grace period, and leave no orphan
    in any case.
    """
    with suppress(OSError):
        while edge.readline():
            stop.make()
    signal.alarm(HANDOVER_S)  # its default action ends the process
    stop.make()
    for worker in workers:
        worker.stop(0)


def _start(settings: Settings, storage: Storage, instances: Mapping[str, Engine], name: str = "") -> Worker:
    limits = WorkerLimits(
        server_cap=settings.max_containers,
        keep=timedelta(days=settings.keep_days),
        keep_audit=timedelta(days=settings.keep_audit_days),
        run=settings.run_limits,
        engine_slots=settings.engine_slots,
        max_runs=settings.max_runs,
        log_rows=settings.log_rows,
        log_bytes=settings.log_bytes,
    )
    key = read_worker_key(settings, is_shared=storage.database.dialect.path is None)
    worker = Worker(storage.queue, instances, limits, seal=JournalSeal(key), name=name)
    worker.start()
    return worker


def _stop_when_requested(worker: Worker, stop: StopRequest, grace_s: float) -> None:
    stop.wait()
    _log.info("worker is stopping", grace_s=grace_s)
    worker.stop(grace_s)


if __name__ == "__main__":
    work_for_edge()
