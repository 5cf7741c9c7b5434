"""Inserts of rows that may be there already, so that processes that insert the same row at once do not fail."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite


def insert(connection: sa.Connection, table: sa.Table) -> Any:
    """Return an INSERT of the connection's database, to which `on_conflict_do_…` can be added."""
    return sqlite.insert(table) if connection.dialect.name == "sqlite" else postgresql.insert(table)


def insert_missing(connection: sa.Connection, table: sa.Table, **values: object) -> bool:
    """Insert a row unless a key or unique column of it is taken, and return whether it was inserted."""
    return bool(connection.execute(insert(connection, table).values(**values).on_conflict_do_nothing()).rowcount)
