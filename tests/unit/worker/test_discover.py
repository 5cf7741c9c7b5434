"""Discovery goes on, whatever is away: the engine, the database, or both at once."""

from collections.abc import Callable
from threading import Event
from typing import cast

from tests.support.waiting import wait_until
from tutumd.errors import EngineUnavailableError, UnavailableError
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
