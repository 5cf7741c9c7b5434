"""The intake: one writer that commits the calls that arrive together in one transaction."""

import json
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from queue import SimpleQueue
from threading import Thread
from typing import Any

import sqlalchemy as sa

from tutumd.errors import LockedError, TooManyCallsError, TutumdError
from tutumd.model import Accepted, ActionState, Call, DeliveryOutcome, Operation
from tutumd.ports import Clock, Result, Tell
from tutumd.store import pending
from tutumd.store.database import Database
from tutumd.store.joining import Found, Joining, Key, with_numbers
from tutumd.store.rates import ClientRates
from tutumd.store.rows import lock_free_services, lock_services
from tutumd.store.signal import Signal
from tutumd.store.tables import OPEN, actions, deliveries, handlers, microseconds, services

REPEATS_FOR = timedelta(hours=24)
"""How long a delivery that comes again is known as the same."""


def _find_statement(column: "sa.Column[Any]", uuids: sa.Select[Any], array: str, list_: str) -> sa.Select[Any]:
    found = (
        sa.select(
            handlers.c.uuid,
            handlers.c.seq,
            handlers.c.service_uuid,
            handlers.c.name,
            handlers.c.operation,
            services.c.engine,
            handlers.c.options,
            handlers.c.version,
            handlers.c.uses,
            handlers.c.rate_tat,
            handlers.c.old_uuid,
            handlers.c.old_until,
            actions.c.uuid.label("action_uuid"),
            actions.c.seq.label("action_seq"),
            actions.c.due.label("action_due"),
            actions.c.created.label("action_created"),
        )
        .join(services, services.c.uuid == handlers.c.service_uuid)
        .outerjoin(
            actions,
            sa.and_(actions.c.service_uuid == handlers.c.service_uuid, actions.c.verb == handlers.c.operation, OPEN),
        )
        .where(column.in_(uuids), sa.not_(services.c.terminated))
        .order_by(handlers.c.uuid)
        # FOR SHARE: a DELETE that was answered before was seen here, and one that comes now waits for our commit.
        .with_for_update(read=True, of=handlers)
        .subquery()
    )
    return sa.select(getattr(sa.func, list_)(getattr(sa.func, array)(*found.c)))


# A batch is one statement each way, its rows as JSON. SQLite's driver gives the interpreter away with each row that it
# steps to, and while the event loop is busy it gets it back only after up to 5 ms.
_FIND, _FIND_OLD = (
    {
        "sqlite": _find_statement(
            column,
            sa.select(sa.func.json_each(sa.bindparam("uuids")).table_valued("value").c.value),
            "json_array",
            "json_group_array",
        ),
        "postgresql": _find_statement(
            column,
            sa.select(sa.func.json_array_elements_text(sa.text("CAST(:uuids AS json)")).column_valued()),
            "json_build_array",
            "json_agg",
        ),
    }
    for column in (handlers.c.uuid, handlers.c.old_uuid)
)
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
_VALUES = ", ".join(f"CAST(value ->> {number} AS {kind})" for number, kind in enumerate(_DELIVERY.values()))
_INSERT = {
    dialect: sa.text(f"INSERT INTO deliveries ({', '.join(_DELIVERY)}) SELECT {_VALUES} FROM {source}")  # noqa: S608 (names of columns)
    for dialect, source in {
        "sqlite": "json_each(:rows)",
        "postgresql": "json_array_elements(CAST(:rows AS json)) AS rows(value)",
    }.items()
}

_log = logging.getLogger(__name__)


class SqlIntake:
    """Intake of ports.py: a thread that commits one batch after the other."""

    def __init__(
        self, database: Database, clock: Clock, signal: Signal, client_rate: tuple[int, int] | None = None
    ) -> None:
        """Start the writer.

        Args:
            client_rate: Calls that one client address may make, to whatever handlers, within so many seconds.
        """
        self._database = database
        self._clock = clock
        self._signal = signal
        self._client_rate = client_rate
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

    def _commit(self, calls: Sequence[Call], locked: LockedError | None = None) -> Sequence[Result]:
        """Commit calls; where another process, which may be stopped, keeps a service locked, those of the others."""
        held: set[str] = set()
        try:
            with self._database.write() as connection:
                if locked:
                    held = lock_free_services(connection, {call.service_uuid for call in calls})
                free = [call for call in calls if call.service_uuid not in held] if held else calls
                results, is_due = store_calls(connection, free, self._clock(), self._client_rate)
                if is_due:
                    self._signal.tell_others(connection)
        except Exception as error:  # noqa: BLE001 (the one writer must live on; every caller is told)
            if isinstance(error, LockedError) and not locked:
                return self._commit(calls, error)
            if not isinstance(error, TutumdError):
                _log.exception("calls were not stored")
            return [error] * len(calls)
        if is_due:
            self._signal.notify()
        stored = iter(results)
        return [locked if call.service_uuid in held else next(stored) for call in calls] if locked else results


def store_calls(
    connection: sa.Connection, calls: Sequence[Call], now: datetime, client_rate: tuple[int, int] | None = None
) -> tuple[list[Result], bool]:
    """Store calls in their order within one transaction.

    Returns:
        What became of each, and whether a worker has to be woken. A call that joined an action need not wake one:
        the call that queued it did.
    """
    now_us = microseconds(now)
    lock_services(connection, {call.service_uuid for call in calls})
    found = _find(connection, {call.handler_uuid for call in calls}, now_us)
    joining = Joining(found, _find_repeated(connection, calls, found, now), now_us)
    if client_rate is None:
        results = [joining.take(call) for call in calls]
    else:
        results = _take_slowly(connection, joining, calls, client_rate, now_us)
    if joining.new:
        seqs = pending.insert(connection, joining.new)
        results = with_numbers(results, seqs)
        for row in joining.deliveries:
            row[1] = seqs.get(row[1], row[1])
    if joining.deliveries:
        _execute(connection, _INSERT, rows=json.dumps(joining.deliveries))
    if joining.action_changes or joining.handler_changes:
        _write_changes(connection, joining, seqs if joining.new else {})
    is_due = bool(joining.new) or any("due" in change for change in joining.action_changes.values())
    return results, is_due


def _take_slowly(
    connection: sa.Connection, joining: Joining, calls: Sequence[Call], rate: tuple[int, int], now_us: int
) -> list[Result]:
    """Take only calls of clients that did not make too many, whether their handlers exist or not."""
    clients = ClientRates(connection, [call.origin.address for call in calls], rate, now_us)
    results: list[Result] = []
    for call in calls:
        # Its options were looked at on its behalf: it is here for the second time.
        wait_s = 0 if call.judged is not None else clients.take(call.origin.address)
        if wait_s:
            told = f"{rate[0]} calls in {rate[1]} s are taken from one address"
            results.append(TooManyCallsError(told, retry_after_s=wait_s))
        else:
            results.append(joining.take(call))
    clients.save()
    return results


def _find(connection: sa.Connection, uuids: set[str], now_us: int) -> dict[str, Found]:
    """Find the handlers that are called, each with the open action that a call to it joins.

    That action stays open until the transaction ends, for its service is locked.
    """
    wanted = json.dumps(list(uuids))
    found = {row.uuid: row for row in _rows(_execute(connection, _FIND, uuids=wanted))}
    if len(found) < len(uuids) or any(row.options != "{}" for row in found.values()):
        # Also for those that have options, so that what cannot be called takes the same time whatever the cause.
        for row in _rows(_execute(connection, _FIND_OLD, uuids=wanted)):
            if row.old_uuid is not None and (row.old_until or 0) > now_us:
                found[row.old_uuid] = row
    return found


def _rows(result: sa.CursorResult[Any]) -> list[Found]:
    rows = result.scalar() or ()
    return [Found(*values) for values in (json.loads(rows) if isinstance(rows, str) else rows)]


def _find_repeated(
    connection: sa.Connection, calls: Sequence[Call], found: Mapping[str, Found], now: datetime
) -> dict[Key, Accepted]:
    """Find what became of deliveries that come again, as far as it did not fail."""
    keys = {call.key for call in calls if call.key is not None}
    if not keys:
        return {}
    rows = connection.execute(
        sa.select(deliveries.c.handler_seq, deliveries.c.sender_key, actions.c.uuid, actions.c.seq)
        .join(actions, actions.c.seq == deliveries.c.action_seq)
        .where(
            deliveries.c.sender_key.in_(keys),
            deliveries.c.received > now - REPEATS_FOR,
            actions.c.state.not_in([ActionState.FAILED.value, ActionState.CANCELED.value]),
        )
    ).all()
    called = {row.seq: row for row in found.values()}
    return {
        (handler_seq, key): Accepted(
            name=called[handler_seq].name,
            operation=Operation(called[handler_seq].operation),
            action_uuid=action_uuid,
            handler_seq=handler_seq,
            action_seq=action_seq,
        )
        for handler_seq, key, action_uuid, action_seq in rows
        if handler_seq in called
    }


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
    """Tell deliveries of an action that the input which they brought along was overridden by a later one."""
    connection.execute(
        sa.update(deliveries)
        .where(deliveries.c.action_seq == action_seq, overridden)
        .values(outcome=DeliveryOutcome.SUPERSEDED.value, reason=reason)
    )


def _execute(
    connection: sa.Connection, statements: Mapping[str, sa.ClauseElement], **parameters: str
) -> sa.CursorResult[Any]:
    """Execute a statement without the library's work for it, which takes as long as a call."""
    sql, names = _compiled(statements[connection.dialect.name], connection.dialect)
    return connection.exec_driver_sql(sql, parameters if names is None else tuple(parameters[name] for name in names))


@cache
def _compiled(statement: sa.ClauseElement, dialect: sa.Dialect) -> tuple[str, Sequence[str] | None]:
    """Write a statement as SQL, with its parameters in their order where the driver wants no names."""
    compiled = statement.compile(dialect=dialect)
    return str(compiled), getattr(compiled, "positiontup", None) if dialect.positional else None
