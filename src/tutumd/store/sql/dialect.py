"""What differs between SQLite and PostgreSQL: `sqlite` and `postgres` implement it, and all other SQL serves both."""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import sqlalchemy as sa

BUSY_TIMEOUT_S = 5.0
"""Time to wait for a connection, and for others that write, at most."""

OPTION = "tutumd_dialect"
"""Execution option of an engine that holds its dialect."""

TransactionId = tuple[str, str]
"""What identifies a transaction later: its number, and the time since which numbers mean the same."""


class Dialect(Protocol):
    """One database, as far as SQLite and PostgreSQL differ.

    Attributes:
        path: The file of the database; None: it is on a server, which processes on other machines may use.
        single_writer: Whether a transaction that writes is alone from its start. Then rows need no locks, and
            transactions are committed in the order of the numbers that they gave to rows.
    """

    path: Path | None
    single_writer: bool

    def create_engine(self, pool_size: int) -> sa.Engine:
        """Return an engine whose connections and transactions are set up."""

    def prepare_writer(self, connection: sa.Connection) -> None:
        """Prepare a connection that its holder keeps, and often writes with."""

    def turn(self) -> AbstractContextManager[None]:
        """Keep other threads from writing if they would disturb one another."""

    def before_commit(self, connection: sa.Connection) -> TransactionId | None:
        """Return what identifies a transaction, if it can be asked for when its commit was not confirmed."""

    def after_commit(self) -> None:
        """Raise UnavailableError if a transaction was committed in vain."""

    def was_committed(
        self, read: Callable[[], AbstractContextManager[sa.Connection]], transaction: TransactionId
    ) -> bool:
        """Return whether a transaction was committed, as soon as the database can be read again to say so.

        Raises:
            UnavailableError: The database does not answer in time, or does not know.
        """

    def insert(self, table: sa.Table) -> Any:
        """Return an INSERT to which `on_conflict_do_…` can be added."""

    def insert_rows(
        self, connection: sa.Connection, table: str, columns: Mapping[str, str], rows: Sequence[Sequence[Any]]
    ) -> None:
        """Insert rows with few statements; `columns` are names with their SQL types."""

    def newest_first(
        self,
        selected: sa.Select[Any],
        number: sa.ColumnElement[int],
        bounds: tuple[Any, Any],
        equal: tuple[sa.ColumnElement[Any], Any] | None,
    ) -> sa.Select[Any]:
        """Select the rows whose number is within bounds, the highest first.

        Args:
            equal: A column and the value that the rows have in it. An index begins with it, and the number follows.
        """

    def execute_later(
        self, connection: sa.Connection, statement: sa.ClauseElement, parameters: Mapping[str, object]
    ) -> None:
        """Execute a statement whose result nobody needs, at the latest with the next one or the commit."""

    def notify(self, connection: sa.Connection, topics: Collection[str]) -> None:
        """Let the commit wake the processes that hear these topics, if the database can do that."""

    def limit_statements(self, connection: sa.Connection, seconds: int) -> None:
        """Limit the time of the statements of a transaction, if they could wait for others."""

    def begin_migration(self, connection: sa.Connection) -> None:
        """Keep other processes from migrating until the transaction ends, and let statements take their time."""

    def wal_bytes(self) -> int:
        """Return the size of the write-ahead log; 0 if the database looks after it itself."""


def dialect_of(connection: sa.Connection) -> Dialect:
    """Return the dialect of the database that a connection leads to."""
    dialect: Dialect = connection.get_execution_options()[OPTION]
    return dialect
