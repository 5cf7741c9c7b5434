"""Stores for contract tests: a real database, a clock that the test moves, and short ways to fill both."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import Any

import sqlalchemy as sa

from tutumd.errors import ConflictError
from tutumd.model import (
    Accepted,
    ActionState,
    Call,
    Claim,
    ContainerSnapshot,
    ContainerState,
    Delivery,
    EngineInfo,
    Evaluation,
    EvaluationNeeded,
    Handler,
    NewHandler,
    Operation,
    Origin,
    Outcome,
    Query,
    ServiceSnapshot,
    User,
)
from tutumd.ports.intake import CallResult
from tutumd.ports.queue import Renewal
from tutumd.store.intake.intake import SqlIntake
from tutumd.store.queue.queue import SqlQueue
from tutumd.store.sql import postgres
from tutumd.store.sql.database import Database
from tutumd.store.sql.wakeup import Wakeup
from tutumd.store.store import SqlStore
from tutumd.store.tables.upgrade import upgrade
from tutumd.store.upkeep import delivery_log

ENGINE = EngineInfo(name="docker", kind="docker", hint="On docker, each compose service is one.")
LEASE = timedelta(seconds=10)
ORIGIN = Origin(address="127.0.0.1", user_agent="test")
_WAITING_FOR_A_LOCK = sa.text(
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
)
# A test that has to wait for a busy machine inside of a transaction keeps it.
_LIMITS = postgres.LIMITS.split("'10s'")
assert len(_LIMITS) == 2, "the limit of idle transactions has changed"
postgres.LIMITS = "'15min'".join(_LIMITS)


@dataclass
class MovedClock:
    """A clock that stands still until it is moved."""

    now: datetime = field(default_factory=lambda: datetime(2026, 1, 1, tzinfo=UTC))

    def __call__(self) -> datetime:
        return self.now

    def move(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass
class StoreBed:
    """A store, an intake and a queue over one database, with one admin and the engine `docker`."""

    database: Database
    clock: MovedClock
    store: SqlStore
    intake: SqlIntake
    queue: SqlQueue
    admin: User

    def show(self, *names: str, containers: int = 2, owner: str | None = None) -> None:
        """Let the engine show exactly these services."""
        self.sync(*(snapshot(name, containers=containers, owner=owner) for name in names))

    def sync(self, *snapshots: ServiceSnapshot) -> None:
        """Let the engine show exactly this, and store it."""
        assert self.queue.sync(ENGINE, snapshots, revisions=self.queue.revisions(ENGINE.name))

    def service_uuid(self, name: str) -> str:
        return next(s.uuid for s in self.store.services(self.admin, query(name=name)).objects if s.name == name)

    def handler(self, service: str, operation: Operation = Operation.REDEPLOY, **options: Any) -> Handler:
        return self.store.add_handlers(
            self.admin, self.service_uuid(service), [NewHandler(operation=operation, options=options)]
        )[0]

    def call(self, handler: Handler, amount: int = 1) -> str:
        """Call a handler, and return the action's UUID."""
        return accept(self.intake, call(handler, amount)).result(60).action_uuid

    def send(
        self,
        handler: Handler,
        evaluation: Evaluation | None = None,
        *,
        amount: int = 1,
        key: str | None = None,
        content: str = "",
        intake: SqlIntake | None = None,
    ) -> CallResult:
        """Call a handler, and return the result, which may be an error."""
        result: Future[CallResult] = Future()
        sent = replace(call(handler, amount), evaluation=evaluation, key=key, content=content)
        (intake or self.intake).store([sent], lambda results: result.set_result(results[0]))
        return result.result(60)

    def accepted(self, handler: Handler, evaluation: Evaluation | None = None, **how: Any) -> Accepted:
        """Call a handler, which must accept the call."""
        result = self.send(handler, evaluation, **how)
        assert isinstance(result, Accepted)
        return result

    def bury_audit(self, where: str) -> None:
        """Copy the entry of the audit log for which an SQL condition holds as so many others that it is far behind."""
        columns = "at, user_name, via, credential, address, user_agent, service_name, stack, details"
        with self.database.write() as connection:
            connection.exec_driver_sql(
                f"INSERT INTO audit (what, {columns}) WITH RECURSIVE numbers(i) AS (SELECT 1 UNION ALL SELECT i + 1"
                f" FROM numbers WHERE i < 1100) SELECT 'key made', {columns} FROM numbers, audit WHERE {where}"
            )

    def evaluate(self, handler: Handler, **facts: Any) -> Evaluation:
        """Return an evaluation by the handler's present options."""
        needed = self.send(handler)
        assert isinstance(needed, EvaluationNeeded)
        return Evaluation(version=needed.version, **facts)

    def outcomes(self, handler: Handler) -> list[tuple[str, str]]:
        """Return outcome and codes of the reasons of the handler's deliveries, oldest first."""
        return [
            (each.outcome.value, " ".join(reason.code for reason in each.reasons))
            for each in reversed(self.deliveries(handler))
        ]

    def deliveries(self, handler: Handler) -> tuple[Delivery, ...]:
        """Return what a handler received, newest first."""
        filters = {"service": handler.service_uuid, "handler": str(handler.number)}
        page = self.store.deliveries(self.admin, Query(filters=filters, limit=1_000))
        assert page.total == len(page.objects)
        return page.objects

    def count_deliveries(self) -> None:
        """Count all deliveries, which PostgreSQL only does once they are older than any transaction."""
        self.clock.move(2 * delivery_log.LAG.total_seconds())
        while self.queue.count_calls():
            pass

    def is_waiting_for_a_lock(self) -> bool:
        """Return whether a transaction on PostgreSQL waits for one of another, which it does for 2 s at most."""
        with self.database.read() as connection:
            return bool(connection.execute(_WAITING_FOR_A_LOCK).scalar())

    def has_pending_action(self) -> bool:
        return any(a.state is ActionState.PENDING for a in self.store.actions(self.admin, query()).objects)

    def claim(self) -> Claim | None:
        return self.queue.claim("worker", ["docker"], lease=LEASE)

    def claimed(self) -> Claim:
        """Claim an action, of which there must be one."""
        claim = self.claim()
        assert claim is not None
        return claim

    def renew(self, claim: Claim, *, has_survived: bool = False) -> Renewal:
        """Renew the lease of one claim."""
        (renewal,) = self.queue.renew([(claim, has_survived)], lease=LEASE)
        return renewal

    def finish(self, claim: Claim, *, success: bool = True) -> None:
        self.queue.finish(claim, Outcome(success=success), None)


def is_postgres(database: Database) -> bool:
    return database.url.get_backend_name() == "postgresql"


def query(**filters: str) -> Query:
    return Query(filters=filters, limit=100)


def call(handler: Handler, amount: int = 1) -> Call:
    return Call(service_uuid=handler.service_uuid, handler_uuid=handler.uuid, amount=amount, origin=ORIGIN, body_size=0)


def accept(intake: SqlIntake, call: Call) -> "Future[Accepted]":
    """Hand a call to an intake, and return its result once it is there. An error is raised by the future."""
    future: Future[Accepted] = Future()

    def on_stored(results: Sequence[CallResult]) -> None:
        (result,) = results
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            assert isinstance(result, Accepted)
            future.set_result(result)

    intake.store([call], on_stored)
    return future


def snapshot(name: str, *, containers: int = 2, owner: str | None = None, prefix: str = "c") -> ServiceSnapshot:
    """Return the snapshot of a running service."""
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
def open_store(url: str, clock: MovedClock | None = None) -> Iterator[StoreBed]:
    """Open a store on a database that is empty, or has an admin already."""
    database = Database(url)
    upgrade(database)
    clock, wakeup = clock or MovedClock(), Wakeup()
    store = SqlStore(database, clock, wakeup)
    admin = next(iter(store.users()), None) or store.add_user("admin", is_admin=True)
    intake = SqlIntake(database, clock, wakeup)
    queue = SqlQueue(database, clock, wakeup)
    queue.register("worker", [ENGINE])
    try:
        yield StoreBed(database=database, clock=clock, store=store, intake=intake, queue=queue, admin=admin)
    finally:
        intake.close()
        database.close()


def at_once(bed: StoreBed, act: Callable[[SqlStore, int], object]) -> list[object]:
    """Do something in four replicas at once, and return the result of each, or its `ConflictError`."""
    begin = Barrier(4)

    def one(number: int) -> object:
        store = SqlStore(bed.database, bed.clock, Wakeup())
        begin.wait(120)
        try:
            return act(store, number)
        except ConflictError as error:
            return error

    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(one, range(4)))


@contextmanager
def second_intake(bed: StoreBed, url: str, *, max_keys: int = 1_000_000) -> Iterator[SqlIntake]:
    """Open the intake of another replica on the same database."""
    database = Database(url)
    intake = SqlIntake(database, bed.clock, Wakeup(), max_keys=max_keys)
    try:
        yield intake
    finally:
        intake.close()
        database.close()
