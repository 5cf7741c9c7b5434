"""Connections, transactions, turns, wake-ups and faults, on SQLite and PostgreSQL."""

from tutumd.store.sql.database import Database
from tutumd.store.sql.dialect import (
    Dialect,
    IndexHint,
    dialect_of,
    execute_compiled,
    execute_many,
    insert,
    insert_missing,
    json_rows,
    probe,
    upsert,
)
from tutumd.store.sql.wakeup import ENDS, NOTIFICATIONS, StorePart, WakeSocket, Wakeup

__all__ = [
    "ENDS",
    "NOTIFICATIONS",
    "Database",
    "Dialect",
    "IndexHint",
    "StorePart",
    "WakeSocket",
    "Wakeup",
    "dialect_of",
    "execute_compiled",
    "execute_many",
    "insert",
    "insert_missing",
    "json_rows",
    "probe",
    "upsert",
]
