"""What the contract tests do with the engine of a bed."""

import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.contract.engines.bed import EngineBed
from tests.support.runs import FakeRun, Killed
from tutumd.errors import EngineRefusedError
from tutumd.model import ContainerState, Outcome, ServiceSnapshot
from tutumd.ports.engine import Engine, Run

Verb = Callable[[Engine, Run], Outcome]


def new_run(bed: EngineBed, **options: Any) -> FakeRun:
    """Return a run of a new action."""
    defaults: dict[str, Any] = {"action_uuid": str(uuid.uuid4()), "deadline_s": bed.deadline_s}
    return FakeRun(**(defaults | options))


def outcome_of(bed: EngineBed, verb: Verb, run: FakeRun | None = None) -> Outcome:
    """Perform a verb with a new connection; a refusal is a failure, as for the worker."""
    try:
        return verb(bed.engine(), run or new_run(bed))
    except EngineRefusedError as error:
        return Outcome(success=False, reason=str(error), reason_code=error.code)


def redeploy(bed: EngineBed) -> Verb:
    return lambda engine, run: engine.redeploy(bed.service, run)


def scale(bed: EngineBed, target: int) -> Verb:
    return lambda engine, run: engine.scale(bed.service, target, run)


def start(bed: EngineBed) -> Verb:
    return lambda engine, run: engine.start(bed.service, run)


def stop(bed: EngineBed) -> Verb:
    return lambda engine, run: engine.stop(bed.service, run)


def snapshot(bed: EngineBed) -> ServiceSnapshot:
    """Return the service as a new connection shows it."""
    shown = bed.engine().inspect(bed.service)
    assert shown is not None
    return shown


def ids(bed: EngineBed) -> set[str]:
    """Return the IDs of the containers that run."""
    return {container.id for container in snapshot(bed).containers if container.state is ContainerState.RUNNING}


@contextmanager
def watching(engine: Engine) -> Iterator[threading.Event]:
    """Watch while the block runs; the event is set by each change, the watch ends with the block."""
    changed, ending = threading.Event(), threading.Event()
    thread = threading.Thread(target=engine.watch, args=(changed.set, ending), name="watch")
    thread.start()
    try:
        yield changed
    finally:
        ending.set()
        thread.join(timeout=60)
    assert not thread.is_alive()


def is_at_rest(changed: threading.Event) -> bool:
    """Forget what changed so far, and return whether nothing changes for a moment."""
    changed.clear()
    return not changed.wait(0.5)


def resumed(bed: EngineBed, verb: Verb, run: FakeRun) -> Outcome | None:
    """Perform a verb until it is killed, then again by another server; return None if it ended before."""
    try:
        verb(bed.engine(), run)
    except Killed:
        return verb(bed.engine(), run.again())
    return None
