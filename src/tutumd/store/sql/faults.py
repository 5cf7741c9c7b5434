"""Faults of the database: their causes and remedies, as errors for callers and as lines of the log."""

import logging
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from tutumd.errors import ConnectionLostError, LockedError, ReadOnlyError, UnavailableError

# Text for callers: they are strangers, so the cause is only in the log.
BUSY = "the database cannot take this now; nothing was changed, try again"
UNCERTAIN = "the database was lost while it stored this: look whether it did before you try again"
# A persistent fault is logged again after this time.
REPEAT_S = 60.0

_DAMAGED = "it is damaged: restore a backup"
_FULL = "its disk is full: free some space"
_LACKS_TABLES = "it lacks tables of this version, as one that was replaced does: restart tutumd"
_LACKS_PREPARED = "PgBouncer in front of it is too old: use 1.22 or newer, with max_prepared_statements above 0"
_STANDBY = (
    "it is a read-only standby: name all hosts in the URL, with target_session_attrs=read-write, or promote this one"
)

# By SQLite's extended or primary result code.
_SQLITE: Mapping[int, str] = {
    sqlite3.SQLITE_BUSY: "another process holds its lock: end a backup or a shell that keeps a transaction open",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened: it must be a file, in a folder where this user may create files",
    sqlite3.SQLITE_CORRUPT: f"{_DAMAGED}, or save what is readable with `sqlite3 FILE .recover`",
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_IOERR_SHMSIZE: _FULL,
    sqlite3.SQLITE_IOERR: "its disk reports errors: look into the system's log",
    sqlite3.SQLITE_NOTADB: "it is damaged, or no SQLite database of this version: restore a backup",
    sqlite3.SQLITE_PERM: "this user may not use it: change its owner",
    sqlite3.SQLITE_READONLY: "its file, folder or disk is read-only: make all three writable for this user",
}
# By SQLSTATE, or by a common prefix of several.
_POSTGRES: Mapping[str, str] = {
    "0A000": _STANDBY,  # a writing transaction was begun during recovery
    "25006": _STANDBY,
    "26000": _LACKS_PREPARED,
    "28": "it refuses the user or the password: correct them in the URL, or allow them in pg_hba.conf",
    "3D000": "the server has no database of this name: create it with `createdb`",
    "3F000": "no schema is there to create tables in: create one, or set the user's search_path",
    "40": "a concurrent transaction was in the way: try again",
    "42501": "its user lacks rights: make it the owner of the database or schema, or grant it CREATE",
    "42883": _LACKS_TABLES,
    "42P01": _LACKS_TABLES,
    "42P05": _LACKS_PREPARED,
    "42703": _LACKS_TABLES,
    "53100": _FULL,
    "53300": "it has no connection left: raise max_connections, or run fewer processes",
    "53": "it lacks memory or another resource: look into its log",
    "55": "another process holds a lock: end the session that does",
    "57": "it is shutting down, starting, or cancelled a statement that took too long: look into its log",
    "58": "its disk reports errors: look into its log",
    "XX001": f"{_DAMAGED}; look into its log",
    "XX002": "an index of it is damaged: REINDEX it; look into its log",
}
# By a part of the driver's text, for errors without a code: libpq has no codes while it connects.
_TEXTS: Mapping[str, str] = {
    "no such table": _LACKS_TABLES,
    "no such column": _LACKS_TABLES,
    "has no column": _LACKS_TABLES,
    "password": _POSTGRES["28"],
    "authentication": _POSTGRES["28"],
    "pg_hba.conf": _POSTGRES["28"],
    'role "': _POSTGRES["28"],
    'database "': _POSTGRES["3D000"],
    "too many clients": _POSTGRES["53300"],
    "connection slots": _POSTGRES["53300"],
    "session is read-only": _STANDBY,
    "starting up": _POSTGRES["57"],
    "shutting down": _POSTGRES["57"],
}

_log = logging.getLogger(__name__)


class FileReplacedError(UnavailableError):
    """The files of an SQLite database differ from the files that were opened."""


# Errors without a message of the database; the first that fits counts.
_KINDS: Mapping[type[Exception], str] = {
    FileReplacedError: "its files were deleted or replaced: put back what was there, or restart tutumd",
    PoolTimeoutError: "all connections of this process are in use: look why it is slow, or raise --pool-size",
    UnavailableError: "it is so slow that transactions wait for one another: look at its disk and into its log",
}


def explain(error: UnavailableError) -> tuple[str, str]:
    """Return the cause of a fault with its remedy, and the driver's message."""
    fault = error.__cause__ or error
    said = " ".join(str(fault.orig if isinstance(fault, DBAPIError) else fault).split())
    return _cause(fault) or "it cannot be reached: check host and port, and that it runs", said


def _cause(error: BaseException) -> str:
    """Return the cause of an error and its remedy; empty if it is unknown."""
    for kind, cause in _KINDS.items():
        if isinstance(error, kind):
            return cause
    driver = getattr(error, "orig", None)
    code, state = getattr(driver, "sqlite_errorcode", 0), getattr(driver, "sqlstate", None)
    if code & 0xFF in _SQLITE:
        return _SQLITE.get(code) or _SQLITE[code & 0xFF]
    known, text = (_POSTGRES, state) if state else (_TEXTS, str(driver))
    return next((cause for part, cause in known.items() if text.startswith(part) or (not state and part in text)), "")


def is_locked(error: UnavailableError) -> bool:
    """Return whether another process holds a required lock."""
    driver = getattr(error.__cause__, "orig", None)
    return isinstance(error, LockedError) or getattr(driver, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY


@contextmanager
def translated_errors() -> Iterator[None]:
    """Raise faults of the database as UnavailableError. Errors of the statements themselves stay as they are."""
    try:
        yield
    except PoolTimeoutError as error:
        raise UnavailableError(BUSY) from error
    except DBAPIError as error:
        state = getattr(error.orig, "sqlstate", None) or ""
        cause = _cause(error)
        if state == "55P03":  # lock not available
            raise LockedError("another process holds what this needs; nothing was changed, try again") from error
        if cause == _STANDBY:
            raise ReadOnlyError("the database is a standby now; nothing was changed, try again") from error
        if error.connection_invalidated:
            raise ConnectionLostError("the database connection was lost; nothing was changed, try again") from error
        # 54: a limit of PostgreSQL was exceeded.
        is_asked_wrongly = state.startswith("54") or getattr(error.orig, "sqlite_errorcode", 0) == sqlite3.SQLITE_ERROR
        if cause or (isinstance(error, OperationalError | InterfaceError) and not is_asked_wrongly):
            raise UnavailableError(BUSY) from error
        raise


def log_fault(error: UnavailableError, silent_until: dict[str, float]) -> None:
    """Log why a transaction failed, each cause at most once a minute."""
    cause, said = explain(error)
    if time.monotonic() >= silent_until.get(cause, 0.0):
        silent_until[cause] = time.monotonic() + REPEAT_S
        _log.error("the database cannot be used: %s (%s)", cause, said)
