"""What `tutumd doctor` asks a database. Nothing is changed, and no server is in the way."""

import json
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from tutumd.errors import SettingsError, UnavailableError
from tutumd.model.findings import Finding, Level, ok, warning, wrong
from tutumd.store.queue.engine_sync import read_installation
from tutumd.store.sql.database import Database
from tutumd.store.sql.faults import explain, translated_errors
from tutumd.store.sql.sqlite import MAX_WAL_BYTES
from tutumd.store.tables.actions import actions, deliveries
from tutumd.store.tables.schema import HEAD
from tutumd.store.tables.services import engines, handlers

DATABASE = "database"
_LOCK_LIMIT_S = 5.0
_CHECK_LIMIT_S = 4.0
_STEPS = 100_000
_RECENT = 200
_MANY_CONNECTIONS = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What other checks judge by.

    Attributes:
        secret: A stored secret, encrypted; None if there is none.
        addresses: Where the last calls came from that were stored with their headers, the newest first.
        forwarded: Those of them that a proxy named in X-Forwarded-For.
        newest: When the last call came.
        call: Numbers of the handler and the action of a call whose progress can be read; None if there is none.
        engines: When the worker of each engine last reported, and what error.
        now: By the clock of the database; None for SQLite, which has none.
        installation: As of `Queue.installation`; empty before a worker has started.
    """

    secret: str | None
    addresses: tuple[str, ...]
    forwarded: frozenset[str]
    newest: datetime | None
    call: tuple[int, int] | None
    engines: Mapping[str, tuple[datetime, str]]
    now: datetime | None
    installation: str = ""


def check_sqlite(path: Path) -> tuple[list[Finding], Contents | None]:
    """Return the findings about a file that exists, and what is in it if it can be read."""

    def connect() -> sqlite3.Connection:
        uri = f"{path.absolute().as_uri()}?mode=rw"
        return sqlite3.connect(uri, uri=True, timeout=_LOCK_LIMIT_S, isolation_level=None, check_same_thread=False)

    findings: list[Finding] = []
    engine = sa.create_engine("sqlite://", creator=connect, poolclass=sa.NullPool)
    with _faults_as_findings(findings, f"{path}"), engine.connect() as connection:
        findings += [_check_pages(connection, path), *_check_wal(path)]
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # what keeps a server from writing keeps this from it, too
        connection.exec_driver_sql("ROLLBACK")
        findings.append(_check_schema(connection))
        return findings, _read(connection, None) if findings[-1].level is Level.OK else None
    return findings, None


def check_postgres(url: str, listen_url: str) -> tuple[list[Finding], Contents | None]:
    """Return the findings about a database on PostgreSQL, and what is in it if it can be read."""
    findings: list[Finding] = []
    with closing(Database(url, listen_url)) as database:
        shown = database.url.set(drivername="postgresql").render_as_string(hide_password=True)
        with _faults_as_findings(findings, shown), database.read() as connection:
            findings += _check_server(connection, shown)
            findings.append(_check_schema(connection))
            now = connection.scalar(sa.select(sa.func.clock_timestamp()))
            return findings, _read(connection, now) if findings[-1].level is Level.OK else None
    return findings, None


def check_listen_url(listen_url: str) -> list[Finding]:
    """Return whether the URL past a pooler can be used."""
    findings: list[Finding] = []
    with closing(Database(listen_url)) as database:
        shown = database.url.set(drivername="postgresql").render_as_string(hide_password=True)
        with _faults_as_findings(findings, f"TUTUMD_LISTEN_URL {shown}"), database.read() as connection:
            connection.exec_driver_sql("SELECT 1")
            findings.append(ok(DATABASE, f"TUTUMD_LISTEN_URL {shown} answers"))
    return findings


@contextmanager
def _faults_as_findings(findings: list[Finding], shown: str) -> Iterator[None]:
    try:
        with translated_errors():
            yield
    except UnavailableError as error:
        cause, said = explain(error)
        what, _, mend = cause.partition(": ")
        findings.append(wrong(DATABASE, f"{shown} cannot be used: {what} ({said})", mend or cause))
    except SettingsError as error:
        findings.append(wrong(DATABASE, str(error), "use another server or database"))


def _check_pages(connection: sa.Connection, path: Path) -> Finding:
    file: Any = connection.connection.driver_connection
    end = time.monotonic() + _CHECK_LIMIT_S
    file.set_progress_handler(lambda: time.monotonic() > end, _STEPS)
    size = f"{path} ({path.stat().st_size / 1e6:,.1f} MB)"
    try:
        found = str(connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one())
    except sa.exc.OperationalError as error:
        if getattr(error.orig, "sqlite_errorcode", 0) != sqlite3.SQLITE_INTERRUPT:
            raise
        return ok(DATABASE, f"{size} is too large to be read through here: tutumd backup does")
    finally:
        file.set_progress_handler(None, 0)
    if found != "ok":
        return wrong(DATABASE, f"{size} is damaged: {' '.join(found.split())}", "restore a backup: tutumd restore FILE")
    return ok(DATABASE, f"{size} is not damaged")


def _check_wal(path: Path) -> Iterator[Finding]:
    wal = Path(f"{path}-wal")
    size = wal.stat().st_size if wal.exists() else 0
    if size > 2 * MAX_WAL_BYTES:
        mend = "end the process that has read the database for so long, such as a shell or a backup"
        yield warning(DATABASE, f"{wal} has grown to {size / 1e6:,.0f} MB: a reader keeps it from being emptied", mend)


def _check_server(connection: sa.Connection, shown: str) -> Iterator[Finding]:
    def value(query: str) -> Any:
        return connection.exec_driver_sql(query).scalar_one()

    yield ok(DATABASE, f"{shown} answers: PostgreSQL {value('SHOW server_version')}")
    if value("SELECT pg_is_in_recovery()"):
        mend = "name all hosts in the URL, with target_session_attrs=read-write, or promote this one"
        yield wrong(DATABASE, "it is a read-only standby", mend)
    if not value("SELECT coalesce(has_schema_privilege(current_schema(), 'CREATE'), false)"):
        mend = "make its user the owner of the database or schema, or grant it CREATE"
        yield wrong(DATABASE, "its user may not create tables, which a new version does", mend)
    used = value("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")
    most = int(value("SHOW max_connections"))
    if used > most * _MANY_CONNECTIONS:
        mend = "raise max_connections, lower --pool-size, or run fewer processes"
        yield warning(DATABASE, f"{used} of its {most} connections are in use", mend)


def _check_schema(connection: sa.Connection) -> Finding:
    tables = sa.inspect(connection).get_table_names()
    if "alembic_version" not in tables:
        if tables:
            mend = "give tutumd a database of its own"
            return wrong(DATABASE, f"it is another application's, with a table {tables[0]!r}", mend)
        return warning(DATABASE, "it is empty", "start tutumd, which creates its tables")
    schema = str(connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar())
    if schema == HEAD:
        return ok(DATABASE, f"its schema is that of this version, {HEAD}")
    if schema > HEAD:
        mend = "run the newer version, or restore a backup"
        return wrong(DATABASE, f"its schema, {schema}, is of a newer tutumd; this version knows {HEAD}", mend)
    mend = f"back up, then restart tutumd with this version, which brings it to {HEAD}"
    return warning(DATABASE, f"its schema, {schema}, is of an older tutumd", mend)


def _read(connection: sa.Connection, now: datetime | None) -> Contents:
    columns = (deliveries.c.address, deliveries.c.received, deliveries.c.content)
    last = sa.select(*columns).order_by(deliveries.c.seq.desc()).limit(_RECENT)
    calls = connection.execute(last).all()
    reported = sa.select(engines.c.name, engines.c.last_heartbeat, engines.c.error)
    return Contents(
        secret=_find_secret(connection),
        addresses=tuple(call.address for call in calls if call.content),
        forwarded=frozenset(call.address for call in calls if call.address in _find_hops(call.content)),
        newest=calls[0].received if calls else None,
        call=_find_call(connection),
        engines={name: (seen, error) for name, seen, error in connection.execute(reported)},
        installation=read_installation(connection),
        now=now,
    )


def _find_hops(content: str) -> set[str]:
    """Return the addresses in the X-Forwarded-For of a call."""
    headers = json.loads(content or "{}").get("headers", ())
    hops = ",".join(value for name, value in headers if name == "x-forwarded-for")
    return {hop.strip().removeprefix("::ffff:") for hop in hops.split(",")}


def _find_call(connection: sa.Connection) -> tuple[int, int] | None:
    queued = (
        sa.select(handlers.c.seq, actions.c.seq)
        .join_from(deliveries, handlers, deliveries.c.handler_seq == handlers.c.seq)
        .join(actions, deliveries.c.action_seq == actions.c.seq)
        .order_by(deliveries.c.seq.desc())
        .limit(1)
    )
    found = connection.execute(queued).first()
    return (found[0], found[1]) if found else None


def _find_secret(connection: sa.Connection) -> str | None:
    with_secret = sa.select(handlers.c.options).where(handlers.c.options.contains('"secrets"'))
    for (options,) in connection.execute(with_secret.order_by(handlers.c.seq.desc()).limit(_RECENT)):
        secrets = (json.loads(options).get("verify") or {}).get("secrets") or []
        if secrets:
            return str(secrets[0])
    return None
