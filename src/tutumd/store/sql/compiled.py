"""Statements of the call path, compiled once, without SQLAlchemy's overhead, which takes as long as a call."""

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from tutumd.store.sql.dialect import dialect_of


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
