"""Turns of processes and their threads at writing to one SQLite database."""

import fcntl
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

import sqlalchemy as sa

from tutumd.errors import UnavailableError
from tutumd.store.sql.dialect import BUSY_TIMEOUT_S
from tutumd.store.sql.faults import BUSY

# Who holds the gate longer waits for a long transaction, or was stopped.
GATE_TIMEOUT_S = 0.5

# With the write lock from the start, a transaction cannot deadlock when it begins to write.
_BEGIN = "BEGIN IMMEDIATE"


class Turns:
    """The threads of this process write one after the other, and processes take turns.

    SQLite waits for its write lock in pauses of 1 to 100 ms, so a process that writes all the time would leave the
    others next to nothing. Here, who waits for that lock holds the gate, and who has written must pass the gate before
    it writes again. The gate is a lock of the kernel on the folder of the database: it ends with its holder, and needs
    no file. It only keeps order: what keeps others out is the lock of SQLite.
    """

    def __init__(self, path: str) -> None:
        self._folder = os.path.dirname(path) or "."  # noqa: PTH120 (the path is text here)
        self._gate: int | None = None
        self._gate_opens = True
        self._writing = Lock()
        self._end = 0.0

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Keep other threads from writing. Raises UnavailableError if they write for too long."""
        end = time.monotonic() + BUSY_TIMEOUT_S
        if not self._writing.acquire(timeout=BUSY_TIMEOUT_S):
            raise UnavailableError(BUSY)
        try:
            self._end = end
            yield
        finally:
            self._writing.release()

    def begin(self, connection: sa.Connection) -> None:
        """Begin a transaction. One that may write needs a turn, and waits until no other process writes."""
        writes = connection.get_execution_options().get("write", False)
        cursor: Any = connection.connection.cursor()
        # SQLite's own wait is for readers, which wait only while a process opens or closes the database.
        cursor.execute(f"PRAGMA busy_timeout = {0 if writes else int(BUSY_TIMEOUT_S * 1000)}")
        if not writes:
            connection.exec_driver_sql("BEGIN")
            return
        gate_end = time.monotonic() + (GATE_TIMEOUT_S if self._gate_opens else 0.0)
        try:
            self._gate_opens = wait_until(self._enter_gate, gate_end)
            wait_until(lambda: execute(cursor, _BEGIN), self._end)
            if not cursor.connection.in_transaction:
                connection.exec_driver_sql(_BEGIN)  # raises the error
        finally:
            if self._gate is not None:
                os.close(self._gate)  # the next turn may be that of a folder which was restored
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
    """Try until something is done or the time is over, in pauses that grow with the wait; return whether it is."""
    began = time.monotonic()
    while not is_done():
        now = time.monotonic()
        if now >= end:
            return False
        # At first 50 µs, as most waits of a busy server end soon; later not much in relation to the wait.
        time.sleep(min(0.000_05 + (now - began) / 8, 0.005))
    return True


def execute(cursor: Any, statement: str) -> bool:
    """Execute a statement. Return False if a lock is in its way; other errors come again when it is repeated."""
    try:
        cursor.execute(statement)
    except sqlite3.Error as error:
        return getattr(error, "sqlite_errorcode", 0) & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
    return True
