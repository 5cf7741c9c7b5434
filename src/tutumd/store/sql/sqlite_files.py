"""The files of an SQLite database: whether open connections still use those that are at its path."""

import os
import sqlite3
from contextlib import suppress
from weakref import WeakSet

from tutumd.store.sql.faults import BUSY, UNCERTAIN, FileReplacedError


class Connection(sqlite3.Connection):
    """A connection that can be referenced weakly."""


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
