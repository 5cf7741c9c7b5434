"""The connection to the database: transactions, their errors, and bringing the schema up to date."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from tutumd.errors import SettingsError, UnavailableError
from tutumd.store import tables

BUSY_TIMEOUT_S = 5.0


class Database:
    """One database. `read` and `write` are transactions; a failed one leaves nothing behind."""

    def __init__(self, url: str) -> None:
        """Prepare the connection; nothing is opened yet.

        Args:
            url: `sqlite:///PATH`.

        Raises:
            SettingsError: The URL is not one of a database that can be used.
        """
        if not url.startswith("sqlite:///"):
            raise SettingsError(f"database must be sqlite:///PATH, got {url.split(':', 1)[0]}:…")
        self._engine = sa.create_engine(
            url, pool_size=24, max_overflow=24, pool_timeout=BUSY_TIMEOUT_S, hide_parameters=True
        )
        self._writer = self._engine.execution_options(write=True)
        sa.event.listen(self._engine, "connect", _prepare_sqlite)
        sa.event.listen(self._engine, "begin", _begin)

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Open a transaction that only reads: one moment of the data."""
        with _translated(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """Open a transaction that may write. It has the write lock from the start, so it cannot deadlock."""
        with _translated(), self._writer.begin() as connection:
            yield connection

    def migrate(self) -> None:
        """Bring the schema up to date. Does nothing, quickly, where it is."""
        with self.read() as connection:
            if _version(connection) == tables.HEAD:
                return
        from alembic import command
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        with self.write() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()


def _version(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # The driver must not begin transactions by itself: `_begin` does, with the right lock.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        f"busy_timeout = {int(BUSY_TIMEOUT_S * 1000)}",
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: sa.Connection) -> None:
    write = connection.get_execution_options().get("write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeoutError) as error:
        raise UnavailableError("the database cannot take this now; nothing was changed, try again") from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise UnavailableError("the database connection was lost; nothing was changed, try again") from error
        raise
