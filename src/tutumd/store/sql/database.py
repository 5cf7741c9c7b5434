"""The database: connections, transactions, their errors, and migrations."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from tutumd.errors import LockedError, ReadOnlyError, SettingsError, UnavailableError
from tutumd.ports.clock import Clock
from tutumd.store import upgrade
from tutumd.store.sql.compiled import driver_of
from tutumd.store.sql.faults import UNCERTAIN, FileReplacedError, log_fault, translated_errors
from tutumd.store.sql.sqlite_files import Connection, SqliteFiles
from tutumd.store.sql.turns import BUSY_TIMEOUT_S, Turns, execute, wait_until

OUTCOME_TIMEOUT_S = 10.0
"""Time to wait for a lost database, to learn whether it committed the transaction in flight."""

POOL_SIZE = 24
"""Connections of a process at most, unless its settings say otherwise."""

CACHE_KIB = 2_000
"""Cache of each connection to SQLite."""
WRITER_CACHE_KIB = 16_000
"""Cache of the intake's connection: the indexes of 100,000 handlers fit."""
MAX_WAL_BYTES = 64 * 1024 * 1024

_RETRY_PAUSE_S = 0.1
# After a crash, PostgreSQL gives the number of a transaction that it lost to another one. It then also resets its
# statistics, so this time tells whether a number still means the same. A connection to PgBouncer outlives a crash: the
# time that it has read is then too old, which never makes a lost transaction look like a committed one.
_EPOCH = "pg_stat_get_bgwriter_stat_reset_time()::text"
_TRANSACTION_NUMBER = sa.text("SELECT pg_current_xact_id_if_assigned()::text")
_TRANSACTION_STATUS = sa.text(f"SELECT pg_xact_status(CAST(:number AS xid8)), {_EPOCH}")
_OLDEST_POSTGRES = 13
_WAL = "journal_mode = WAL"


class Database:
    """One database. `read` and `write` open transactions; a failed one changes nothing.

    Attributes:
        logs_faults: Whether to log what the database lacks. Off until the server runs: before, its error says it.
    """

    def __init__(self, url: str, listen_url: str = "", pool_size: int = POOL_SIZE) -> None:
        """Prepare connections. The first transaction opens one.

        Args:
            url: `sqlite:///PATH` or `postgresql://USER:PASSWORD@HOST/NAME`.
            listen_url: The same database past a pooler, which does not pass on notifications. Only for PostgreSQL.
            pool_size: The most connections at once. When all are in use, a transaction waits for one.

        Raises:
            SettingsError: The URL names no supported database.
        """
        self.url = _parse_url(url)
        self.listen_url = _parse_url(listen_url or url)
        self.is_postgres = self.url.get_backend_name() == "postgresql"
        if listen_url and not self.is_postgres:
            raise SettingsError("TUTUMD_LISTEN_URL needs a database on PostgreSQL: unset it, or set TUTUMD_DATABASE")
        options: dict[str, Any] = {
            "pool_size": pool_size,
            "max_overflow": 0,
            "pool_timeout": BUSY_TIMEOUT_S,
            "pool_use_lifo": True,
            "connect_args": {"factory": Connection},
        }
        if self.is_postgres:
            options |= {
                "pool_pre_ping": True,
                "use_native_hstore": False,
                "connect_args": {
                    "connect_timeout": int(BUSY_TIMEOUT_S),
                    "application_name": "tutumd",
                    "keepalives_idle": 10,
                    "keepalives_interval": 5,
                    "keepalives_count": 3,
                    "tcp_user_timeout": 20_000,  # in ms: as long as a statement may take
                },
            }
        self._engine = sa.create_engine(self.url, hide_parameters=True, **options)
        if self.is_postgres:
            from tutumd.store.sql import postgres_connection

            postgres_connection.use(self._engine)
            # First: SQLAlchemy's own look at the server fails on a text that has no encoding.
            sa.event.listen(self._engine, "connect", _prepare_postgres, insert=True)
        self._writer = self._engine.execution_options(write=True)
        self._files: SqliteFiles | None = None
        self._turns: Turns | None = None
        self.logs_faults = False
        self._silent_until: dict[str, float] = {}
        if not self.is_postgres:
            sa.event.listen(self._engine, "connect", _prepare_sqlite)
            self._turns = turns = Turns(str(self.url.database))
            sa.event.listen(self._engine, "begin", turns.begin)
            self._files = files = SqliteFiles(str(self.url.database))
            sa.event.listen(self._engine, "do_connect", files.before_connect)
            sa.event.listen(self._engine, "connect", lambda opened, _record: files.connections.add(opened))
            sa.event.listen(self._engine, "close", lambda closed, _record: files.connections.discard(closed))
            sa.event.listen(self._engine, "close_detached", files.connections.discard)

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Open a transaction that only reads."""
        with self._reported_faults(), self._engine.begin() as connection:
            yield connection

    def connect(self) -> sa.Connection:
        """Open a connection to SQLite for repeated use with `write`. The caller closes it, also after a failure."""
        with self._reported_faults():
            connection = self._writer.connect()
            connection.detach()  # the pool must not get one with a large cache
            connection.connection.cursor().execute(f"PRAGMA cache_size = -{WRITER_CACHE_KIB}")
            return connection

    @contextmanager
    def write(self, on: sa.Connection | None = None) -> Iterator[sa.Connection]:
        """Open a transaction that may write.

        On SQLite it is alone from its start. On PostgreSQL others write at the same time, so the caller locks the rows
        that must not change: services by UUID first, then handlers by UUID.

        Args:
            on: A connection from `connect`; None: any connection.

        Raises:
            UnavailableError: The transaction was not committed.
        """
        number, epoch = None, ""
        try:
            with (
                self._turns.turn() if self._turns else nullcontext(),
                self._reported_faults(),
                nullcontext(on) if on else self._writer.connect() as connection,
            ):
                with connection.begin():
                    yield connection
                    if self.is_postgres:
                        epoch = connection.info["epoch"]
                        driver = driver_of(connection)
                        number = driver.number or (connection.scalar(_TRANSACTION_NUMBER) if driver.deferred else None)
                if self._files is not None:
                    self._files.check()
        except UnavailableError:
            # A transaction whose connection was lost during COMMIT may have been committed nevertheless.
            if number is None or not self._was_committed(number, epoch):
                raise

    @contextmanager
    def _reported_faults(self) -> Iterator[None]:
        """Translate, log and handle faults of the database."""
        try:
            with translated_errors():
                yield
        except LockedError:
            raise
        except UnavailableError as error:
            if self.logs_faults:
                log_fault(error, self._silent_until)
            if isinstance(error, ReadOnlyError):
                self._engine.dispose()  # new connections find the primary if the URL has several hosts
            if isinstance(error, FileReplacedError):
                self._engine.pool.dispose()  # all must be closed before new ones open the new file
            raise

    def _was_committed(self, number: str, epoch: str) -> bool:
        """Return whether a transaction was committed, as soon as the database is back to say so.

        Raises:
            UnavailableError: It is not back in time, or has crashed and does not know.
        """
        end = time.monotonic() + OUTCOME_TIMEOUT_S
        while time.monotonic() < end:
            with suppress(UnavailableError), self.read() as connection:
                try:
                    status, present_epoch = connection.execute(_TRANSACTION_STATUS, {"number": number}).one()
                except sa.exc.DataError:
                    return False  # the number is in the future again
                if status == "committed" and present_epoch != epoch:
                    break
                if status in ("committed", "aborted"):
                    return bool(status == "committed")
            time.sleep(_RETRY_PAUSE_S)
        raise UnavailableError(UNCERTAIN)

    def wal_bytes(self) -> int:
        """Return the size of SQLite's write-ahead log; 0 on PostgreSQL."""
        path = Path(f"{self.url.database}-wal")
        return path.stat().st_size if not self.is_postgres and path.exists() else 0

    def migrate(self, *, from_older: bool = True) -> None:
        """Bring the schema up to date, quickly if it is already. Several processes may do so at once.

        Args:
            from_older: Whether to change the schema of an older version, which else raises SettingsError.
        """
        upgrade.upgrade(self, from_older=from_older)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()


class StorePart:
    """Base of the classes that make up the store: a database and a clock."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock


def _parse_url(url: str) -> sa.URL:
    scheme, separator, rest = url.partition("://")
    if scheme == "sqlite" and rest.startswith("/") and rest not in ("/", "/:memory:"):
        return sa.make_url(url)
    if scheme in ("postgresql", "postgres") and rest:
        try:
            return sa.make_url(f"postgresql+psycopg://{rest}")
        except (sa.exc.ArgumentError, ValueError):
            pass
    raise SettingsError(
        "the database must be sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME, "
        + (f"got one that begins {scheme[:20]!r}" if separator else "got something else")
    )


def _prepare_postgres(connection: Any, record: Any) -> None:
    if connection.info.server_version < _OLDEST_POSTGRES * 10_000:
        found = connection.info.server_version // 10_000
        raise SettingsError(f"PostgreSQL {found} is too old: tutumd needs {_OLDEST_POSTGRES} or newer")
    encoding = connection.info.parameter_status("server_encoding")
    if encoding not in ("UTF8", None):  # None: a pooler does not say it
        raise SettingsError(
            f"the database has the encoding {encoding}, and tutumd needs UTF8: create one with `createdb --encoding "
            "UTF8 --template template0 NAME`, and name it in the URL"
        )
    (record.info["epoch"],) = connection.execute(f"SELECT {_EPOCH}").fetchone()


def _prepare_sqlite(connection: Any, _record: object) -> None:
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
