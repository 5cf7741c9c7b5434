"""Inserts of rows that may be there already, so that processes that insert the same row at once do not fail."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite


def insert_missing(connection: sa.Connection, table: sa.Table, **values: object) -> bool:
    """Insert a row unless a unique column or key of it is taken, and return whether it was inserted."""
    return bool(connection.execute(_insert(connection, table, values).on_conflict_do_nothing()).rowcount)


def upsert(connection: sa.Connection, table: sa.Table, **values: object) -> None:
    """Insert a row, or update the one with its primary key."""
    statement = _insert(connection, table, values)
    key = table.primary_key.columns
    changes = {name: statement.excluded[name] for name in values if name not in key}
    connection.execute(statement.on_conflict_do_update(index_elements=key, set_=changes))


def _insert(connection: sa.Connection, table: sa.Table, values: dict[str, object]) -> Any:
    insert: Any = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    return insert(table).values(**values)
