"""The intake: one writer that commits the calls that arrive together in one transaction."""

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

from tutumd.errors import LockedError, TooManyCallsError, TutumdError
from tutumd.model import Call, DeliveryOutcome
from tutumd.ports import CallResult, Clock, OnStored
from tutumd.store import pending_actions
from tutumd.store.coalesce import Joining, with_numbers
from tutumd.store.database import Database
from tutumd.store.handler_lookup import Known, execute, find, find_repeated
from tutumd.store.rate_limits import ClientRates
from tutumd.store.row_mapping import lock_free_services, lock_services
from tutumd.store.tables import actions, deliveries, handlers, microseconds
from tutumd.store.wakeup import Wakeup

_DELIVERY = {
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
}
_COLUMNS = ", ".join(_DELIVERY)
_VALUES = ", ".join(f"CAST(value ->> {number} AS {kind})" for number, kind in enumerate(_DELIVERY.values()))
_INSERT_JSON = sa.text(
    f"INSERT INTO deliveries ({_COLUMNS}) SELECT {_VALUES} "  # noqa: S608 (names of columns)
    "FROM json_array_elements(CAST(:rows AS json)) AS rows(value)"
)
_ROW = f"({', '.join('?' * len(_DELIVERY))})"

_log = logging.getLogger(__name__)


class SqlIntake:
    """Intake of ports.py: a thread that commits one batch after the other."""

    def __init__(
        self, database: Database, clock: Clock, wakeup: Wakeup, client_rate: tuple[int, int] | None = None
    ) -> None:
        """Start the writer.

        Args:
            client_rate: Calls that one client address may make, to whatever handlers, within so many seconds.
        """
        self._database = database
        self._clock = clock
        self._wakeup = wakeup
        self._client_rate = client_rate
        # On SQLite nobody else writes during a transaction, so that what its connection knows can be relied on.
        self._known = None if database.is_postgres else Known()
        self._connection: sa.Connection | None = None
        self._batches: SimpleQueue[tuple[Sequence[Call], OnStored] | None] = SimpleQueue()
        self._thread = Thread(target=self._write, name="intake", daemon=True)
        self._thread.start()

    def store(self, calls: Sequence[Call], on_stored: OnStored) -> None:
        """See ports.py."""
        self._batches.put((calls, on_stored))

    def close(self) -> None:
        """Commit what waits, then stop the writer."""
        self._batches.put(None)
        self._thread.join()

    def _write(self) -> None:
        while (batch := self._batches.get()) is not None:
            calls, on_stored = batch
            on_stored(self._commit(calls))
        self._disconnect()

    def _commit(self, calls: Sequence[Call], locked: LockedError | None = None) -> Sequence[CallResult]:
        """Commit calls; where another process, which may be stopped, keeps a service locked, those of the others."""
        held: set[str] = set()
        try:
            if self._known is not None and self._connection is None:
                self._connection = self._database.connect()
            with self._database.write(self._connection) as connection:
                if locked:
                    held = lock_free_services(connection, {call.service_uuid for call in calls})
                free = [call for call in calls if call.service_uuid not in held] if held else calls
                results, is_due = store_calls(connection, free, self._clock(), self._client_rate, self._known)
                if is_due:
                    self._wakeup.tell_others(connection)
        except Exception as error:  # noqa: BLE001 (the one writer must live on; every caller is told)
            self._disconnect()
            if isinstance(error, LockedError) and not locked:
                return self._commit(calls, error)
            if not isinstance(error, TutumdError):
                _log.exception("calls were not stored")
            return [error] * len(calls)
        if is_due:
            self._wakeup.notify()
        stored = iter(results)
        return [locked if call.service_uuid in held else next(stored) for call in calls] if locked else results

    def _disconnect(self) -> None:
        """Give the connection back, and with it what is known through it."""
        if self._known is not None:
            self._known.clear()
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sa.exc.SQLAlchemyError):  # a broken one cannot be tidied, and the writer must live on
                connection.close()


def store_calls(
    connection: sa.Connection,
    calls: Sequence[Call],
    now: datetime,
    client_rate: tuple[int, int] | None,
    known: Known | None,
) -> tuple[list[CallResult], bool]:
    """Store calls in their order within one transaction.

    Args:
        client_rate: As of `SqlIntake`.
        known: As of `find`.

    Returns:
        What became of each, and whether a worker has to be woken. A call that joined an action need not wake one:
        the call that queued it did.
    """
    if not calls:
        return [], False  # all of them are held up
    now_us = microseconds(now)
    lock_services(connection, {call.service_uuid for call in calls})
    found = find(connection, calls, now_us, known)
    joining = Joining(found, find_repeated(connection, calls, found, now), now_us)
    if client_rate is None:
        results = [joining.take(call) for call in calls]
    else:
        results = _take_slowly(connection, joining, calls, client_rate, now_us)
    if joining.new:
        seqs = pending_actions.insert(connection, joining.new)
        results = with_numbers(results, seqs)
        for row in joining.deliveries:
            row[1] = seqs.get(row[1], row[1])
    _insert_deliveries(connection, joining.deliveries)
    if joining.action_changes or joining.handler_changes:
        _write_changes(connection, joining, seqs if joining.new else {})
    if known is not None:
        known.forget(joining.changed_services)
    is_due = bool(joining.new) or any("due" in change for change in joining.action_changes.values())
    return results, is_due


def _take_slowly(
    connection: sa.Connection, joining: Joining, calls: Sequence[Call], rate: tuple[int, int], now_us: int
) -> list[CallResult]:
    """Take only calls of clients that did not make too many, whether their handlers exist or not."""
    clients = ClientRates(connection, [call.origin.address for call in calls], rate, now_us)
    results: list[CallResult] = []
    for call in calls:
        # Its options were looked at on its behalf: it is here for the second time.
        wait_s = 0 if call.evaluation is not None else clients.take(call.origin.address)
        if wait_s:
            told = f"{rate[0]} calls in {rate[1]} s are taken from one address"
            results.append(TooManyCallsError(told, retry_after_s=wait_s))
        else:
            results.append(joining.take(call))
    clients.save()
    return results


def _insert_deliveries(connection: sa.Connection, rows: Sequence[Sequence[Any]]) -> None:
    """Insert rows with few statements: a statement for each costs as much as all the rest of a call."""
    if connection.dialect.name == "postgresql":
        if rows:
            execute(connection, _INSERT_JSON, rows=json.dumps(rows))
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


def _write_changes(connection: sa.Connection, joining: Joining, seqs: Mapping[str, int]) -> None:
    for number, values in joining.handler_changes.items():
        connection.execute(sa.update(handlers).where(handlers.c.seq == number).values(**values))
    for action, changes in joining.action_changes.items():
        seq = seqs[action] if isinstance(action, str) else action
        values = dict(changes)
        if "variables" in changes:
            known = connection.execute(sa.select(actions.c.variables).where(actions.c.seq == seq)).scalar_one()
            values["variables"] = {**known, **changes["variables"]}
        connection.execute(sa.update(actions).where(actions.c.seq == seq).values(**values))
        if "tag" in changes:
            told = f"a later call named the tag {changes['tag']!r}"
            _supersede(connection, seq, deliveries.c.tag != changes["tag"], told)
        for name in changes.get("variables", ()):
            brings = sa.and_(deliveries.c.action_seq == seq, deliveries.c.variable == name)
            newest = sa.select(sa.func.max(deliveries.c.seq)).where(brings).scalar_subquery()
            overridden = sa.and_(deliveries.c.variable == name, deliveries.c.seq < newest)
            _supersede(connection, seq, overridden, "a later call brought another body")


def _supersede(connection: sa.Connection, action_seq: int, overridden: sa.ColumnElement[bool], reason: str) -> None:
    """OnStored deliveries of an action that the input which they brought along was overridden by a later one."""
    connection.execute(
        sa.update(deliveries)
        .where(deliveries.c.action_seq == action_seq, overridden)
        .values(outcome=DeliveryOutcome.SUPERSEDED.value, reason=reason)
    )
