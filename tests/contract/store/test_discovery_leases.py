"""One worker discovers an engine: by a lease that ends when the worker is killed, is stopped, stands still or fails."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import Any, cast

import pytest
import sqlalchemy as sa

from tests.support.runs import SEAL
from tests.support.stores import ENGINE, StoreBed, query, snapshot
from tests.support.waiting import wait_until
from tutumd.errors import EngineUnavailableError, UnavailableError
from tutumd.model import EngineInfo, ServiceSnapshot
from tutumd.ports.engine import Engine
from tutumd.ports.queue import Queue
from tutumd.store.queue.queue import SqlQueue
from tutumd.store.sql.database import Database
from tutumd.store.sql.dialect import insert_missing
from tutumd.store.sql.wakeup import Wakeup
from tutumd.store.tables.services import discoveries
from tutumd.worker.discover import Discovery

pytestmark = pytest.mark.dialect

DOCKER = ENGINE.name
LEASE = timedelta(seconds=10)
SHORT = timedelta(seconds=5)


@pytest.fixture
def other(bed: StoreBed, database_url: str) -> Iterator[SqlQueue]:
    """The queue of another worker on the same database."""
    database = Database(database_url)
    yield SqlQueue(database, bed.clock, Wakeup())
    database.close()


def lease(queue: Queue, worker: str, duration: timedelta | None = LEASE) -> bool:
    return queue.lease_discovery(worker, DOCKER, lease=duration)


def bound(bed: StoreBed) -> set[str]:
    """The services that the engine shows."""
    return {service.name for service in bed.store.services(bed.admin, query()).objects if service.bound}


def test_one_worker_at_a_time_leases_a_discovery(bed: StoreBed, other: SqlQueue) -> None:
    assert lease(bed.queue, "first")
    assert not lease(other, "second")
    bed.clock.move(9)
    assert lease(bed.queue, "first")
    bed.clock.move(9)
    assert not lease(other, "second")
    bed.clock.move(1)
    assert lease(bed.queue, "first", None), "nobody else took it"
    assert lease(other, "second")
    assert not lease(bed.queue, "first", None)
    assert not lease(bed.queue, "first", timedelta())
    assert lease(other, "second", timedelta())
    assert lease(bed.queue, "first")


def test_a_row_is_inserted_once_and_whoever_comes_later_is_told(bed: StoreBed) -> None:
    row = {"engine": "once", "worker": "first", "lease_until": bed.clock.now}
    with bed.database.write() as connection:
        assert insert_missing(connection, discoveries, **row)
    with bed.database.write() as connection:
        assert not insert_missing(connection, discoveries, **row)


class Overtaken:
    """A database in which something happens after the first read."""

    def __init__(self, database: Database, then: Callable[[], object]) -> None:
        self._database = database
        self._then: Callable[[], object] | None = then
        self.write = database.write

    def fetch(self, statement: sa.Select[Any]) -> Sequence[object]:
        rows = self._database.fetch(statement)
        then, self._then = self._then, None
        if then:
            then()
        return rows


def test_a_discovery_that_another_worker_leases_in_the_same_moment_is_not_taken(bed: StoreBed, other: SqlQueue) -> None:
    database = Overtaken(bed.database, lambda: lease(other, "quicker"))
    assert not lease(SqlQueue(cast(Database, database), bed.clock, Wakeup()), "slower")
    assert not lease(bed.queue, "slower")


def test_what_a_worker_saw_before_another_one_took_over_is_not_stored(bed: StoreBed, other: SqlQueue) -> None:
    assert lease(bed.queue, "first")
    revisions = bed.queue.revisions(DOCKER)
    bed.clock.move(11)
    assert lease(other, "second")
    assert other.sync(ENGINE, [snapshot("new")], revisions=other.revisions(DOCKER), worker="second")
    assert not bed.queue.sync(ENGINE, [snapshot("old")], revisions=revisions, worker="first")
    assert bound(bed) == {"new"}


def test_what_was_seen_is_stored_after_the_lease_as_long_as_nobody_took_over(bed: StoreBed) -> None:
    assert lease(bed.queue, "first")
    bed.clock.move(60)
    assert bed.queue.sync(ENGINE, [snapshot("web")], revisions=bed.queue.revisions(DOCKER), worker="first")
    assert bound(bed) == {"web"}


def test_a_process_that_is_alone_with_the_database_takes_over_at_once(bed: StoreBed) -> None:
    assert lease(bed.queue, "killed")
    bed.queue.take_over()
    assert lease(bed.queue, "new")


def test_the_lease_of_an_engine_that_is_forgotten_is_deleted(bed: StoreBed) -> None:
    assert lease(bed.queue, "killed")
    bed.clock.move(timedelta(days=2).total_seconds())
    while bed.queue.prune(timedelta(days=90), 100):
        pass
    with bed.database.read() as connection:
        assert connection.execute(discoveries.select()).all() == []


def test_a_heartbeat_of_a_worker_that_has_not_looked_keeps_the_health_of_the_engine(bed: StoreBed) -> None:
    away = EngineInfo(name=DOCKER, kind="docker", can_create=False, error="no answer", away=True)
    bed.queue.register("first", [away])
    bed.clock.move(30)
    bed.queue.register("second", [ENGINE], has_looked=False)
    (stored,) = bed.store.engines()
    assert (stored.error, stored.away, stored.last_heartbeat) == ("no answer", True, bed.clock.now)


class Reached:
    """An engine as one worker reaches it, or does not."""

    info = ENGINE

    def __init__(self, *names: str) -> None:
        self.names = names
        self.looks = 0
        self.follows = False
        self.error = ""

    def discover(self) -> tuple[ServiceSnapshot, ...]:
        self.looks += 1
        self.probe()
        return tuple(snapshot(name) for name in self.names)

    def probe(self) -> None:
        if self.error:
            raise EngineUnavailableError(self.error)

    def watch(self, changed: Callable[[], None], stop: Event) -> None:
        self.follows = True
        stop.wait(60)
        self.follows = False


class Line:
    """A worker's line to the queue. Once it is cut, the worker reaches the database no more, as one that is killed."""

    def __init__(self, queue: SqlQueue) -> None:
        self.is_cut = False
        self._queue = queue

    def __getattr__(self, name: str) -> object:
        if self.is_cut:
            raise UnavailableError("cut")
        return getattr(self._queue, name)


class Workers:
    """Discoveries of one engine by several workers, which reach it in their own ways."""

    def __init__(self, bed: StoreBed, queues: list[SqlQueue]) -> None:
        self.bed = bed
        self.engines = [Reached("web") for _ in queues]
        self.lines = [Line(queue) for queue in queues]
        pairs = zip(self.engines, self.lines, strict=True)
        self.discoveries = [
            Discovery(f"worker {number}", cast(Engine, engine), cast(Queue, line), SHORT, seal=SEAL)
            for number, (engine, line) in enumerate(pairs)
        ]

    def who(self) -> str:
        """Return who leased the discovery last."""
        with self.bed.database.read() as connection:
            return str(connection.execute(discoveries.select()).one().worker)

    def wait_for(self, number: int) -> Reached:
        """Wait until this worker looks at the engine, and return its engine."""
        before = self.engines[number].looks
        wait_until(lambda: self.who() == f"worker {number}", f"worker {number} takes over")
        wait_until(lambda: self.engines[number].looks > before, f"worker {number} looks")
        return self.engines[number]

    def health(self) -> tuple[str, bool]:
        (engine,) = self.bed.store.engines()
        return engine.error, engine.away


@pytest.fixture
def workers(bed: StoreBed, database_url: str) -> Iterator[Workers]:
    """Two workers. The first one discovers."""
    with ExitStack() as stack:
        databases = [Database(database_url) for _ in range(2)]
        for database in databases:
            stack.callback(database.close)
        pair = Workers(bed, [SqlQueue(database, lambda: datetime.now(UTC), Wakeup()) for database in databases])
        for number, discovery in enumerate(pair.discoveries):
            stack.callback(discovery.stop, 30)
            discovery.start()
            if number == 0:
                wait_until(lambda: pair.engines[0].follows and pair.engines[0].looks, "the first one discovers")
        yield pair


@pytest.mark.slow
def test_another_worker_goes_on_after_one_was_killed(workers: Workers) -> None:
    workers.lines[0].is_cut = True
    workers.engines[1].names = ("web", "new")
    workers.wait_for(1)
    wait_until(lambda: "new" in bound(workers.bed), "what it sees is stored")
    workers.lines[0].is_cut = False
    wait_until(lambda: not workers.engines[0].follows, "the first one stands back when it is back")
    assert workers.who() == "worker 1"


@pytest.mark.nightly
def test_a_worker_that_does_not_reach_the_engine_yields_and_does_not_come_back(workers: Workers) -> None:
    first = workers.engines[0]
    first.error = "no route"
    second = workers.wait_for(1)
    wait_until(lambda: workers.health() == ("", False), "the engine is well")
    looks, probes = first.looks, second.looks
    wait_until(lambda: not first.follows and second.looks > probes, "some time goes by")
    assert (workers.who(), workers.health()) == ("worker 1", ("", False))
    assert first.looks <= looks + 1
    second.error, first.error = "no route", ""
    assert workers.wait_for(0)


@pytest.mark.slow
def test_an_engine_that_no_worker_reaches_is_away_steadily_until_one_does(workers: Workers) -> None:
    for engine in workers.engines:
        engine.error = "no answer"
    wait_until(lambda: workers.health() == ("no answer", True), "the engine is away")
    looks = sum(engine.looks for engine in workers.engines)
    seen = set()

    def has_gone_on() -> bool:
        seen.add(workers.health()[0])
        return sum(engine.looks for engine in workers.engines) > looks + 3

    wait_until(has_gone_on, "the looks go on")
    assert seen == {"no answer"}
    workers.engines[1].error = ""
    workers.wait_for(1)
    wait_until(lambda: workers.health() == ("", False), "the engine is well")


PROGRAM = """
import sys, threading
from tests.contract.store import test_discovery_leases
test_discovery_leases.discover_for_ever(sys.argv[1])
"""


def discover_for_ever(url: str) -> None:
    """Discover in this process until it is killed."""
    queue = SqlQueue(Database(url), lambda: datetime.now(UTC), Wakeup())
    Discovery("another process", cast(Engine, Reached("web")), queue, seal=SEAL).start()
    Event().wait()
