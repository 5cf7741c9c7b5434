"""PostgreSQL: one or several machines, many writers, row locks, and as few round trips as possible."""

import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from functools import cache
from hashlib import sha256
from typing import Any, ClassVar

import sqlalchemy as sa

from tutumd.errors import SettingsError, UnavailableError
from tutumd.store.sql.dialect import BUSY_TIMEOUT_S, Dialect, TransactionId, compile_once, driver_of
from tutumd.store.sql.faults import UNCERTAIN

OUTCOME_TIMEOUT_S = 10.0
"""Maximum wait for a lost database, to learn whether it committed the transaction in flight."""

# All settings that could have another default on the server, in the database or for the user. The limits apply to
# hanging statements and to transactions of stopped processes: their locks would delay others. An accepted call is on
# disk: `off` is overridden, stricter settings apply.
LIMITS = (
    "set_config('statement_timeout', '20s', true), set_config('lock_timeout', '2s', true),"
    " set_config('idle_in_transaction_session_timeout', '10s', true),"
    " set_config('synchronous_commit', replace(current_setting('synchronous_commit'), 'off', 'on'), true)"
)

_RETRY_PAUSE_S = 0.1
# After a crash, PostgreSQL reuses the number of a lost transaction for another transaction. It then also resets its
# statistics, so this time shows whether a number still means the same transaction. A connection to PgBouncer outlives a
# crash: its time is then too old, which never makes a lost transaction appear committed.
_EPOCH = "pg_stat_get_bgwriter_stat_reset_time()::text"
_TRANSACTION_NUMBER = sa.text("SELECT pg_current_xact_id_if_assigned()::text")
_TRANSACTION_STATUS = sa.text(f"SELECT pg_xact_status(CAST(:number AS xid8)), {_EPOCH}")
_OLDEST = 13
_MIGRATION_LOCK = 0x7475_7475_6D64
# A change of a table waits for the transactions that use the table, and all later transactions wait behind it. So the
# change waits only briefly, but repeatedly. After that it may take as long as the size of the table requires.
_MIGRATION_LIMITS = sa.text(
    "SELECT set_config('lock_timeout', '500ms', true), set_config('statement_timeout', '0', true),"
    " set_config('idle_in_transaction_session_timeout', '0', true)"
)
_NOTIFY = sa.text("SELECT pg_notify(channel, '') FROM unnest(CAST(:channels AS text[])) AS channel")
_CONNECT_ARGUMENTS = {
    "connect_timeout": int(BUSY_TIMEOUT_S),
    "application_name": "tutumd",
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,  # in ms: the maximum duration of a statement
}


class Postgres(Dialect):
    """A database on a PostgreSQL server."""

    single_writer = False
    engine_options: ClassVar[Mapping[str, Any]] = {
        "pool_pre_ping": True,
        "use_native_hstore": False,
        "connect_args": _CONNECT_ARGUMENTS,
    }

    def listen(self, engine: sa.Engine) -> None:
        from tutumd.store.sql import postgres_connection  # it needs the extra `postgres`

        postgres_connection.use(engine)
        # First: SQLAlchemy's own inspection of the server fails on a text without an encoding.
        sa.event.listen(engine, "connect", _prepare, insert=True)

    def is_open(self, connection: sa.Connection) -> bool:
        return bool(driver_of(connection).is_open())

    def before_commit(self, connection: sa.Connection) -> TransactionId | None:
        driver = driver_of(connection)
        number = driver.number or (connection.scalar(_TRANSACTION_NUMBER) if driver.deferred else None)
        return (number, connection.info["epoch"]) if number is not None else None

    def was_committed(
        self, read: Callable[[], AbstractContextManager[sa.Connection]], transaction: TransactionId
    ) -> bool:
        number, epoch = transaction
        for _ in attempts():
            with suppress(UnavailableError), read() as connection:
                try:
                    status, present_epoch = connection.execute(_TRANSACTION_STATUS, {"number": number}).one()
                except sa.exc.DataError:
                    return False  # the number is in the future again
                if status == "committed" and present_epoch != epoch:
                    break
                if status in ("committed", "aborted"):
                    return bool(status == "committed")
        raise UnavailableError(UNCERTAIN)

    def insert(self, table: sa.Table) -> Any:
        # Otherwise the number of rows is -1 since SQLAlchemy 2.1.
        from sqlalchemy.dialects import postgresql  # 2 MB that SQLite does not need

        return postgresql.insert(table).execution_options(preserve_rowcount=True)

    def insert_rows(
        self, connection: sa.Connection, table: str, columns: Mapping[str, str], rows: Sequence[Sequence[Any]]
    ) -> None:
        self.execute_later(connection, _insert_json(table, tuple(columns.items())), {"rows": json.dumps(rows)})

    def newest_first(
        self,
        selected: sa.Select[Any],
        number: sa.ColumnElement[int],
        bounds: tuple[Any, Any],
        equal: tuple[sa.ColumnElement[Any], Any] | None,
    ) -> sa.Select[Any]:
        # With `column = value` it would read and sort all that match, if it has never analyzed the table.
        lowest, highest = bounds
        column, first, last = (number, lowest, highest) if equal is None else (*equal, equal[1])
        place = sa.tuple_(column, number)
        return selected.where(place >= sa.tuple_(first, lowest), place <= sa.tuple_(last, highest)).order_by(
            column.desc(), number.desc()
        )

    def execute_later(
        self, connection: sa.Connection, statement: sa.ClauseElement, parameters: Mapping[str, object]
    ) -> None:
        driver_of(connection).defer(compile_once(statement, connection.dialect)[0], parameters)

    def notify(self, connection: sa.Connection, topics: Collection[str]) -> None:
        self.execute_later(connection, _NOTIFY, {"channels": sorted(map(channel_of, topics))})

    def begin_migration(self, connection: sa.Connection) -> None:
        connection.execute(_MIGRATION_LIMITS)
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))


def attempts() -> Iterator[None]:
    """Yield in pauses until a lost database should respond again."""
    end = time.monotonic() + OUTCOME_TIMEOUT_S
    while time.monotonic() < end:
        yield
        time.sleep(_RETRY_PAUSE_S)


CHANNEL = "'tutumd_' || left(encode(sha256(convert_to({}, 'UTF8')), 'hex'), 16)"
"""`channel_of` in SQL."""


def channel_of(topic: str) -> str:
    """Return PostgreSQL's channel for a topic: a channel cannot have a name as long as an engine's."""
    return f"tutumd_{sha256(topic.encode()).hexdigest()[:16]}"


def _prepare(connection: Any, record: Any) -> None:
    if connection.info.server_version < _OLDEST * 10_000:
        raise SettingsError(
            f"PostgreSQL {connection.info.server_version // 10_000} is too old: tutumd needs {_OLDEST} or newer"
        )
    encoding = connection.info.parameter_status("server_encoding")
    if encoding not in ("UTF8", None):  # None: a pooler does not report it
        raise SettingsError(
            f"the database has the encoding {encoding}, and tutumd needs UTF8: create one with `createdb --encoding "
            "UTF8 --template template0 NAME`, and name it in the URL"
        )
    (record.info["epoch"],) = connection.execute(f"SELECT {_EPOCH}").fetchone()


@cache
def _insert_json(table: str, columns: tuple[tuple[str, str], ...]) -> sa.TextClause:
    names = ", ".join(name for name, _ in columns)
    values = ", ".join(f"CAST(value ->> {index} AS {kind})" for index, (_, kind) in enumerate(columns))
    return sa.text(
        f"INSERT INTO {table} ({names}) SELECT {values} "  # noqa: S608 (names of the schema)
        "FROM json_array_elements(CAST(:rows AS json)) AS rows(value)"
    )
