"""SQLite: one machine, one writer at a time, and files that must stay the same."""

import os
import sqlite3
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any, ClassVar
from weakref import WeakSet

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.ext.compiler import compiles

from tutumd.store.sql.compiled import IndexHint, execute_compiled
from tutumd.store.sql.dialect import BUSY_TIMEOUT_S, Dialect
from tutumd.store.sql.faults import BUSY, UNCERTAIN, FileReplacedError
from tutumd.store.sql.turns import Turns, execute, wait_until

CACHE_KIB = 2_000
"""Cache of each connection."""
WRITER_CACHE_KIB = 16_000
"""Cache of the intake's connection: the indexes of 100,000 handlers fit."""
MAX_WAL_BYTES = 64 * 1024 * 1024

_WAL = "journal_mode = WAL"


class Connection(sqlite3.Connection):
    """A connection that can be referenced weakly."""


class Sqlite(Dialect):
    """A database in a file."""

    single_writer = True
    engine_options: ClassVar[Mapping[str, Any]] = {"connect_args": {"factory": Connection}}

    def __init__(self, path: Path) -> None:
        self.path = path
        self._turns = Turns(str(path))
        self._files = SqliteFiles(str(path))

    def listen(self, engine: sa.Engine) -> None:
        files = self._files
        sa.event.listen(engine, "connect", _prepare)
        sa.event.listen(engine, "begin", self._turns.begin)
        sa.event.listen(engine, "do_connect", files.before_connect)
        sa.event.listen(engine, "connect", lambda opened, _record: files.connections.add(opened))
        sa.event.listen(engine, "close", lambda closed, _record: files.connections.discard(closed))
        sa.event.listen(engine, "close_detached", files.connections.discard)

    def prepare_writer(self, connection: sa.Connection) -> None:
        connection.connection.cursor().execute(f"PRAGMA cache_size = -{WRITER_CACHE_KIB}")

    def turn(self) -> AbstractContextManager[None]:
        return self._turns.turn()

    def after_commit(self) -> None:
        self._files.check()

    def insert(self, table: sa.Table) -> Any:
        return sqlite.insert(table)

    def insert_rows(
        self, connection: sa.Connection, table: str, columns: Mapping[str, str], rows: Sequence[Sequence[Any]]
    ) -> None:
        if rows:
            # As one JSON text, rows would take a third more of the processor's time for each call.
            names, places = ", ".join(columns), ", ".join("?" * len(columns))
            connection.exec_driver_sql(f"INSERT INTO {table} ({names}) VALUES ({places})", list(map(tuple, rows)))  # noqa: S608 (names of the schema)

    def newest_first(
        self,
        selected: sa.Select[Any],
        number: sa.ColumnElement[int],
        bounds: tuple[Any, Any],
        equal: tuple[sa.ColumnElement[Any], Any] | None,
    ) -> sa.Select[Any]:
        found = selected.where(number.between(*bounds)).order_by(number.desc())
        return found if equal is None else found.where(equal[0] == equal[1])

    def execute_later(
        self, connection: sa.Connection, statement: sa.ClauseElement, parameters: Mapping[str, object]
    ) -> None:
        execute_compiled(connection, statement, **parameters)

    def wal_bytes(self) -> int:
        path = Path(f"{self.path}-wal")
        return path.stat().st_size if path.exists() else 0


def _prepare(connection: Any, _record: object) -> None:
    # Keep the driver from beginning transactions: `Turns.begin` does, with the right lock.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {int(BUSY_TIMEOUT_S * 1000)}")
    # SQLite does not wait for processes that switch a new database to WAL at the same time.
    wait_until(lambda: execute(cursor, f"PRAGMA {_WAL}"), time.monotonic() + BUSY_TIMEOUT_S)
    for pragma in (
        _WAL,
        "synchronous = FULL",
        # In pages of 4 KB: four times the default, so that pages that many calls change are copied back less often.
        "wal_autocheckpoint = 4000",
        f"cache_size = -{CACHE_KIB}",
        # The WAL file shrinks to this after a long reader let it grow.
        f"journal_size_limit = {MAX_WAL_BYTES}",
        "foreign_keys = ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


@compiles(IndexHint, "sqlite")
def _compile_hint(element: IndexHint, compiler: Any, **options: Any) -> str:
    return str(compiler.process(element.clauses, **options))


class SqliteFiles:
    """Watches the database file with its `-wal` and `-shm`; `connections` are the open ones.

    A commit to a file that was deleted or replaced would be lost with the process. SQLite does not notice ("How To
    Corrupt An SQLite Database File", 4), so each commit compares the files at the path with those that the connections
    opened. All connections must be closed before one opens other files. SQLite then leaves the `-wal` of a database
    that was replaced where it is, and would apply it to the new one.
    """

    def __init__(self, path: str) -> None:
        self._paths = (path, f"{path}-wal", f"{path}-shm")
        self._opened: tuple[tuple[int, int] | None, ...] = ()
        self.connections: WeakSet[Connection] = WeakSet()

    def before_connect(self, *_: object) -> None:
        """Raise FileReplacedError if a connection would create a database, or open another one than the open ones.

        Once there are none, the next one may open another database, without the `-wal` and `-shm` of the former one.
        """
        database = _identity(self._paths[0])
        if self._opened and (database is None or (self.connections and database != self._opened[0])):
            raise FileReplacedError(BUSY)
        if not self.connections:
            for path, opened in zip(self._paths[1:], self._opened[1:], strict=False):
                if database != self._opened[0] and opened is not None and _identity(path) == opened:
                    os.replace(path, f"{path}.replaced")  # noqa: PTH105 (paths are text here)
            self._opened = ()

    def check(self) -> None:
        """Raise FileReplacedError unless a transaction was committed to the files that are at the path."""
        found = tuple(_identity(path) for path in self._paths)
        if not self._opened:
            self._opened = found
        if found != self._opened:
            raise FileReplacedError(UNCERTAIN)


def _identity(path: str) -> tuple[int, int] | None:
    with suppress(OSError):
        status = os.stat(path)  # noqa: PTH116 (twice as fast, and each commit does it)
        return status.st_dev, status.st_ino
    return None
