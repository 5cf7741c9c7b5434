"""Inserts of rows that may be there already, so that processes that store the same row at once do not fail."""

import secrets
from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy as sa

from tutumd.store.sql.dialect import dialect_of
from tutumd.store.tables.schema import meta

# Random, because PostgreSQL compresses what it can.
_PROBE_BYTES = 16_384


def insert(connection: sa.Connection, table: sa.Table) -> Any:
    """Return an INSERT of the connection's database, to which `on_conflict_do_…` can be added."""
    return dialect_of(connection).insert(table)


def insert_missing(connection: sa.Connection, table: sa.Table, **values: object) -> bool:
    """Insert a row unless a key or unique column of it is taken, and return whether it was inserted."""
    return bool(connection.execute(insert(connection, table).values(**values).on_conflict_do_nothing()).rowcount)


def upsert(
    connection: sa.Connection,
    table: sa.Table,
    key: str | Sequence[str],
    values: dict[str, Any],
    *,
    kept: Collection[str] = (),
    where: sa.ColumnElement[bool] | None = None,
) -> bool:
    """Insert a row, or update the one that has the same values in the column or columns `key`; return whether.

    Args:
        kept: Columns that an update leaves as they are.
        where: The condition for an update.
    """
    statement = insert(connection, table).values(values)
    keys = [key] if isinstance(key, str) else list(key)
    changes = {name: value for name, value in values.items() if name not in (*keys, *kept)}
    done = connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=changes, where=where))
    return bool(done.rowcount)


def probe(connection: sa.Connection) -> None:
    """Write as much as a call with a long body does, to learn whether the database takes that."""
    upsert(connection, meta, "key", {"key": "probe", "value": secrets.token_hex(_PROBE_BYTES)})
