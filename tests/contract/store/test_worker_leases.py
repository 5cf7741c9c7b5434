"""A real worker on a real database: leases that end too early, and databases that are away at the wrong moment."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from tests.support.postgres_proxy import THREADS
from tests.support.runs import SEAL
from tests.support.stores import ENGINE, MovedClock, StoreBed, snapshot
from tests.support.waiting import wait_until
from tutumd.errors import EngineUnavailableError, UnavailableError
from tutumd.model import ActionState, Outcome, Service, ServiceSnapshot
from tutumd.ports.engine import Engine, Run
from tutumd.ports.queue import GIVE_UP_AFTER, Clock, Queue
from tutumd.store.queue.queue import SqlQueue
from tutumd.store.sql.database import Database
from tutumd.store.sql.wakeup import Wakeup
from tutumd.worker.loop import Worker, WorkerLimits

pytestmark = pytest.mark.dialect

LEASE = timedelta(seconds=6)


class UnreliableQueue:
    """Passes calls on to a queue. For the methods in `failing`, its database is away."""

    def __init__(self, queue: SqlQueue, failing: str) -> None:
        self.failing = frozenset({failing})
        self.failed = threading.Event()
        self._queue = queue

    def __getattr__(self, name: str) -> Any:
        return self._fail if name in self.failing else getattr(self._queue, name)

    def _fail(self, *_: object, **__: object) -> None:
        self.failed.set()
        raise UnavailableError("away")


class SlowEngine:
    """An engine whose redeploys wait until the test lets them continue, and which may be away."""

    info = ENGINE

    def __init__(self) -> None:
        self.redeploys: list[threading.Event] = []
        self.away = False

    def discover(self) -> tuple[ServiceSnapshot, ...]:
        return (snapshot("web"),)

    def inspect(self, service: Service) -> ServiceSnapshot:
        return snapshot("web")

    def watch(self, changed: Callable[[], None], stop: threading.Event) -> None:
        stop.wait(1)

    def probe(self) -> None:
        if self.away:
            raise EngineUnavailableError("away")

    def redeploy(self, service: Service, run: Run) -> Outcome:
        if self.away:
            raise EngineUnavailableError("away")
        go_on = threading.Event()
        self.redeploys.append(go_on)
        assert go_on.wait(100)
        run.check()
        return Outcome(success=True)


@contextmanager
def working(
    url: str, engine: SlowEngine, *, lease: timedelta, failing: str, lease_clock: Clock | None = None
) -> Iterator[UnreliableQueue]:
    """Run a worker with a queue that fails."""
    database = Database(url)
    queue = UnreliableQueue(SqlQueue(database, lambda: datetime.now(UTC), Wakeup(), lease_clock), failing)
    limits = WorkerLimits(server_cap=100, lease=lease)
    engines = {"docker": cast(Engine, engine)}
    worker = Worker(cast(Queue, queue), engines, limits, seal=SEAL, name="worker")
    others = set(threading.enumerate())
    worker.start()
    try:
        yield queue
    finally:
        for go_on in engine.redeploys:
            go_on.set()
        worker.stop(60)
        for thread in set(threading.enumerate()) - others:
            if thread.name != THREADS:
                thread.join(60)  # one that is late would open another connection
        database.close()


@pytest.mark.nightly
def test_a_worker_that_reclaims_its_own_lost_action_renews_the_new_lease(bed: StoreBed, database_url: str) -> None:
    action, engine = bed.call(bed.handler("web")), SlowEngine()
    with working(database_url, engine, lease=LEASE, failing="renew") as queue:
        wait_until(lambda: len(engine.redeploys) == 2, "the lost action is taken up again")
        queue.failing = frozenset()
        engine.redeploys[0].set()
        before = datetime.now(UTC)
        wait_until(lambda: datetime.now(UTC) > before + LEASE + timedelta(seconds=1), "more than a lease goes by")
        engine.redeploys[1].set()
        wait_until(lambda: bed.store.action(bed.admin, action).ended, "the action ends")
    assert bed.store.action(bed.admin, action).state is ActionState.SUCCESS
    assert len(engine.redeploys) == 2


@pytest.mark.slow
def test_an_action_is_retried_at_once_when_engine_and_database_are_back(bed: StoreBed, database_url: str) -> None:
    bed.call(bed.handler("web"))
    engine = SlowEngine()
    engine.away = True
    with working(database_url, engine, lease=timedelta(minutes=4), failing="retry_later") as queue:
        assert queue.failed.wait(120)
        queue.failing, engine.away = frozenset(), False
        wait_until(lambda: engine.redeploys, "it is tried again long before the lease ends")


@pytest.mark.slow
def test_an_engine_that_stays_away_ends_the_action_with_the_reason(bed: StoreBed, database_url: str) -> None:
    action, engine = bed.call(bed.handler("web")), SlowEngine()
    engine.away = True
    clock = MovedClock()
    with working(database_url, engine, lease=timedelta(minutes=4), failing="none", lease_clock=clock):
        wait_until(lambda: "another try" in bed.store.action(bed.admin, action).reason, "it was tried")
        clock.move(GIVE_UP_AFTER.total_seconds())
        wait_until(lambda: bed.store.action(bed.admin, action).ended, "the action ends")
    ended = bed.store.action(bed.admin, action)
    assert (ended.state, ended.reason) == (ActionState.FAILED, "given up after 900 s: away")
