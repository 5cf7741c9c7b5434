"""The intake: one writer that commits the calls that arrive together in one transaction."""

import json
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from queue import SimpleQueue
from threading import Thread
from typing import Any, NamedTuple

import sqlalchemy as sa

from tutumd.errors import NotFoundError, TutumdError
from tutumd.model import Accepted, Call, DeliveryOutcome, Operation, Verb
from tutumd.ports import Clock, Result, Tell
from tutumd.store import pending
from tutumd.store.database import Database
from tutumd.store.rows import NOT_FOUND, lock_services
from tutumd.store.signal import Signal
from tutumd.store.tables import OPEN, actions, handlers, microseconds, services


class _Found(NamedTuple):
    """A handler that is called, and the open action that a call to it joins."""

    uuid: str
    seq: int
    service_uuid: str
    name: str | None
    operation: str
    engine: str
    action_uuid: str | None
    action_seq: int | None


def _find_statement(wanted: sa.ColumnElement[bool], array: str, list_: str) -> sa.Select[Any]:
    found = (
        sa.select(
            handlers.c.uuid,
            handlers.c.seq,
            handlers.c.service_uuid,
            handlers.c.name,
            handlers.c.operation,
            services.c.engine,
            actions.c.uuid.label("action_uuid"),
            actions.c.seq.label("action_seq"),
        )
        .join(services, services.c.uuid == handlers.c.service_uuid)
        .outerjoin(
            actions,
            sa.and_(actions.c.service_uuid == handlers.c.service_uuid, actions.c.verb == handlers.c.operation, OPEN),
        )
        .where(wanted, sa.not_(services.c.terminated))
        .order_by(handlers.c.uuid)
        # FOR SHARE: a DELETE that was answered before was seen here, and one that comes now waits for our commit.
        .with_for_update(read=True, of=handlers)
        .subquery()
    )
    return sa.select(getattr(sa.func, list_)(getattr(sa.func, array)(*found.c)))


# A batch is one statement each way, its rows as JSON. SQLite's driver gives the interpreter away with each row that it
# steps to, and while the event loop is busy it gets it back only after up to 5 ms.
_FIND = {
    "sqlite": _find_statement(
        handlers.c.uuid.in_(sa.select(sa.func.json_each(sa.bindparam("uuids")).table_valued("value").c.value)),
        "json_array",
        "json_group_array",
    ),
    "postgresql": _find_statement(
        handlers.c.uuid.in_(
            sa.select(sa.func.json_array_elements_text(sa.text("CAST(:uuids AS json)")).column_valued())
        ),
        "json_build_array",
        "json_agg",
    ),
}
_DELIVERY = {
    "handler_seq": "BIGINT",
    "action_seq": "BIGINT",
    "amount": "INTEGER",
    "received": "BIGINT",
    "address": "TEXT",
    "user_agent": "TEXT",
    "body_size": "INTEGER",
    "outcome": "TEXT",
}
_VALUES = ", ".join(f"CAST(value ->> {number} AS {kind})" for number, kind in enumerate(_DELIVERY.values()))
_INSERT = {
    dialect: sa.text(f"INSERT INTO deliveries ({', '.join(_DELIVERY)}) SELECT {_VALUES} FROM {source}")  # noqa: S608 (names of columns)
    for dialect, source in {
        "sqlite": "json_each(:rows)",
        "postgresql": "json_array_elements(CAST(:rows AS json)) AS rows(value)",
    }.items()
}
_JOINED, _QUEUED = DeliveryOutcome.JOINED.value, DeliveryOutcome.QUEUED.value

_log = logging.getLogger(__name__)
_Delivery = tuple[int, int, int, int, str, str, int, str]


class SqlIntake:
    """Intake of ports.py: a thread that commits one batch after the other."""

    def __init__(self, database: Database, clock: Clock, signal: Signal) -> None:
        """Start the writer."""
        self._database = database
        self._clock = clock
        self._signal = signal
        self._batches: SimpleQueue[tuple[Sequence[Call], Tell] | None] = SimpleQueue()
        self._thread = Thread(target=self._write, name="intake", daemon=True)
        self._thread.start()

    def store(self, calls: Sequence[Call], tell: Tell) -> None:
        """See ports.py."""
        self._batches.put((calls, tell))

    def close(self) -> None:
        """Commit what waits, then stop the writer."""
        self._batches.put(None)
        self._thread.join()

    def _write(self) -> None:
        while (batch := self._batches.get()) is not None:
            calls, tell = batch
            tell(self._commit(calls))

    def _commit(self, calls: Sequence[Call]) -> Sequence[Result]:
        try:
            with self._database.write() as connection:
                results, queued = store_calls(connection, calls, self._clock)
                if queued:
                    self._signal.tell_others(connection)
        except Exception as error:  # noqa: BLE001 (the one writer must live on; every caller is told)
            if not isinstance(error, TutumdError):
                _log.exception("calls were not stored")
            return [error] * len(calls)
        if queued:
            self._signal.notify()
        return results


def store_calls(connection: sa.Connection, calls: Sequence[Call], clock: Clock) -> tuple[list[Result], int]:
    """Store calls in their order within one transaction.

    Returns:
        What became of each, and how many actions were queued. A call that
        joined one need not wake a worker: the call that queued it did.
    """
    now = clock()
    lock_services(connection, {call.service_uuid for call in calls})
    found = _find(connection, {call.handler_uuid for call in calls})
    known = [found.get(call.handler_uuid) for call in calls]
    handlers_called = [
        handler if handler and handler.service_uuid == call.service_uuid else None
        for call, handler in zip(calls, known, strict=True)
    ]
    new = _new_actions(calls, handlers_called, now)
    seqs = pending.insert(connection, list(new.values()))
    received, outcomes = microseconds(now), dict.fromkeys(new, _QUEUED)
    deliveries: list[_Delivery] = []
    results: list[Result] = []
    for call, handler in zip(calls, handlers_called, strict=True):
        if handler is None:
            results.append(NotFoundError(NOT_FOUND))
            continue
        key = (handler.service_uuid, handler.operation)
        action_uuid = handler.action_uuid or new[key]["uuid"]
        action_seq = handler.action_seq or seqs[action_uuid]
        deliveries.append(
            (
                handler.seq,
                action_seq,
                call.amount,
                received,
                call.origin.address[:64],
                call.origin.user_agent[:512],
                call.body_size,
                outcomes.pop(key, _JOINED),
            )
        )
        results.append(Accepted(name=handler.name, operation=Operation(handler.operation), action_uuid=action_uuid))
    if deliveries:
        _execute(connection, _INSERT, json.dumps(deliveries))
    return results, len(new)


def _find(connection: sa.Connection, uuids: set[str]) -> dict[str, _Found]:
    """Find the handlers that are called, each with the open action that a call to it joins.

    That action stays open until the transaction ends, for its service is locked.
    """
    rows = _execute(connection, _FIND, json.dumps(list(uuids))).scalar() or ()
    return {row[0]: _Found(*row) for row in (json.loads(rows) if isinstance(rows, str) else rows)}


def _execute(connection: sa.Connection, statements: Mapping[str, sa.ClauseElement], text: str) -> sa.CursorResult[Any]:
    """Execute a statement that has one parameter; without the library's work for it, which takes as long as a call."""
    sql, name = _compiled(statements[connection.dialect.name], connection.dialect)
    return connection.exec_driver_sql(sql, {name: text} if name else (text,))


@cache
def _compiled(statement: sa.ClauseElement, dialect: sa.Dialect) -> tuple[str, str]:
    """Write a statement as SQL, with the name of its one parameter where the driver wants names."""
    compiled = statement.compile(dialect=dialect)
    (name,) = compiled.params
    return str(compiled), "" if dialect.positional else name


def _new_actions(
    calls: Sequence[Call], called: Sequence[_Found | None], now: datetime
) -> dict[tuple[str, str], dict[str, Any]]:
    """Make an action for each service and operation that is called and has no open one."""
    new: dict[tuple[str, str], dict[str, Any]] = {}
    for call, handler in zip(calls, called, strict=True):
        if handler is None or handler.action_uuid:
            continue
        key = (handler.service_uuid, handler.operation)
        if key not in new:
            verb = Verb(handler.operation)
            new[key] = pending.new_action(handler.service_uuid, handler.engine, verb, origin=call.origin, now=now)
    return new
