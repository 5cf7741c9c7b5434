"""Stores for contract tests: a real database, a clock that the test moves, and short ways to fill it."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tutumd.model import (
    Accepted,
    ActionState,
    Call,
    Claim,
    ContainerSnapshot,
    ContainerState,
    EngineInfo,
    Handler,
    NewHandler,
    Operation,
    Origin,
    Outcome,
    Query,
    ServiceSnapshot,
    User,
)
from tutumd.ports import CallResult
from tutumd.store.database import Database
from tutumd.store.intake import SqlIntake
from tutumd.store.queue import SqlQueue
from tutumd.store.store import SqlStore
from tutumd.store.wakeup import Wakeup

ENGINE = EngineInfo(name="docker", kind="docker", can_create=False)
LEASE = timedelta(seconds=10)
ORIGIN = Origin(address="127.0.0.1", user_agent="test")


@dataclass
class MovedClock:
    """A clock that stands still until it is moved."""

    now: datetime = field(default_factory=lambda: datetime(2026, 1, 1, tzinfo=UTC))

    def __call__(self) -> datetime:
        return self.now

    def move(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass
class Bench:
    """A store, an intake and a queue over one database, with one admin and engine `docker`."""

    database: Database
    clock: MovedClock
    store: SqlStore
    intake: SqlIntake
    queue: SqlQueue
    admin: User

    def show(self, *names: str, containers: int = 2, owner: str | None = None) -> None:
        """Let the engine show exactly these services."""
        self.queue.sync(ENGINE, [snapshot(name, containers=containers, owner=owner) for name in names])

    def service_uuid(self, name: str) -> str:
        return next(s.uuid for s in self.store.services(self.admin, query()).objects if s.name == name)

    def handler(self, service: str, operation: Operation = Operation.REDEPLOY, **options: Any) -> Handler:
        return self.store.add_handlers(
            self.admin, self.service_uuid(service), [NewHandler(operation=operation, options=options)]
        )[0]

    def call(self, handler: Handler, amount: int = 1) -> str:
        """Call a handler; answers the action's UUID."""
        return accept(self.intake, call(handler, amount)).result(10).action_uuid

    def claim(self) -> Claim | None:
        return self.queue.claim("worker", ["docker"], lease=LEASE)

    def claim_would_find(self) -> bool:
        return any(a.state is ActionState.PENDING for a in self.store.actions(self.admin, query()).objects)

    def claimed(self) -> Claim:
        claim = self.claim()
        assert claim is not None
        return claim

    def finish(self, claim: Claim, *, success: bool = True) -> None:
        self.queue.finish(claim, Outcome(success=success), None)


def query(**filters: str) -> Query:
    """Make a query of filters."""
    return Query(filters=filters, limit=100)


def call(handler: Handler, amount: int = 1) -> Call:
    """Make a call of a handler."""
    return Call(service_uuid=handler.service_uuid, handler_uuid=handler.uuid, amount=amount, origin=ORIGIN, body_size=0)


def accept(intake: SqlIntake, one: Call) -> "Future[Accepted]":
    """Hand a call to an intake."""
    future: Future[Accepted] = Future()

    def tell(results: Sequence[CallResult]) -> None:
        (result,) = results
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            assert isinstance(result, Accepted)
            future.set_result(result)

    intake.store([one], tell)
    return future


def snapshot(name: str, *, containers: int = 2, owner: str | None = None, prefix: str = "c") -> ServiceSnapshot:
    """Make what an engine shows of a running service."""
    return ServiceSnapshot(
        selector=f"name:{name}",
        name=name,
        target=containers,
        owner=owner,
        image_name="app:latest",
        containers=tuple(
            ContainerSnapshot(id=f"{name}-{prefix}{number}", name=f"{name}-{number}", state=ContainerState.RUNNING)
            for number in range(1, containers + 1)
        ),
    )


@contextmanager
def bench(url: str) -> Iterator[Bench]:
    """Open a bench on an empty database."""
    database = Database(url)
    database.migrate()
    clock, wakeup = MovedClock(), Wakeup()
    store = SqlStore(database, clock, wakeup)
    admin = store.add_user("admin", is_admin=True)
    intake = SqlIntake(database, clock, wakeup)
    queue = SqlQueue(database, clock, wakeup)
    queue.register("worker", [ENGINE])
    try:
        yield Bench(database=database, clock=clock, store=store, intake=intake, queue=queue, admin=admin)
    finally:
        intake.close()
        database.close()


@contextmanager
def second_intake(b: Bench, url: str) -> Iterator[SqlIntake]:
    """Open the intake of another replica on the same database."""
    database = Database(url)
    intake = SqlIntake(database, b.clock, Wakeup())
    try:
        yield intake
    finally:
        intake.close()
        database.close()
