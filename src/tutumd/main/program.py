"""A program that works until a signal or its edge requests a stop: the worker, or the notifier."""

import uuid
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING

import structlog

from tutumd.main import told_errors
from tutumd.main.child_process import Edge, StopRequest
from tutumd.main.healthcheck import process_health
from tutumd.main.startup import configure, prepare
from tutumd.main.storage import Storage, open_storage, share_storage

if TYPE_CHECKING:
    from tutumd.notifier.loop import Notifier
    from tutumd.settings import Options, Settings
    from tutumd.worker.loop import Worker

_log = structlog.get_logger(__name__)


# Builds the loops, with a name, and registers objects to close on the stack. If the program succeeds a program of the
# same name that has ended, it takes over the work of that program.
Build = Callable[["Settings", Storage, ExitStack, str, bool], "Worker | Notifier"]


def run(what: str, options: "Options", build: Build) -> None:
    """Work until a signal.

    Args:
        what: `worker` or `notifier`.

    Raises:
        SettingsError: The program cannot start with these settings. The text gives the reason.
    """
    settings = configure(options)
    stop = StopRequest()
    with ExitStack() as stack:
        storage = stack.enter_context(open_storage(settings, serves_and_works=False))
        storage.database.dialect.gives_way = True
        loops = build(settings, storage, stack, str(uuid.uuid4()), False)
        loops.start()
        stack.enter_context(process_health(what, lambda: loops.state, lambda: loops.liveness))
        _log.info(f"{what} is ready")
        _stop_when_requested(what, loops, stop, settings.grace)


def run_for_edge(what: str, build: Build) -> None:
    """Work until the edge or a signal requests a stop, or the edge dies."""
    edge = Edge()
    with told_errors(), ExitStack() as stack:
        settings = edge.settings
        prepare(settings)
        storage = stack.enter_context(share_storage(settings))
        storage.database.dialect.gives_way = True
        loops = build(settings, storage, stack, edge.task["name"], edge.task["is_successor"])
        loops.start()
        edge.report_ready(lambda: loops.stop(0))
        _stop_when_requested(what, loops, edge.stop, settings.grace)


def _stop_when_requested(what: str, loops: "Worker | Notifier", stop: StopRequest, grace_s: float) -> None:
    stop.wait()
    _log.info(f"{what} is stopping", grace_s=grace_s)
    loops.stop(grace_s)
