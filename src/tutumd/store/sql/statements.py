"""Statements: compiled once for the call path, and inserts of rows that may exist already."""

import json
import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from tutumd.store.sql.dialect import dialect_of
from tutumd.store.tables.schema import meta


def execute_compiled(
    connection: sa.Connection, statement: sa.ClauseElement, **parameters: object
) -> sa.CursorResult[Any]:
    """Execute a statement."""
    sql, names = compile_once(statement, connection.dialect)
    return connection.exec_driver_sql(sql, parameters if names is None else tuple(parameters[name] for name in names))


def execute_later(connection: sa.Connection, statement: sa.ClauseElement, **parameters: object) -> None:
    """Execute a statement whose result nobody needs: on PostgreSQL, together with the next one or the commit."""
    dialect_of(connection).execute_later(connection, statement, parameters)


def driver_of(connection: sa.Connection) -> Any:
    """Return the driver's connection."""
    return connection.connection.driver_connection


def execute_many(connection: sa.Connection, statement: sa.ClauseElement, rows: Sequence[Mapping[str, object]]) -> None:
    """Execute a statement once for each of some rows of parameters."""
    sql, names = compile_once(statement, connection.dialect)
    connection.exec_driver_sql(sql, rows if names is None else [tuple(row[name] for name in names) for row in rows])


@cache
def compile_once(statement: sa.ClauseElement, dialect: sa.Dialect) -> tuple[str, Sequence[str] | None]:
    """Return a statement's SQL, and the order of its parameters if the driver takes no names."""
    compiled = statement.compile(dialect=dialect)
    return str(compiled), getattr(compiled, "positiontup", None) if dialect.positional else None


def json_rows(rows: Iterable[object]) -> str:
    """Return rows or values as a JSON object with their numbers as keys, because both databases have `json_each`."""
    return json.dumps(dict(enumerate(rows)))


class IndexHint(FunctionElement[bool]):
    """A condition that is always true, and that shows SQLite which index to use. PostgreSQL does not get it."""

    inherit_cache = True
    type = sa.Boolean()

    def self_group(self, against: Any = None) -> "IndexHint":
        return self  # without `= 1`, for which SQLite would not use the index


@compiles(IndexHint)
def _compile_hint(element: IndexHint, compiler: Any, **options: Any) -> str:
    return "true"


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
