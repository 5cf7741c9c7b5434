"""The intake: one writer that commits the calls that arrive together in one transaction."""

import logging
from collections.abc import Sequence
from concurrent.futures import Future
from datetime import datetime
from queue import Empty, Full, Queue
from threading import Thread
from typing import Any

import sqlalchemy as sa

from tutumd.errors import NotFoundError, TutumdError, UnavailableError
from tutumd.model import Accepted, Call, DeliveryOutcome, Verb
from tutumd.ports import Clock
from tutumd.store import pending
from tutumd.store.database import Database
from tutumd.store.rows import NOT_FOUND, Row, handler_from, lock_services
from tutumd.store.signal import Signal
from tutumd.store.tables import OPEN, actions, deliveries, handlers, services

MAX_BATCH = 256
MAX_WAITING = 10_000

# Built once: building a statement takes longer than running it.
_FIND: sa.Select[Any] = (
    sa.select(
        handlers.c.uuid,
        handlers.c.service_uuid,
        handlers.c.name,
        handlers.c.operation,
        handlers.c.created,
        services.c.engine,
        actions.c.uuid.label("action_uuid"),
    )
    .join(services, services.c.uuid == handlers.c.service_uuid)
    .outerjoin(
        actions,
        sa.and_(actions.c.service_uuid == handlers.c.service_uuid, actions.c.verb == handlers.c.operation, OPEN),
    )
    .where(handlers.c.uuid.in_(sa.bindparam("uuids", expanding=True)), sa.not_(services.c.terminated))
    .order_by(handlers.c.uuid)
    # FOR SHARE: a DELETE that was answered before was seen here, and one that comes now waits for our commit.
    .with_for_update(read=True, of=handlers)
)
_INSERT = sa.insert(deliveries)
_JOINED, _QUEUED = DeliveryOutcome.JOINED.value, DeliveryOutcome.QUEUED.value

_log = logging.getLogger(__name__)
_Entry = tuple[Call, "Future[Accepted]"]


class SqlIntake:
    """Intake of ports.py. The batch is what came in while the one before it was committed."""

    def __init__(self, database: Database, clock: Clock, signal: Signal) -> None:
        """Start the writer."""
        self._database = database
        self._clock = clock
        self._signal = signal
        self._waiting: Queue[_Entry | None] = Queue(MAX_WAITING)
        self._thread = Thread(target=self._write, name="intake", daemon=True)
        self._thread.start()

    def accept(self, call: Call) -> "Future[Accepted]":
        """See ports.py."""
        future: Future[Accepted] = Future()
        try:
            self._waiting.put_nowait((call, future))
        except Full:
            future.set_exception(UnavailableError("too many calls are waiting to be stored; try again in a moment"))
        return future

    def close(self) -> None:
        """Commit what waits, then stop the writer."""
        self._waiting.put(None)
        self._thread.join()

    def _write(self) -> None:
        closing = False
        while not closing:
            entries, closing = self._gather()
            # A caller that went away canceled its future: its call was not answered and is not stored.
            batch = [entry for entry in entries if entry[1].set_running_or_notify_cancel()]
            if batch:
                self._commit(batch)

    def _gather(self) -> tuple[list[_Entry], bool]:
        first = self._waiting.get()
        if first is None:
            return [], True
        entries = [first]
        while len(entries) < MAX_BATCH:
            try:
                entry = self._waiting.get_nowait()
            except Empty:
                break
            if entry is None:
                return entries, True
            entries.append(entry)
        return entries, False

    def _commit(self, batch: list[_Entry]) -> None:
        try:
            with self._database.write() as connection:
                results, queued = store_calls(connection, [call for call, _ in batch], self._clock)
                if queued:
                    self._signal.tell_others(connection)
        except TutumdError as error:
            for _, future in batch:
                future.set_exception(error)
            return
        except Exception as error:  # noqa: BLE001 (the one writer must live on; every caller is told)
            _log.exception("calls were not stored")
            for _, future in batch:
                future.set_exception(error)
            return
        if queued:
            self._signal.notify()
        for (_, future), result in zip(batch, results, strict=True):
            if result is None:
                future.set_exception(NotFoundError(NOT_FOUND))
            else:
                future.set_result(result)


def store_calls(connection: sa.Connection, calls: Sequence[Call], clock: Clock) -> tuple[list[Accepted | None], int]:
    """Store calls in their order within one transaction.

    Returns:
        What became of each, None where there is no such handler; and how many actions were queued. A call that
        joined one need not wake a worker: the call that queued it did.
    """
    now = clock()
    lock_services(connection, {call.service_uuid for call in calls})
    found = _find(connection, calls)
    joined: dict[pending.Key, str] = {}
    new_actions: list[dict[str, Any]] = []
    new_deliveries: list[dict[str, Any]] = []
    results: list[Accepted | None] = []
    for call in calls:
        row = found.get(call.handler_uuid)
        if row is None or row.service_uuid != call.service_uuid:
            results.append(None)
            continue
        key = (row.service_uuid, row.operation)
        action_uuid = row.action_uuid or joined.get(key)
        outcome = _JOINED
        if action_uuid is None:
            outcome = _QUEUED
            verb = Verb(row.operation)
            new_actions.append(pending.new_action(row.service_uuid, row.engine, verb, origin=call.origin, now=now))
            action_uuid = joined[key] = new_actions[-1]["uuid"]
        new_deliveries.append(_delivery(call, action_uuid, outcome, now))
        results.append(Accepted(handler=handler_from(row), action_uuid=action_uuid))
    pending.insert(connection, new_actions)
    if new_deliveries:
        connection.execute(_INSERT, new_deliveries)
    return results, len(new_actions)


def _find(connection: sa.Connection, calls: Sequence[Call]) -> dict[str, Row]:
    """Find the handlers that are called, each with the open action that a call to it joins.

    That action stays open until the transaction ends, for its service is locked.
    """
    rows = connection.execute(_FIND, {"uuids": list({call.handler_uuid for call in calls})}).all()
    return {row.uuid: row for row in rows}


def _delivery(call: Call, action_uuid: str, outcome: str, now: datetime) -> dict[str, Any]:
    return {
        "handler_uuid": call.handler_uuid,
        "action_uuid": action_uuid,
        "amount": call.amount,
        "received": now,
        "address": call.origin.address[:64],
        "user_agent": call.origin.user_agent[:512],
        "body_size": call.body_size,
        "outcome": outcome,
    }
