"""Finding the handlers that a batch calls, and remembering them for as long as nobody else has written."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import sqlalchemy as sa

from tutumd.model import Accepted, ActionState, Call, Operation
from tutumd.store.coalesce import Found, Key
from tutumd.store.tables import OPEN, actions, deliveries, handlers, services

REPEATS_FOR = timedelta(hours=24)
"""How long a delivery that comes again is known as the same."""

MOST_KNOWN = 10_000
"""How many handlers are remembered: about 1 KB each."""


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


# All rows are one JSON text: SQLite's driver gives the interpreter away with each row that it steps to, and while the
# event loop is busy it gets it back only after up to 5 ms.
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


class Known:
    """Handlers without options as one connection of SQLite read them, for as long as no other one has written.

    `PRAGMA data_version` changes with each commit of another connection, of whatever process, and with none of its own
    (SQLite's documentation of PRAGMA). Asked with the write lock held, it tells whether all is still as it was read.
    """

    def __init__(self) -> None:
        """Know nothing."""
        self.size = 0
        self._rows: dict[str, dict[str, Found]] = {}
        self._version: int | None = None

    def find(self, connection: sa.Connection, calls: Sequence[Call]) -> dict[str, Found]:
        """Find those that are known, by their UUIDs."""
        version = connection.exec_driver_sql("PRAGMA data_version").scalar()
        if version != self._version:
            self.clear()
            self._version = version
        rows = self._rows
        return {
            call.handler_uuid: row
            for call in calls
            if (of_service := rows.get(call.service_uuid)) is not None
            and (row := of_service.get(call.handler_uuid)) is not None
        }

    def keep(self, read: Mapping[str, Found]) -> None:
        """Remember what was just read, as far as it has no options and was called by its own UUID."""
        if self.size + len(read) > MOST_KNOWN:
            self.clear()
        for uuid, row in read.items():
            if row.options == "{}" and row.uuid == uuid:
                of_service = self._rows.setdefault(row.service_uuid, {})
                self.size += uuid not in of_service  # one that was called below another service is read again
                of_service[uuid] = row

    def forget(self, service_uuids: Iterable[str]) -> None:
        """Forget the handlers of services whose actions the connection itself changed."""
        for uuid in service_uuids:
            self.size -= len(self._rows.pop(uuid, ()))

    def clear(self) -> None:
        """Forget everything."""
        self._rows.clear()
        self.size = 0


def find(connection: sa.Connection, calls: Sequence[Call], now_us: int, known: Known | None) -> dict[str, Found]:
    """Find the handlers that are called, each with the open action that a call to it joins.

    That action stays open until the transaction ends, for its service is locked.

    Args:
        known: What this connection read before; None where others may write at the same time.
    """
    found = {} if known is None else known.find(connection, calls)
    unknown = {call.handler_uuid for call in calls if call.handler_uuid not in found}
    if unknown:
        read = _read(connection, unknown, now_us)
        if known is not None:
            known.keep(read)
        found |= read
    return found


def _read(connection: sa.Connection, uuids: set[str], now_us: int) -> dict[str, Found]:
    dialect = connection.dialect.name
    wanted = json.dumps(list(uuids))
    found = {row.uuid: row for row in _rows(execute(connection, _FIND[dialect], uuids=wanted))}
    if len(found) < len(uuids):
        for row in _rows(execute(connection, _FIND_OLD[dialect], uuids=wanted)):
            if row.old_uuid is not None and (row.old_until or 0) > now_us:
                found[row.old_uuid] = row
    return found


def _rows(result: sa.CursorResult[Any]) -> list[Found]:
    rows = result.scalar() or ()
    return [Found(*values) for values in (json.loads(rows) if isinstance(rows, str) else rows)]


def find_repeated(
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


def execute(connection: sa.Connection, statement: sa.ClauseElement, **parameters: str) -> sa.CursorResult[Any]:
    """Execute a statement without the library's work for it, which takes as long as a call."""
    sql, names = _compiled(statement, connection.dialect)
    return connection.exec_driver_sql(sql, parameters if names is None else tuple(parameters[name] for name in names))


@cache
def _compiled(statement: sa.ClauseElement, dialect: sa.Dialect) -> tuple[str, Sequence[str] | None]:
    """Write a statement as SQL, with its parameters in their order where the driver wants no names."""
    compiled = statement.compile(dialect=dialect)
    return str(compiled), getattr(compiled, "positiontup", None) if dialect.positional else None
