"""Copies of an SQLite database, made while others write to it, and checks of the copies."""

import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import sqlalchemy as sa

from tutumd.errors import SettingsError
from tutumd.store.tables.actions import LIVE

_BUSY_TIMEOUT_S = 10.0


def copy_database(source: Path, target: Path, after_pages: Callable[[], None]) -> None:
    """Copy the current state of a database into a new file. Others continue to write to the database.

    Args:
        after_pages: Called after each batch of 256 pages, for a pause.

    Raises:
        sqlite3.Error: One of the two files cannot be used.
    """
    with closing(_open(source)) as original, closing(sqlite3.connect(target)) as copy:
        # Without its own transaction, the copy would start over after each commit of another process.
        original.execute("BEGIN")
        original.execute("SELECT count(*) FROM sqlite_master").fetchone()
        copy.execute("PRAGMA synchronous = OFF")  # the caller syncs the file that it makes of the copy
        original.backup(copy, pages=256, progress=lambda *_: after_pages())
        original.execute("ROLLBACK")
        copy.execute("PRAGMA journal_mode = DELETE")  # one file, until a server uses it
        # Checkpoint here, and not in a server whose calls would wait: concurrent writes then return to the main file.
        original.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()


def check_database(path: Path) -> str:
    """Return the schema of a database that no other process uses.

    Raises:
        SettingsError: The database is damaged, or does not belong to tutumd. The error text begins with a description
            of the database.
    """
    try:
        with closing(_open(path)) as database:
            (found,) = database.execute("PRAGMA integrity_check(1)").fetchone()
            if found != "ok":
                raise SettingsError(f"damaged: {' '.join(found.split())}")
            (schema,) = database.execute("SELECT version_num FROM alembic_version").fetchone() or ("",)
            return str(schema)
    except sqlite3.OperationalError as error:
        raise SettingsError(f"not a database of tutumd: {error}") from error
    except sqlite3.DatabaseError as error:
        raise SettingsError(f"damaged: {error}") from error


def unfinished_actions(path: Path) -> int:
    """Return the number of actions that a worker would begin or continue."""
    with closing(sa.create_engine(f"sqlite:///{path}", poolclass=sa.NullPool).connect()) as connection:
        return int(connection.scalar(sa.select(sa.func.count()).where(LIVE)) or 0)


def keep_installation(replaced: Path, copy: Path) -> None:
    """Give a copy of a database the installation ID of the database that it will replace, if that ID can be read.

    Raises:
        sqlite3.Error: The copy cannot be written.
    """
    rows = []
    with suppress(sqlite3.Error), closing(_open(replaced)) as database:
        rows = database.execute("SELECT value FROM meta WHERE key = 'installation'").fetchall()
    if rows:
        with closing(_open(copy)) as target:
            target.execute("PRAGMA journal_mode = MEMORY").fetchone()  # a journal file would remain after a kill
            target.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('installation', ?)", rows[0])


def settle(path: Path) -> None:
    """Write the `-wal` of a database that no other process uses into its main file, so that this file is all of it.

    Raises:
        sqlite3.Error: Another process uses the database, or it is damaged.
    """
    with closing(_open(path)) as database:
        database.execute("PRAGMA journal_mode = DELETE").fetchone()


def _open(path: Path) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode=rw"  # the database is not created
    return sqlite3.connect(uri, uri=True, timeout=_BUSY_TIMEOUT_S, isolation_level=None)
