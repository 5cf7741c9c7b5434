"""The worker: the command `tutumd worker`, and the child process of `tutumd serve` (`python -m tutumd.main.work`)."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import structlog

from tutumd.main import engines, told_errors
from tutumd.main.edge import Edge, StopRequest
from tutumd.main.healthcheck import process_health
from tutumd.main.key_files import read_worker_key
from tutumd.main.startup import configure
from tutumd.main.storage import Storage, open_storage, share_storage
from tutumd.ports.engine import Engine
from tutumd.settings import Settings
from tutumd.worker.journal_seal import JournalSeal
from tutumd.worker.loop import Worker, WorkerLimits

# Builds the engine instances by name for the installation with an ID, and registers objects to close on the stack.
BuildEngines = Callable[[Settings, ExitStack, str], Mapping[str, Engine]]

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
        stack.enter_context(process_health("worker", lambda: worker.state, lambda: worker.liveness))
        _log.info("worker is ready")
        _stop_when_requested(worker, stop, settings.grace)


def work_for_edge(build_engines: BuildEngines = engines.build) -> None:
    """Perform actions until the edge or a signal requests a stop, or the edge dies."""
    edge = Edge()
    if edge.task is None:
        return
    with told_errors(), ExitStack() as stack:
        settings = configure(edge.task["options"], is_checked=True)
        storage = stack.enter_context(share_storage(settings))
        instances = build_engines(settings, stack, storage.queue.installation())
        if edge.task["is_successor"]:
            storage.queue.take_over([edge.task["name"]])
        worker = _start(settings, storage, instances, edge.task["name"])
        edge.report_ready(lambda: worker.stop(0))
        _stop_when_requested(worker, edge.stop, settings.grace)


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
