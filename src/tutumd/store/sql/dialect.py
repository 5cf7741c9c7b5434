"""The differences between SQLite and PostgreSQL, and statements that work on both.

`sqlite` and `postgres` implement: the set-up of connections and transactions, the outcome of an unconfirmed commit,
INSERT with ON CONFLICT, inserts of many rows, pages of the audit log, statements without a result, notifications, the
lock of a migration, and the compilation of `IndexHint`.
"""

import json
import secrets
from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, cast

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from tutumd.store.tables.schema import meta

BUSY_TIMEOUT_S = 5.0
"""Maximum wait for a connection, and for other writers."""

OPTION = "tutumd_dialect"
"""The option of connections that holds their dialect."""

TransactionId = tuple[str, str]
"""A transaction's number, and the start of the period in which numbers are unique."""


class Dialect:
    """The database-specific operations of SQLite or PostgreSQL. Operations that only one of them needs do nothing by
    default.

    Attributes:
        path: The file of the database; None: the database is on a server, which processes on other machines may use.
        single_writer: Whether a writing transaction is alone from its start. If so, rows need no locks, and
            transactions are committed in the order of their row numbers.
        engine_options: Options for SQLAlchemy's engine.
        gives_way: On SQLite, leave the lock free after each write that waited for another process, for as long as the
            write held it. For the worker and the notifier, so that calls get more turns.
    """

    gives_way = False
    path: Path | None = None
    single_writer: ClassVar[bool]
    engine_options: ClassVar[Mapping[str, Any]]

    @abstractmethod
    def listen(self, engine: sa.Engine) -> None:
        """Set up connections when they are opened, and transactions when they begin."""

    def prepare_writer(self, connection: sa.Connection) -> None:
        """Prepare a connection that its holder keeps and often uses to write."""

    def is_open(self, connection: sa.Connection) -> bool:
        """Return whether such a connection is still open."""
        return True

    def turn(self) -> AbstractContextManager[None]:
        """Keep other threads of this process from writing, if the database has a single writer."""
        return nullcontext()

    def before_commit(self, connection: sa.Connection) -> TransactionId | None:
        """Return the identity of a transaction, if its outcome can be queried after an unconfirmed commit."""
        return None

    def after_commit(self) -> None:
        """Raise UnavailableError if the transaction was committed to a file that has been deleted or replaced."""

    def was_committed(
        self, read: Callable[[], AbstractContextManager[sa.Connection]], transaction: TransactionId
    ) -> bool:
        """Return whether a transaction was committed, as soon as the database can be read again.

        Raises:
            UnavailableError: The database does not respond in time, or does not know the outcome.
        """
        return False

    @abstractmethod
    def insert(self, table: sa.Table) -> Any:
        """Return an INSERT to which `on_conflict_do_…` can be added."""

    @abstractmethod
    def insert_rows(
        self, connection: sa.Connection, table: str, columns: Mapping[str, str], rows: Sequence[Sequence[Any]]
    ) -> None:
        """Insert one or more rows with few statements; `columns` are names with their SQL types."""

    @abstractmethod
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

    @abstractmethod
    def execute_later(
        self, connection: sa.Connection, statement: sa.ClauseElement, parameters: Mapping[str, object]
    ) -> None:
        """Execute a statement without a result, at the latest with the next statement or the commit."""

    def notify(self, connection: sa.Connection, topics: Collection[str]) -> None:
        """Let the commit wake the processes that subscribe to these topics, if the database supports that."""

    def begin_migration(self, connection: sa.Connection) -> None:
        """Keep other processes from migrating until the transaction ends, and remove its time limits."""

    def wal_bytes(self) -> int:
        """Return the size of the write-ahead log in bytes; 0 on PostgreSQL."""
        return 0


def dialect_of(connection: sa.Connection) -> Dialect:
    """Return the dialect of the database that a connection belongs to."""
    return cast(Dialect, connection.get_execution_options()[OPTION])


def execute_compiled(
    connection: sa.Connection, statement: sa.ClauseElement, **parameters: object
) -> sa.CursorResult[Any]:
    """Execute a statement."""
    sql, names = compile_once(statement, connection.dialect)
    return connection.exec_driver_sql(sql, parameters if names is None else tuple(parameters[name] for name in names))


def driver_of(connection: sa.Connection) -> Any:
    """Return the driver's connection."""
    return connection.connection.driver_connection


def execute_many(connection: sa.Connection, statement: sa.ClauseElement, rows: Sequence[Mapping[str, object]]) -> None:
    """Execute a statement once for each row of parameters."""
    sql, names = compile_once(statement, connection.dialect)
    connection.exec_driver_sql(sql, rows if names is None else [tuple(row[name] for name in names) for row in rows])


@cache
def compile_once(statement: sa.ClauseElement, dialect: sa.Dialect) -> tuple[str, Sequence[str] | None]:
    """Return a statement's SQL, and the order of its parameters if the driver does not support names."""
    compiled = statement.compile(dialect=dialect)
    return str(compiled), getattr(compiled, "positiontup", None) if dialect.positional else None


def json_rows(rows: Iterable[object]) -> str:
    """Return rows or values as a JSON object with their numbers as keys, because both databases have `json_each`."""
    return json.dumps(dict(enumerate(rows)))


class IndexHint(FunctionElement[bool]):
    """A condition that is always true and that tells SQLite which index to use. PostgreSQL does not receive it."""

    inherit_cache = True
    type = sa.Boolean()

    def self_group(self, against: Any = None) -> "IndexHint":
        return self  # without `= 1`, with which SQLite would not use the index


@compiles(IndexHint)
def _compile_hint(element: IndexHint, compiler: Any, **options: Any) -> str:
    return "true"


def insert(connection: sa.Connection, table: sa.Table) -> Any:
    """Return an INSERT of the connection's database, to which `on_conflict_do_…` can be added."""
    return dialect_of(connection).insert(table)


def insert_missing(connection: sa.Connection, table: sa.Table, **values: object) -> bool:
    """Insert a row unless a key or unique column of it is taken, and return whether it was inserted."""
    return bool(connection.execute(insert(connection, table).values(**values).on_conflict_do_nothing()).rowcount)


def upsert(
    connection: sa.Connection,
    table: sa.Table,
    key: Sequence[str],
    values: dict[str, Any],
    *,
    kept: Collection[str] = (),
    where: sa.ColumnElement[bool] | None = None,
) -> bool:
    """Insert a row, or update the row with the same values in the columns `key`; return whether.

    Args:
        kept: Columns that an update does not change.
        where: The condition for an update.
    """
    changes = {name: value for name, value in values.items() if name not in (*key, *kept)}
    return bool(
        connection.execute(
            insert(connection, table)
            .values(values)
            .on_conflict_do_update(index_elements=key, set_=changes, where=where)
        ).rowcount
    )


def probe(connection: sa.Connection) -> None:
    """Write as much as a call with a long body, to learn whether the database accepts it."""
    # Random bytes, because PostgreSQL compresses repetitive bytes.
    upsert(connection, meta, ["key"], {"key": "probe", "value": secrets.token_hex(16_384)})
