"""SQLite: one machine, one writer at a time, and files that must not be replaced."""

import fcntl
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar
from weakref import WeakSet

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.ext.compiler import compiles

from tutumd.errors import UnavailableError
from tutumd.store.sql.dialect import BUSY_TIMEOUT_S, Dialect, IndexHint, execute_compiled
from tutumd.store.sql.faults import BUSY, UNCERTAIN, FileReplacedError

CACHE_KIB = 2_000
"""Cache of each connection."""
WRITER_CACHE_KIB = 16_000
"""Cache of the intake's connection: it holds the indexes of 100,000 handlers."""
MAX_WAL_BYTES = 64 * 1024 * 1024

_WAL = "journal_mode = WAL"


class Connection(sqlite3.Connection):
    """A connection that can be referenced weakly."""


class Sqlite(Dialect):
    """A database in a file, with its `-wal` and `-shm`.

    A commit to a deleted or replaced file would be lost with the process. SQLite does not notice a replacement ("How To
    Corrupt An SQLite Database File", 4), so each commit compares the files at the path with the files that the
    connections opened. All connections must be closed before a connection opens other files. SQLite then leaves the
    `-wal` of a replaced database in place, and would apply it to the new database.
    """

    single_writer = True
    engine_options: ClassVar[Mapping[str, Any]] = {"connect_args": {"factory": Connection}}

    def __init__(self, path: Path) -> None:
        self.path = path
        self._turns = Turns(str(path))
        self._paths = (str(path), f"{path}-wal", f"{path}-shm")
        self._opened: tuple[tuple[int, int] | None, ...] = ()
        self._connections: WeakSet[Connection] = WeakSet()

    def listen(self, engine: sa.Engine) -> None:
        sa.event.listen(engine, "connect", _prepare)
        sa.event.listen(engine, "begin", self._turns.begin)
        sa.event.listen(engine, "do_connect", self._before_connect)
        sa.event.listen(engine, "connect", lambda opened, _record: self._connections.add(opened))
        sa.event.listen(engine, "close", lambda closed, _record: self._connections.discard(closed))
        sa.event.listen(engine, "close_detached", self._connections.discard)

    def prepare_writer(self, connection: sa.Connection) -> None:
        connection.detach()  # the pool must not reuse a connection with a large cache
        connection.connection.cursor().execute(f"PRAGMA cache_size = -{WRITER_CACHE_KIB}")

    def turn(self) -> AbstractContextManager[None]:
        return self._turns.turn(gives_way=self.gives_way)

    def after_commit(self) -> None:
        found = tuple(_identity(path) for path in self._paths)
        if not self._opened:
            self._opened = found
        if found != self._opened:
            raise FileReplacedError(UNCERTAIN)

    def insert(self, table: sa.Table) -> Any:
        return sqlite.insert(table)

    def insert_rows(
        self, connection: sa.Connection, table: str, columns: Mapping[str, str], rows: Sequence[Sequence[Any]]
    ) -> None:
        # With one JSON text, rows would take a third more processor time for each call.
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

    def _before_connect(self, *_: object) -> None:
        """Raise FileReplacedError if a connection would create a database, or open another database than the open
        connections.

        Once no connection is open, the next one may open another database, without the `-wal` and `-shm` of the former
        database.
        """
        database = _identity(self._paths[0])
        if self._opened and (database is None or (self._connections and database != self._opened[0])):
            raise FileReplacedError(BUSY)
        if not self._connections:
            for path, opened in zip(self._paths[1:], self._opened[1:], strict=False):
                if database != self._opened[0] and opened is not None and _identity(path) == opened:
                    os.replace(path, f"{path}.replaced")  # noqa: PTH105 (paths are text here)
            self._opened = ()


def _prepare(connection: Any, _record: object) -> None:
    # Keep the driver from beginning transactions: `Turns.begin` does so, with the right lock.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {int(BUSY_TIMEOUT_S * 1000)}")
    # SQLite does not wait for processes that switch a new database to WAL at the same time.
    wait_until(lambda: execute(cursor, f"PRAGMA {_WAL}"), time.monotonic() + BUSY_TIMEOUT_S)
    for pragma in (
        _WAL,
        # In pages of 4 KB: four times the default, so that pages that many calls change are checkpointed less often.
        "wal_autocheckpoint = 4000",
        f"cache_size = -{CACHE_KIB}",
        # The WAL file shrinks to this size after a long reader let it grow.
        f"journal_size_limit = {MAX_WAL_BYTES}",
        "foreign_keys = ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")


@compiles(IndexHint, "sqlite")
def _compile_hint(element: IndexHint, compiler: Any, **options: Any) -> str:
    return str(compiler.process(element.clauses, **options))


def _identity(path: str) -> tuple[int, int] | None:
    with suppress(OSError):
        status = os.stat(path)  # noqa: PTH116 (twice as fast, and each commit does it)
        return status.st_dev, status.st_ino
    return None


# A process that holds the gate for longer waits for a long transaction, or was stopped.
GATE_TIMEOUT_S = 0.5

_WAITED_S = 0.000_3
"""A process that takes longer to begin a write waited for another one."""

_LONGEST_PAUSE_S = 0.05

# With the write lock from the start, a transaction cannot deadlock when it begins to write.
_BEGIN = "BEGIN IMMEDIATE"


class Turns:
    """The threads of this process write one after the other, and processes take turns.

    SQLite waits for its write lock in pauses of 1 to 100 ms, so a process that writes all the time would leave the
    others almost nothing. A process holds the gate while it waits for the write lock. After a write, the process must
    pass the gate before the next write. The gate is a lock of the kernel on the folder of the database: the lock ends
    with its holder, and needs no file. The gate only keeps order: SQLite's own lock excludes other writers.
    """

    def __init__(self, path: str) -> None:
        self._folder = os.path.dirname(path) or "."  # noqa: PTH120 (the path is text here)
        self._gate: int | None = None
        self._gate_opens = True
        self._writing = Lock()
        self._end = self._waited_s = self._locked_at = self._pause_end = 0.0

    @contextmanager
    def turn(self, *, gives_way: bool = False) -> Iterator[None]:
        """Keep other threads from writing. Raises UnavailableError if they write for too long.

        Args:
            gives_way: As in Dialect.
        """
        end = time.monotonic() + BUSY_TIMEOUT_S
        if not self._writing.acquire(timeout=BUSY_TIMEOUT_S):
            raise UnavailableError(BUSY)
        try:
            if (pause_s := self._pause_end - time.monotonic()) > 0:
                time.sleep(pause_s)
            self._end = end
            yield
        finally:
            if gives_way and self._waited_s > _WAITED_S:
                now = time.monotonic()
                self._pause_end = now + min(now - self._locked_at, _LONGEST_PAUSE_S)
            self._writing.release()

    def begin(self, connection: sa.Connection) -> None:
        """Begin a transaction. A transaction that may write needs a turn, and waits until no other process writes."""
        options = connection.get_execution_options()
        writes = options.get("write", False)
        cursor: Any = connection.connection.cursor()
        # SQLite's own wait is for readers, which wait only while a process opens or closes the database.
        cursor.execute(f"PRAGMA busy_timeout = {0 if writes else int(BUSY_TIMEOUT_S * 1000)}")
        if not writes:
            connection.exec_driver_sql("BEGIN")
            return
        cursor.execute(f"PRAGMA synchronous = {'FULL' if options['is_synced'] else 'NORMAL'}")
        began = time.monotonic()
        try:
            self._gate_opens = wait_until(self._enter_gate, began + (GATE_TIMEOUT_S if self._gate_opens else 0.0))
            wait_until(lambda: execute(cursor, _BEGIN), self._end)
            if not cursor.connection.in_transaction:
                connection.exec_driver_sql(_BEGIN)  # raises the error
            self._locked_at = time.monotonic()
            self._waited_s = self._locked_at - began
        finally:
            if self._gate is not None:
                os.close(self._gate)  # the next turn may be for a folder that was restored
                self._gate = None

    def _enter_gate(self) -> bool:
        try:
            if self._gate is None:
                self._gate = os.open(self._folder, os.O_RDONLY)
            fcntl.flock(self._gate, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True


def wait_until(is_done: Callable[[], bool], end: float) -> bool:
    """Try until something is done or the time is over, in pauses that grow with the wait; return whether it was
    done.
    """
    began = time.monotonic()
    while not is_done():
        now = time.monotonic()
        if now >= end:
            return False
        # The first pauses are 50 µs, because most waits of a busy server end soon; later pauses stay short in relation
        # to the wait.
        time.sleep(min(0.000_05 + (now - began) / 8, 0.005))
    return True


def execute(cursor: Any, statement: str) -> bool:
    """Execute a statement. Return False if another process holds a required lock; other errors recur when the statement
    is repeated.
    """
    try:
        cursor.execute(statement)
    except sqlite3.Error as error:
        return getattr(error, "sqlite_errorcode", 0) & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
    return True
