"""Turns of processes and their threads at writing to one SQLite database."""

import fcntl
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Lock

import sqlalchemy as sa

from tutumd.errors import UnavailableError
from tutumd.store.faults import BUSY, FileReplacedError

BUSY_TIMEOUT_S = 5.0
GATE_TIMEOUT_S = 0.5
"""Whoever holds the gate longer waits for a long transaction or was stopped."""

_SHORTEST_PAUSE_S = 0.000_05
_LONGEST_PAUSE_S = 0.005
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
        self._writing = Lock()
        self._end = 0.0
        self._gate: int | None = None
        self._is_gate_stuck = False

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Keep other threads from writing. Raises UnavailableError if they write for too long."""
        end = time.monotonic() + BUSY_TIMEOUT_S
        if not self._writing.acquire(timeout=BUSY_TIMEOUT_S):
            raise UnavailableError(BUSY)
        try:
            self._end = end
            yield
        except FileReplacedError:
            self._close_gate()  # others may be at that of another folder
            raise
        finally:
            self._writing.release()

    def begin(self, connection: sa.Connection) -> None:
        """Begin a transaction: one that may write when it is this process's turn, within a turn of the thread."""
        writes = connection.get_execution_options().get("write", False)
        # SQLite's own wait is for readers, which wait only while a process opens or closes the database.
        _set_busy_timeout(connection, 0.0 if writes else BUSY_TIMEOUT_S)
        if not writes:
            connection.exec_driver_sql("BEGIN")
            return
        with self._at_gate():
            # With the write lock from the start, a transaction cannot deadlock when it begins to write.
            if not _wait_until(lambda: _begin(connection), self._end):
                connection.exec_driver_sql(_BEGIN)  # raises the error

    def close(self) -> None:
        """Close what is open, unless a thread writes."""
        if self._writing.acquire(blocking=False):
            self._close_gate()
            self._writing.release()

    def _close_gate(self) -> None:
        gate, self._gate = self._gate, None
        if gate is not None:
            os.close(gate)

    @contextmanager
    def _at_gate(self) -> Iterator[None]:
        """Hold the gate, or go on without it if its holder does not move or the file system has no such locks."""
        with suppress(OSError):
            if self._gate is None:
                self._gate = os.open(self._folder, os.O_RDONLY)
        gate = self._gate
        if gate is None:
            yield
            return
        limit_s = 0.0 if self._is_gate_stuck else GATE_TIMEOUT_S
        holds = _wait_until(lambda: _lock(gate), min(self._end, time.monotonic() + limit_s))
        self._is_gate_stuck = not holds
        try:
            yield
        finally:
            if holds:
                fcntl.flock(gate, fcntl.LOCK_UN)


def _lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _begin(connection: sa.Connection) -> bool:
    """Begin a transaction. Return False if another process writes; raise other errors as SQLAlchemy does."""
    try:
        connection.connection.cursor().execute(_BEGIN)
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:
            return False
        connection.exec_driver_sql(_BEGIN)
    return True


def _set_busy_timeout(connection: sa.Connection, timeout_s: float) -> None:
    if connection.info.get("busy_timeout_s") != timeout_s:
        connection.connection.cursor().execute(f"PRAGMA busy_timeout = {int(timeout_s * 1000)}")
        connection.info["busy_timeout_s"] = timeout_s


def _wait_until(is_done: Callable[[], bool], end: float) -> bool:
    """Try until something is done or the time is over, in pauses that grow with the wait; return whether it is."""
    began = time.monotonic()
    while not is_done():
        now = time.monotonic()
        if now >= end:
            return False
        # Not much longer than it takes: half of the waits of a busy server end within a millisecond.
        time.sleep(min(_SHORTEST_PAUSE_S + (now - began) / 8, _LONGEST_PAUSE_S))
    return True
