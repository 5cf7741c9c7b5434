"""The differences between SQLite and PostgreSQL. All other SQL of the store works on both.

`sqlite` and `postgres` supply: the set-up of connections and transactions, the outcome of a commit that was not
confirmed, INSERT with ON CONFLICT, inserts of many rows, statements without a result, notifications,
time limits, the lock of a migration, and how `IndexHint` is compiled.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, ClassVar, Protocol

import sqlalchemy as sa

BUSY_TIMEOUT_S = 5.0
"""Time to wait for a connection, and for others that write, at most."""

_OPTION = "tutumd_dialect"

TransactionId = tuple[str, str]
"""A transaction's number, and the start of the period in which numbers are unique."""


class Dialect(Protocol):
    """One database, as far as SQLite and PostgreSQL differ. What only one of them needs does nothing by default.

    Attributes:
        path: The file of the database; None: it is on a server, which processes on other machines may use.
        single_writer: Whether a transaction that writes is alone from its start. Then rows need no locks, and
            transactions are committed in the order of the numbers that they gave to rows.
        engine_options: Options of SQLAlchemy's engine.
    """

    path: Path | None = None
    single_writer: ClassVar[bool]
    engine_options: ClassVar[Mapping[str, Any]]

    def listen(self, engine: sa.Engine) -> None:
        """Set up connections when they are opened, and transactions when they begin."""

    def prepare_writer(self, connection: sa.Connection) -> None:
        """Prepare a connection that its holder keeps, and often writes with."""
        return

    def turn(self) -> AbstractContextManager[None]:
        """Keep other threads of this process from writing, if only one can write at a time."""
        return nullcontext()

    def before_commit(self, connection: sa.Connection) -> TransactionId | None:
        """Return what identifies a transaction, if it can be asked for when its commit was not confirmed."""
        return None

    def after_commit(self) -> None:
        """Raise UnavailableError if the transaction was committed to a file that has been deleted or replaced."""
        return

    def was_committed(
        self, read: Callable[[], AbstractContextManager[sa.Connection]], transaction: TransactionId
    ) -> bool:
        """Return whether a transaction was committed, as soon as the database can be read again to say so.

        Raises:
            UnavailableError: The database does not answer in time, or does not know.
        """
        return False

    def insert(self, table: sa.Table) -> Any:
        """Return an INSERT to which `on_conflict_do_…` can be added."""

    def insert_rows(
        self, connection: sa.Connection, table: str, columns: Mapping[str, str], rows: Sequence[Sequence[Any]]
    ) -> None:
        """Insert rows with few statements; `columns` are names with their SQL types."""

    def execute_later(
        self, connection: sa.Connection, statement: sa.ClauseElement, parameters: Mapping[str, object]
    ) -> None:
        """Execute a statement whose result nobody needs, at the latest with the next one or the commit."""

    def notify(self, connection: sa.Connection, topics: Collection[str]) -> None:
        """Let the commit wake the processes that hear these topics, if the database can wake processes."""
        return

    def limit_statements(self, connection: sa.Connection, seconds: int) -> None:
        """Limit the duration of the statements of a transaction, if they can be delayed by other transactions."""
        return

    def begin_migration(self, connection: sa.Connection) -> None:
        """Keep other processes from migrating until the transaction ends, and lift its time limits."""
        return

    def wal_bytes(self) -> int:
        """Return the size of the write-ahead log in bytes; 0 on PostgreSQL."""
        return 0


def create_engine(url: sa.URL, dialect: Dialect, pool_size: int) -> sa.Engine:
    """Return an engine for a database. `dialect_of` works on its connections."""
    engine = sa.create_engine(
        url,
        hide_parameters=True,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=BUSY_TIMEOUT_S,
        pool_use_lifo=True,
        execution_options={_OPTION: dialect},
        **dialect.engine_options,
    )
    dialect.listen(engine)
    return engine


def dialect_of(connection: sa.Connection) -> Dialect:
    """Return the dialect of the database that a connection belongs to."""
    dialect: Dialect = connection.get_execution_options()[_OPTION]
    return dialect
