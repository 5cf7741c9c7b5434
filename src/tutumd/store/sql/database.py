"""The database: connections, transactions and their errors."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from tutumd.errors import LockedError, ReadOnlyError, SettingsError, UnavailableError
from tutumd.store.sql.dialect import BUSY_TIMEOUT_S, OPTION, Dialect, driver_of
from tutumd.store.sql.faults import FileReplacedError, log_fault, translated_errors
from tutumd.store.sql.postgres import Postgres
from tutumd.store.sql.sqlite import Sqlite


class Database:
    """One database. `read` and `write` open transactions; a failed transaction changes nothing.

    Attributes:
        dialect: Differences between the supported databases.
        logs_faults: Whether to log faults of the database. Off until the server runs: before that, the raised error
            reports the fault.
    """

    def __init__(self, url: str, listen_url: str = "", pool_size: int = 24) -> None:
        """Prepare connections. The first transaction opens a connection.

        Args:
            url: `sqlite:///PATH` or `postgresql://USER:PASSWORD@HOST/NAME`.
            listen_url: The same database without a pooler, because a pooler does not pass on notifications. Only for
                PostgreSQL.
            pool_size: Maximum number of connections. If all are in use, a transaction waits for a connection.

        Raises:
            SettingsError: The URL names no supported database.
        """
        self.url = _parse_url(url)
        self.listen_url = _parse_url(listen_url or url)
        is_file = self.url.drivername == "sqlite"
        self.dialect: Dialect = Sqlite(Path(str(self.url.database))) if is_file else Postgres()
        if listen_url and self.dialect.path is not None:
            raise SettingsError("TUTUMD_LISTEN_URL needs a database on PostgreSQL: unset it, or set TUTUMD_DATABASE")
        self._engine = sa.create_engine(
            self.url,
            hide_parameters=True,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=BUSY_TIMEOUT_S,
            pool_use_lifo=True,
            execution_options={OPTION: self.dialect},
            **self.dialect.engine_options,
        )
        self.dialect.listen(self._engine)
        self._writer = self._engine.execution_options(write=True, is_synced=True)
        self._unsynced_writer = self._engine.execution_options(write=True, is_synced=False)
        self.logs_faults = False
        self._silent_until: dict[str, float] = {}

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Open a transaction that only reads."""
        with self._reported_faults(), self._engine.begin() as connection:
            yield connection

    def fetch(self, statement: sa.Select[Any] | sa.CompoundSelect[Any]) -> Sequence[sa.Row[Any]]:
        """Return the rows of one statement, in a transaction of its own."""
        with self.read() as connection:
            return connection.execute(statement).all()

    def connect(self) -> sa.Connection:
        """Open a connection for repeated use with `write`. The caller closes it, also after a failure."""
        with self._reported_faults():
            connection = self._writer.connect()
            self.dialect.prepare_writer(connection)
            return connection

    @contextmanager
    def write(self, on: sa.Connection | None = None, *, is_synced: bool = True) -> Iterator[sa.Connection]:
        """Open a transaction that may write.

        On SQLite, the transaction is alone from its start. On PostgreSQL, others write at the same time, so that the
        caller must lock the rows that must not change: services by UUID first, then handlers by UUID.

        Args:
            on: A connection from `connect`; None: any connection.
            is_synced: False: a commit to SQLite does not wait for the disk, so that other processes wait less for their
                turn. After a loss of power, the transaction may be missing, unless a later one was synced. An end of
                the process loses nothing. Not for `on`.

        Raises:
            UnavailableError: The transaction was not committed.
        """
        transaction = None
        writer = self._writer if is_synced else self._unsynced_writer
        try:
            with (
                self.dialect.turn(),
                self._reported_faults(),
                nullcontext(on) if on else writer.connect() as connection,
            ):
                with connection.begin():
                    yield connection
                    transaction = self.dialect.before_commit(connection)
                self.dialect.after_commit()
        except UnavailableError:
            # A transaction whose connection was lost during COMMIT may have been committed.
            if transaction is None or not self.dialect.was_committed(self.read, transaction):
                raise

    def execute_alone(self, on: sa.Connection, statement: str, parameters: Sequence[str]) -> str | None:
        """Execute one statement on PostgreSQL as a transaction of its own, in one round trip, and return its value as
        text. Parameters are `$1`, `$2`, ….

        Raises:
            ConnectionLostError: The transaction may be committed.
            UnavailableError: The transaction was not committed.
        """
        with self._reported_faults():
            value: str | None = driver_of(on).execute_alone(statement, parameters)
            return value

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
                self._engine.pool.dispose()  # all must be closed before a connection opens the new file
            raise

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()


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
