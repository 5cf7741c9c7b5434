"""A database that somebody has taken over who can write it, and a worker that performs what its rows ask for."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import sqlalchemy as sa

from tests.support.runs import SEAL, Killed
from tests.support.stores import ORIGIN, StoreBed, open_store
from tutumd.boottime import boottime_s
from tutumd.model import Claim, Outcome, Phase, RunLimits, Verb
from tutumd.ports.engine import Engine
from tutumd.ports.queue import Queue
from tutumd.store.tables.actions import actions
from tutumd.store.tables.services import services
from tutumd.worker.leased_run import LeasedRun
from tutumd.worker.perform import perform
from tutumd.worker.trust import JournalSeal

_LEASE = timedelta(hours=1)


class DyingQueue:
    """A queue whose worker is killed once it has stored a journal or a line of the log that `is_last` accepts."""

    def __init__(self, queue: Queue, is_last: Callable[[object], bool]) -> None:
        self._queue = queue
        self._is_last = is_last

    def save_journal(self, claim: Claim, journal: Mapping[str, object]) -> None:
        self._queue.save_journal(claim, journal)
        self._die(journal)

    def add_log_line(self, claim: Claim, text: str, phase: Phase | None = None) -> None:
        self._queue.add_log_line(claim, text, phase)
        self._die(text)

    def _die(self, stored: object) -> None:
        if self._is_last(stored):
            raise Killed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queue, name)


class TakenOver:
    """The rows of one engine's services, which anybody can write, and the worker of that engine."""

    def __init__(self, stored: StoreBed, engine: Engine) -> None:
        self._stored = stored
        self._engine = engine
        stored.queue.register("worker", [engine.info])
        stored.queue.sync(engine.info, engine.discover(), revisions=stored.queue.revisions(engine.info.name))

    def write_service(self, name: str, **values: Any) -> None:
        """Change the row of a service."""
        self._write(sa.update(services).where(services.c.name == name).values(**values))

    def write_action(
        self, service: str, verb: Verb = Verb.REDEPLOY, *, target: int | None = None, **values: Any
    ) -> str:
        """Write an action; return its UUID."""
        stored, uuid = self._stored, self._stored.service_uuid(service)
        action = stored.store.submit(stored.admin, uuid, verb, target=target, origin=ORIGIN)
        if values:
            self._write(sa.update(actions).where(actions.c.uuid == action.uuid).values(**values))
        return action.uuid

    def write_rollback(self, service: str, image: object) -> None:
        """Write a ROLLBACK to an image."""
        uuid = self.write_action(service, image=image)
        self._write(sa.update(actions).where(actions.c.uuid == uuid).values(verb=Verb.ROLLBACK.value))

    def perform(self, seal: JournalSeal = SEAL) -> Outcome:
        """Let a worker perform the next action."""
        run = self._claimed(self._stored.queue, seal)
        outcome = perform(run, self._engine, self._stored.queue, server_cap=10)
        self._stored.queue.finish(run.claim, outcome, None)
        return outcome

    def perform_until(self, is_last: Callable[[object], bool]) -> None:
        """Let a worker begin the next action, and be killed once it has stored such a journal or line of the log."""
        queue = cast(Queue, DyingQueue(self._stored.queue, is_last))
        run = self._claimed(queue, SEAL)
        try:
            perform(run, self._engine, queue, server_cap=10)
        except Killed:
            self._stored.queue.release(run.claim)
        else:
            raise AssertionError("it was to be killed")

    def lines(self, action: str) -> list[str]:
        """Return what the log of an action says."""
        return [line.text for line in self._stored.store.log_lines(self._stored.admin, action, 0)]

    def _claimed(self, queue: Queue, seal: JournalSeal) -> LeasedRun:
        claim = self._stored.queue.claim("worker", [self._engine.info.name], lease=_LEASE)
        assert claim is not None
        return LeasedRun(claim, queue, seal=seal, lease=_LEASE, limits=RunLimits(), claimed_at=boottime_s())

    def _write(self, statement: sa.Update) -> None:
        with self._stored.database.write() as connection:
            connection.execute(statement)


@contextmanager
def taken_over(folder: Path, engine: Engine) -> Iterator[TakenOver]:
    """Yield a database with the services of an engine."""
    with open_store(f"sqlite:///{folder / 'test.db'}") as stored:
        yield TakenOver(stored, engine)
