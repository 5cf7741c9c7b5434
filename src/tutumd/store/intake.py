"""The intake: one writer thread that commits the calls that arrive together in one transaction."""

import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import cache
from itertools import chain
from queue import SimpleQueue
from threading import Thread
from typing import Any

import sqlalchemy as sa

from tutumd.errors import LockedError, TutumdError
from tutumd.model import Call, DeliveryOutcome
from tutumd.ports import CallResult, Clock, Intake, OnStored
from tutumd.store import pending_actions
from tutumd.store.coalesce import Coalescer, with_action_seqs
from tutumd.store.content_budget import ContentBudget
from tutumd.store.database import Database
from tutumd.store.handler_lookup import HandlerCache, execute_compiled, find_handlers, find_repeated
from tutumd.store.locks import lock_services, lock_unlocked_services
from tutumd.store.tables import actions, deliveries, handlers, microseconds
from tutumd.store.wakeup import Wakeup

_COLUMN_TYPES = {
    "handler_seq": "BIGINT",
    "action_seq": "BIGINT",
    "amount": "INTEGER",
    "received": "BIGINT",
    "address": "TEXT",
    "user_agent": "TEXT",
    "body_size": "INTEGER",
    "outcome": "TEXT",
    "reason": "TEXT",
    "most": "INTEGER",
    "tag": "TEXT",
    "variable": "TEXT",
    "sender_key": "TEXT",
    "content": "TEXT",
    "kept_bytes": "INTEGER",
}
"""Columns of `deliveries`, in the order of `Coalescer.deliveries`, with their SQL types."""

_COLUMNS = ", ".join(_COLUMN_TYPES)
_JSON_VALUES = ", ".join(f"CAST(value ->> {index} AS {kind})" for index, kind in enumerate(_COLUMN_TYPES.values()))
_INSERT_JSON = sa.text(
    f"INSERT INTO deliveries ({_COLUMNS}) SELECT {_JSON_VALUES} "  # noqa: S608 (names of columns)
    "FROM json_array_elements(CAST(:rows AS json)) AS rows(value)"
)
_ROW = f"({', '.join('?' * len(_COLUMN_TYPES))})"

_log = logging.getLogger(__name__)


class SqlIntake(Intake):
    """Intake of ports.py, as a thread that commits one batch after the other."""

    def __init__(self, database: Database, clock: Clock, wakeup: Wakeup, *, log_bytes: int = 64 * 1024 * 1024) -> None:
        """Start the writer thread.

        Args:
            log_bytes: What the deliveries of a handler may take. A quarter of it is the content kept in a minute.
        """
        self._database = database
        self._clock = clock
        self._wakeup = wakeup
        # Only on SQLite, where nobody else can write during a transaction, is the cache reliable.
        self._cache = None if database.is_postgres else HandlerCache()
        self._budget = ContentBudget(log_bytes // 4)
        self._connection: sa.Connection | None = None
        self._batches: SimpleQueue[tuple[Sequence[Call], OnStored] | None] = SimpleQueue()
        self._thread = Thread(target=self._write, name="intake", daemon=True)
        self._thread.start()

    def store(self, calls: Sequence[Call], on_stored: OnStored) -> None:
        self._batches.put((calls, on_stored))

    def close(self) -> None:
        """Commit the waiting batches, then stop the writer."""
        self._batches.put(None)
        self._thread.join()

    def _write(self) -> None:
        while (batch := self._batches.get()) is not None:
            calls, on_stored = batch
            on_stored(self._commit(calls))
        self._disconnect()

    def _commit(self, calls: Sequence[Call], lock_error: LockedError | None = None) -> Sequence[CallResult]:
        """Commit calls and return their results.

        Args:
            lock_error: From the first attempt: another process, which may be stopped, holds a service. Calls to such
                services get this error, so that they do not hold up the others.
        """
        locked: set[str] = set()
        try:
            if self._cache is not None and self._connection is None:
                self._connection = self._database.connect()
            with self._database.write(self._connection) as connection:
                if lock_error:
                    locked = lock_unlocked_services(connection, {call.service_uuid for call in calls})
                free = [call for call in calls if call.service_uuid not in locked] if locked else calls
                results, wakes_worker = store_calls(connection, free, self._clock(), self._cache, self._budget)
                if wakes_worker:
                    self._wakeup.notify_others(connection)
        except Exception as error:  # noqa: BLE001 (the only writer must survive; every caller gets the error)
            self._disconnect()
            if isinstance(error, LockedError) and not lock_error:
                return self._commit(calls, error)
            if not isinstance(error, TutumdError):
                _log.exception("calls were not stored")
            return [error] * len(calls)
        if wakes_worker:
            self._wakeup.notify()
        if lock_error is None:
            return results
        stored = iter(results)
        return [lock_error if call.service_uuid in locked else next(stored) for call in calls]

    def _disconnect(self) -> None:
        """Close the connection, and clear the cache that is valid for it."""
        if self._cache is not None:
            self._cache.clear()
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sa.exc.SQLAlchemyError):  # closing a broken connection may fail, and the writer must survive
                connection.close()


def store_calls(
    connection: sa.Connection,
    calls: Sequence[Call],
    now: datetime,
    handler_cache: HandlerCache | None,
    budget: ContentBudget,
) -> tuple[list[CallResult], bool]:
    """Store calls in their order within one transaction.

    Returns:
        The results, and whether to wake a worker. A call that joined an action need not: the call that queued the
        action did.
    """
    if not calls:
        return [], False  # all services are locked by others
    now_us = microseconds(now)
    lock_services(connection, {call.service_uuid for call in calls})
    called = find_handlers(connection, calls, now_us, handler_cache)
    batch = Coalescer(called, find_repeated(connection, calls, called, now), now_us, budget)
    results = [batch.add(call) for call in calls]
    if batch.new_actions:
        seqs = pending_actions.insert(connection, batch.new_actions)
        results = with_action_seqs(results, seqs)
        for row in batch.deliveries:
            row[1] = seqs.get(row[1], row[1])
    _insert_deliveries(connection, batch.deliveries)
    if batch.action_changes or batch.handler_changes:
        _write_changes(connection, batch, seqs if batch.new_actions else {})
    if handler_cache is not None:
        handler_cache.forget(batch.changed_services)
    wakes_worker = bool(batch.new_actions) or any("due" in change for change in batch.action_changes.values())
    return results, wakes_worker


def _insert_deliveries(connection: sa.Connection, rows: Sequence[Sequence[Any]]) -> None:
    """Insert rows with few statements: one statement per row costs as much as the rest of a call."""
    if connection.dialect.name == "postgresql":
        if rows:
            execute_compiled(connection, _INSERT_JSON, rows=json.dumps(rows))
        return
    start = 0
    while start < len(rows):
        size = 1 << ((len(rows) - start).bit_length() - 1)  # powers of two, so that few statements are prepared
        values = tuple(chain.from_iterable(rows[start : start + size]))
        connection.exec_driver_sql(_insert_statement(size), values)
        start += size


@cache
def _insert_statement(size: int) -> str:
    return f"INSERT INTO deliveries ({_COLUMNS}) VALUES {', '.join([_ROW] * size)}"  # noqa: S608 (names of columns)


def _write_changes(connection: sa.Connection, batch: Coalescer, seqs: Mapping[str, int]) -> None:
    for handler_seq, handler_values in batch.handler_changes.items():
        connection.execute(sa.update(handlers).where(handlers.c.seq == handler_seq).values(**handler_values))
    for action, changes in batch.action_changes.items():
        seq = seqs[action] if isinstance(action, str) else action
        values = dict(changes)
        if "variables" in changes:
            stored = connection.execute(sa.select(actions.c.variables).where(actions.c.seq == seq)).scalar_one()
            values["variables"] = {**stored, **changes["variables"]}
        connection.execute(sa.update(actions).where(actions.c.seq == seq).values(**values))
        if "tag" in changes:
            reason = f"a later call named the tag {changes['tag']!r}"
            _mark_superseded(connection, seq, deliveries.c.tag != changes["tag"], reason)
        for variable in changes.get("variables", ()):
            carries_it = sa.and_(deliveries.c.action_seq == seq, deliveries.c.variable == variable)
            newest = sa.select(sa.func.max(deliveries.c.seq)).where(carries_it).scalar_subquery()
            overridden = sa.and_(deliveries.c.variable == variable, deliveries.c.seq < newest)
            _mark_superseded(connection, seq, overridden, "a later call brought another body")


def _mark_superseded(
    connection: sa.Connection, action_seq: int, overridden: sa.ColumnElement[bool], reason: str
) -> None:
    """Mark deliveries of an action whose input a later delivery has overridden."""
    connection.execute(
        sa.update(deliveries)
        .where(deliveries.c.action_seq == action_seq, overridden)
        .values(outcome=DeliveryOutcome.SUPERSEDED.value, reason=reason)
    )
