"""The worker: the command `tutumd worker`, and the child process of `tutumd serve` (`python -m tutumd.main.work`)."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from tutumd.main import engines, program
from tutumd.main.key_files import read_worker_key
from tutumd.main.storage import Storage
from tutumd.ports import Engine
from tutumd.worker.loop import Worker, WorkerLimits
from tutumd.worker.trust import JournalSeal

if TYPE_CHECKING:
    from tutumd.settings import Options, Settings

# Builds the engine instances by name for the installation with an ID, and registers objects to close on the stack.
BuildEngines = Callable[["Settings", ExitStack, str], Mapping[str, Engine]]


def work(options: "Options", build_engines: BuildEngines = engines.build) -> None:
    """Perform actions until a signal. Raises SettingsError.

    Args:
        build_engines: Replaces the engines of the setting `engine`, for tests.
    """
    program.run("worker", options, partial(_build, build_engines))


def work_for_edge(build_engines: BuildEngines = engines.build) -> None:
    """Perform actions until the edge or a signal requests a stop, or the edge dies."""
    program.run_for_edge("worker", partial(_build, build_engines))


def _build(
    build_engines: BuildEngines, settings: "Settings", storage: Storage, stack: ExitStack, name: str, is_successor: bool
) -> Worker:
    instances = build_engines(settings, stack, storage.queue.installation())
    if is_successor:
        storage.queue.take_over([name])
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
    return Worker(
        storage.queue,
        instances,
        limits,
        seal=JournalSeal(read_worker_key(settings, is_shared=storage.database.dialect.path is None)),
        name=name,
    )


if __name__ == "__main__":
    work_for_edge()
