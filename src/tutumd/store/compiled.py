"""Statements of the call path, compiled once."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import sqlalchemy as sa


def execute_compiled(connection: sa.Connection, statement: sa.ClauseElement, **parameters: str) -> sa.CursorResult[Any]:
    """Execute a statement that is compiled once, without SQLAlchemy's overhead, which takes as long as a call."""
    sql, names = _compile(statement, connection.dialect)
    return connection.exec_driver_sql(sql, parameters if names is None else tuple(parameters[name] for name in names))


@cache
def _compile(statement: sa.ClauseElement, dialect: sa.Dialect) -> tuple[str, Sequence[str] | None]:
    """Return a statement's SQL, and the order of its parameters if the driver takes no names."""
    compiled = statement.compile(dialect=dialect)
    return str(compiled), getattr(compiled, "positiontup", None) if dialect.positional else None
