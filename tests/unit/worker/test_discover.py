"""Discovery goes on, whatever is away: the engine, the database, or both at once."""

from collections.abc import Callable, Sequence
from threading import Event
from typing import cast

import structlog.testing

from tests.support.waiting import wait_until
from tutumd.errors import EngineRefusedError, EngineUnavailableError, UnavailableError
from tutumd.model import EngineInfo
from tutumd.ports import Engine, PartialDiscoveryError, Queue
from tutumd.worker.discover import Discovery


class AbsentEngine:
    """An engine that cannot be reached until it is `back`."""

    info = EngineInfo(name="docker", kind="docker", can_create=False)

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


class PartlySeenEngine(AbsentEngine):
    """An engine of which a part cannot be seen."""

    def discover(self) -> tuple[()]:
        raise PartialDiscoveryError("cannot list other", (), lambda selector: selector == "other")


class AbsentQueue:
    """A queue whose database is away until it is `back`."""

    def __init__(self) -> None:
        self.back = False
        self.synced = Event()
        self.errors: list[str] = []
        self.unseen: list[str] = []

    def register(self, worker: str, engines: Sequence[EngineInfo]) -> None:
        if not self.back:
            raise UnavailableError("away")
        self.errors += [engine.error for engine in engines]

    def sync(
        self, engine: object, snapshots: object, is_unreadable: Callable[[str], bool] = lambda selector: False
    ) -> None:
        if not self.back:
            raise UnavailableError("away")
        self.unseen = [selector for selector in ("web", "other") if is_unreadable(selector)]
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


def test_what_could_be_seen_is_stored_and_the_rest_is_told_as_an_error() -> None:
    queue = AbsentQueue()
    queue.back = True
    discovery = Discovery("worker", cast(Engine, PartlySeenEngine()), cast(Queue, queue))
    discovery.start()
    try:
        wait_until(lambda: "cannot list other" in queue.errors, "the error is told")
    finally:
        discovery.stop(5)
    assert queue.unseen == ["other"]
