"""`tutumd worker`, and what the worker of `tutumd serve` shares with it: build the objects, work until told to stop."""

import signal
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import timedelta
from threading import Event
from typing import Any

import structlog

from tutumd.main import engines
from tutumd.main.startup import configure
from tutumd.main.storage import Storage, open_storage
from tutumd.ports.engine import Engine
from tutumd.settings import Settings
from tutumd.worker.loop import Worker, WorkerLimits

# Builds the engine instances by name, and puts on the stack what has to be closed.
BuildEngines = Callable[[Settings, ExitStack], Mapping[str, Engine]]

# A signal that the system delivers to another thread does not wake the main thread, which alone handles it.
_SIGNAL_POLL_S = 0.5

_log = structlog.get_logger(__name__)


def work(options: Mapping[str, Any], build_engines: BuildEngines = engines.build) -> None:
    """Perform actions until a signal.

    Args:
        build_engines: Replaces the engines of the setting `engine`, for tests.

    Raises:
        SettingsError: The worker cannot start with these settings. The text says why.
    """
    settings = configure(options)
    stopped = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    with ExitStack() as stack:
        storage = stack.enter_context(open_storage(settings, serves_and_works=False))
        worker = start_worker(settings, storage, build_engines(settings, stack))
        _log.info("worker is ready")
        stop_when_told(worker, stopped, settings.grace)


def start_worker(settings: Settings, storage: Storage, instances: Mapping[str, Engine], name: str = "") -> Worker:
    """Start to perform actions on engine instances."""
    limits = WorkerLimits(
        server_cap=settings.max_containers,
        keep=timedelta(days=settings.keep_days),
        run=settings.run_limits,
        engine_slots=settings.engine_slots,
        max_runs=settings.max_runs,
        log_rows=settings.log_rows,
        log_bytes=settings.log_bytes,
    )
    worker = Worker(storage.queue, instances, limits, storage.clock, name=name)
    worker.start()
    return worker


def stop_when_told(worker: Worker, stopped: Event, grace_s: float) -> None:
    """Wait for the event, then stop the worker. From then on a signal ends the process at once."""
    while not stopped.wait(_SIGNAL_POLL_S):
        pass
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    _log.info("worker is stopping", grace_s=grace_s)
    worker.stop(grace_s)
