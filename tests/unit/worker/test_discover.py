"""Discovery goes on, whatever is away: the engine, the database, or both at once."""

from collections.abc import Callable
from threading import Event
from typing import cast

import structlog.testing

from tests.support.waiting import wait_until
from tutumd.errors import EngineRefusedError, EngineUnavailableError, UnavailableError
from tutumd.model import EngineInfo
from tutumd.ports import Engine, Queue
from tutumd.worker.discover import Discovery


class AbsentEngine:
    """An engine that cannot be reached until it is `back`."""

    info = EngineInfo(name="docker", kind="docker", creates=False)

    def __init__(self) -> None:
        self.back = False
        self.looks = 0

    def discover(self) -> tuple[()]:
        self.looks += 1
        if not self.back:
            raise EngineUnavailableError(f"away at look {self.looks}")
        return ()

    def watch(self, changed: Callable[[], None], stop: Event) -> None:
        stop.wait(1)


class UnwatchableEngine(AbsentEngine):
    """An engine that is there, and refuses each time to be watched."""

    def __init__(self) -> None:
        super().__init__()
        self.back = True
        self.watches = 0

    def watch(self, changed: Callable[[], None], stop: Event) -> None:
        self.watches += 1
        raise EngineRefusedError("missing permission: watch")


class AbsentQueue:
    """A queue whose database is away until it is `back`."""

    def __init__(self) -> None:
        self.back = False
        self.synced = Event()

    def register(self, worker: str, engines: object) -> None:
        if not self.back:
            raise UnavailableError("away")

    def sync(self, engine: object, snapshots: object) -> None:
        if not self.back:
            raise UnavailableError("away")
        self.synced.set()


def test_discovery_survives_that_engine_and_database_are_away_at_once() -> None:
    engine, queue = AbsentEngine(), AbsentQueue()
    discovery = Discovery("worker", cast(Engine, engine), cast(Queue, queue))
    discovery.start()
    try:
        wait_until(lambda: engine.looks >= 2, "the engine is looked for again after both were away")
        engine.back = queue.back = True
        assert queue.synced.wait(10)
    finally:
        discovery.stop(5)


def test_an_engine_that_refuses_to_be_watched_is_told_once_and_looked_at_all_the_same() -> None:
    engine, queue = UnwatchableEngine(), AbsentQueue()
    queue.back = True
    discovery = Discovery("worker", cast(Engine, engine), cast(Queue, queue))
    with structlog.testing.capture_logs() as told:
        discovery.start()
        try:
            wait_until(lambda: engine.watches == 2, "it is tried once more")
            assert queue.synced.wait(10)
        finally:
            discovery.stop(5)
    assert engine.watches == 2
    (warning,) = (line for line in told if line["log_level"] == "warning")
    assert (warning["event"], warning["error"]) == ("engine cannot be watched", "missing permission: watch")
