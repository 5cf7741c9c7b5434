"""A real worker on a real database whose lease ends while the engine holds it up."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest

from tests.support.stores import ENGINE, Bench, bench, snapshot
from tests.support.waiting import wait_until
from tutumd.errors import UnavailableError
from tutumd.model import ActionState, Claim, Outcome, Service, ServiceSnapshot
from tutumd.ports import Engine, Run
from tutumd.store.database import Database
from tutumd.store.queue import SqlQueue
from tutumd.store.signal import Signal
from tutumd.worker.loop import Limits, Worker

LEASE = timedelta(seconds=2)


@pytest.fixture
def b(database_url: str) -> Iterator[Bench]:
    with bench(database_url) as opened:
        opened.show("web")
        yield opened


class DeafQueue(SqlQueue):
    """A queue that cannot renew anything while it is `deaf`."""

    deaf = True

    def renew(self, claim: Claim, *, lease: timedelta) -> bool:
        if self.deaf:
            raise UnavailableError("away")
        return super().renew(claim, lease=lease)


class SlowEngine:
    """An engine whose every redeploy waits to be let go on."""

    info = ENGINE

    def __init__(self) -> None:
        self.begun: list[threading.Event] = []

    def discover(self) -> tuple[ServiceSnapshot, ...]:
        return (snapshot("web"),)

    def inspect(self, service: Service) -> ServiceSnapshot:
        return snapshot("web")

    def watch(self, changed: Callable[[], None], stop: threading.Event) -> None:
        stop.wait(1)

    def redeploy(self, service: Service, run: Run) -> Outcome:
        go_on = threading.Event()
        self.begun.append(go_on)
        assert go_on.wait(30)
        run.check()
        return Outcome(success=True)


def test_a_worker_that_takes_up_its_own_lost_action_renews_the_new_run(b: Bench, database_url: str) -> None:
    action = b.call(b.handler("web"))
    database, engine = Database(database_url), SlowEngine()
    queue = DeafQueue(database, lambda: datetime.now(UTC), Signal())
    limits = Limits(max_containers=100, lease=LEASE)
    worker = Worker(queue, {"docker": cast(Engine, engine)}, limits, lambda: datetime.now(UTC))
    worker.start()
    try:
        wait_until(lambda: len(engine.begun) == 2, "the lost action is taken up again")
        queue.deaf = False
        engine.begun[0].set()
        before = datetime.now(UTC)
        wait_until(lambda: datetime.now(UTC) > before + 2 * LEASE, "more than a lease goes by")
        engine.begun[1].set()
        wait_until(lambda: b.store.action(b.admin, action).ended, "the action ends")
    finally:
        for go_on in engine.begun:
            go_on.set()
        worker.stop(5)
        database.close()
    assert b.store.action(b.admin, action).state is ActionState.SUCCESS
    assert len(engine.begun) == 2
