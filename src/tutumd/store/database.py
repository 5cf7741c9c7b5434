"""The connection to the database: transactions, their errors, and bringing the schema up to date."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from tutumd.errors import LockedError, ReadOnlyError, SettingsError, UnavailableError
from tutumd.store import tables

BUSY_TIMEOUT_S = 5.0
SETTLE_S = 10.0
"""How long a lost database is waited for, to learn whether it committed what it was just sent."""

_BUSY = "the database cannot take this now; nothing was changed, try again"
_SETTLE_PAUSE_S = 0.1
_STATUS = sa.text("SELECT pg_xact_status(CAST(:number AS xid8))")
_MIGRATION_LOCK = 0x7475_7475_6D64
_LOCK_NOT_AVAILABLE, _READ_ONLY = "55P03", "25006"
# What was answered 202 is on disk, also where the database's own setting is quicker. Stricter ones stay.
_DURABLE = "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
# A statement that hangs and a transaction whose process was stopped end by themselves: their locks hold up others.
_POSTGRES_LIMITS = "-c statement_timeout=20s -c lock_timeout=2s -c idle_in_transaction_session_timeout=10s"

# As Alembic makes it.
_versions = sa.Table("alembic_version", sa.MetaData(), sa.Column("version_num", sa.String(32), primary_key=True))


class Database:
    """One database. `read` and `write` are transactions; a failed one leaves nothing behind."""

    def __init__(self, url: str) -> None:
        """Prepare the connection; nothing is opened yet.

        Args:
            url: `sqlite:///PATH` or `postgresql://USER:PASSWORD@HOST/NAME`.

        Raises:
            SettingsError: The URL is not one of a database that can be used.
        """
        self.url = _checked(url)
        self.is_postgres = self.url.get_backend_name() == "postgresql"
        options: dict[str, Any] = {
            "pool_size": 24,
            "max_overflow": 24,
            "pool_timeout": BUSY_TIMEOUT_S,
            "pool_use_lifo": True,
        }
        if self.is_postgres:
            options |= {
                "pool_pre_ping": True,
                "connect_args": {
                    "connect_timeout": int(BUSY_TIMEOUT_S),
                    "options": _POSTGRES_LIMITS,
                    "application_name": "tutumd",
                    "keepalives_idle": 10,
                    "keepalives_interval": 5,
                    "keepalives_count": 3,
                },
            }
        try:
            self._engine = sa.create_engine(self.url, hide_parameters=True, **options)
        except ModuleNotFoundError as error:
            raise SettingsError("PostgreSQL needs an extra: pip install 'tutumd[postgres]'") from error
        self._writer = self._engine.execution_options(write=True)
        self._writing = Lock()
        if self.is_postgres:
            sa.event.listen(self._engine, "connect", _prepare_postgres)
        else:
            sa.event.listen(self._engine, "connect", _prepare_sqlite)
            sa.event.listen(self._engine, "begin", _begin_sqlite)

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Open a transaction that only reads."""
        with _translated(), self._engine.begin() as connection:
            yield connection

    def connect(self) -> sa.Connection:
        """Open a connection for somebody who writes again and again, and closes it where that failed."""
        with _translated():
            return self._writer.connect()

    @contextmanager
    def write(self, on: sa.Connection | None = None) -> Iterator[sa.Connection]:
        """Open a transaction that may write.

        On SQLite it is alone from its start. On PostgreSQL others write at the same time: what must not change
        meanwhile is locked by row, in this order: services by UUID, then handlers by UUID.

        Args:
            on: From `connect`; None for any connection.

        Raises:
            UnavailableError: It was not committed.
        """
        number: str | None = None
        try:
            with self._turn(), _translated(), self._begin(on) as connection:
                yield connection
                number = self._transaction_number(connection)
        except ReadOnlyError:
            self._engine.dispose()  # to find the primary, where several hosts are named
            raise
        except UnavailableError:
            # Where the connection was lost during COMMIT, it may have been committed all the same.
            if number is None or not self._was_committed(number):
                raise

    @contextmanager
    def _begin(self, on: sa.Connection | None) -> Iterator[sa.Connection]:
        if on is None:
            with self._writer.begin() as connection:
                yield connection
        else:
            with on.begin():
                yield on

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Let one thread write to SQLite after the other: its own way to wait is to look again after up to 100 ms."""
        if self.is_postgres:
            yield
        elif self._writing.acquire(timeout=BUSY_TIMEOUT_S):
            try:
                yield
            finally:
                self._writing.release()
        else:
            raise UnavailableError(_BUSY)

    def _transaction_number(self, connection: sa.Connection) -> str | None:
        """Read the number by which the database knows a transaction that wrote something; SQLite has none."""
        if not self.is_postgres:
            return None
        number: str | None = connection.execute(sa.text("SELECT pg_current_xact_id_if_assigned()::text")).scalar()
        return number

    def _was_committed(self, number: str) -> bool:
        """Ask what became of a transaction, until the database is back. Raises UnavailableError if it stays away."""
        end = time.monotonic() + SETTLE_S
        while time.monotonic() < end:
            try:
                with self.read() as connection:
                    status = connection.execute(_STATUS, {"number": number}).scalar()
            except UnavailableError:
                status = None
            if status in ("committed", "aborted"):
                return bool(status == "committed")
            time.sleep(_SETTLE_PAUSE_S)
        raise UnavailableError("the database was lost while it stored this: look whether it did before you try again")

    def migrate(self) -> None:
        """Bring the schema up to date. Does nothing, quickly, where it is. Several processes may do it at once."""
        with self.read() as connection:
            if _version(connection) == tables.HEAD:
                return
        with self.write() as connection:
            if self.is_postgres:
                connection.execute(sa.text("SET LOCAL lock_timeout = '15s'"))
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
            if _version(connection) is None:
                # Quicker by half a second; a test holds these tables against those that the migrations make.
                tables.metadata.create_all(connection)
                _versions.create(connection)
                connection.execute(sa.insert(_versions).values(version_num=tables.HEAD))
            else:
                run_migrations(connection)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()


def _checked(url: str) -> sa.URL:
    scheme, _, rest = url.partition("://")
    if scheme == "sqlite" and rest.startswith("/") and rest != "/":
        return sa.make_url(url)
    if scheme in ("postgresql", "postgres") and rest:
        try:
            return sa.make_url(f"postgresql+psycopg://{rest}")
        except (sa.exc.ArgumentError, ValueError):
            pass
    raise SettingsError(
        "the database must be sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME, "
        f"got one that begins {scheme[:20]!r}"
    )


def run_migrations(connection: sa.Connection, revision: str = "head") -> None:
    """Apply the migrations that the database lacks."""
    from alembic import command  # slow to import, and seldom needed
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def _version(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table(_versions.name):
        return None
    return connection.execute(sa.select(_versions.c.version_num)).scalar()


def _prepare_postgres(connection: Any, _record: object) -> None:
    connection.execute(_DURABLE)
    connection.commit()


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # The driver must not begin transactions by itself: `_begin_sqlite` does, with the right lock.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {int(BUSY_TIMEOUT_S * 1000)}")
    _use_wal(cursor)
    for pragma in (
        "synchronous = FULL",
        # In pages of 4 KB. A page that many calls change, such as one of an index, is copied back less often.
        "wal_autocheckpoint = 4000",
        # In KiB: the indexes of 100,000 handlers fit. Only a connection that reads so much takes so much.
        "cache_size = -16000",
        "foreign_keys = ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _use_wal(cursor: sqlite3.Cursor) -> None:
    """Switch a new database to its log. While several do so at once, SQLite does not wait for the others itself."""
    end = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > end:
                raise
            time.sleep(_SETTLE_PAUSE_S)


def _begin_sqlite(connection: sa.Connection) -> None:
    # Having the write lock from the start, a transaction cannot deadlock when it turns from reading to writing.
    write = connection.get_execution_options().get("write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeoutError) as error:
        if isinstance(error, OperationalError) and getattr(error.orig, "sqlstate", None) == _LOCK_NOT_AVAILABLE:
            raise LockedError("another process holds what this needs; nothing was changed, try again") from error
        raise UnavailableError(_BUSY) from error
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) == _READ_ONLY:
            raise ReadOnlyError("the database is a standby now; nothing was changed, try again") from error
        if error.connection_invalidated:
            raise UnavailableError("the database connection was lost; nothing was changed, try again") from error
        raise
