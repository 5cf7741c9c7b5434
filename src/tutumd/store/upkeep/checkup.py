"""What `tutumd doctor` asks a database. Nothing is changed, and no server has to wait."""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa

from tutumd.errors import SettingsError, UnavailableError
from tutumd.model.findings import Finding, Level, ok, warning, wrong
from tutumd.store.queue.engine_sync import read_installation
from tutumd.store.sql.database import Database
from tutumd.store.sql.faults import explain, translated_errors
from tutumd.store.tables.actions import deliveries
from tutumd.store.tables.schema import HEAD, is_known
from tutumd.store.tables.services import engines, handlers

DATABASE = "database"
_LOCK_LIMIT_S = 5.0
_CHECKED_BYTES = 500_000_000
"""Size of a file that can be checked for damage within seconds."""

_RECENT = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What other checks judge by.

    Attributes:
        secret: A stored secret, encrypted; None if there is none.
        direct: Addresses of the last calls, the newest first; empty if one was taken from X-Forwarded-For.
        newest: When the last call came.
        engines: When the worker of each engine last reported, and what error.
        now: By the clock of the database; None for SQLite, which has none.
        installation: As of `Queue.installation`; empty before a worker has started.
    """

    secret: str | None = None
    direct: tuple[str, ...] = ()
    newest: datetime | None = None
    engines: Mapping[str, tuple[datetime, str]] = field(default_factory=dict)
    now: datetime | None = None
    installation: str = ""


def check_sqlite(path: Path) -> tuple[list[Finding], Contents | None]:
    """Return the findings about a file that exists, and what is in it if it can be read."""

    def connect() -> sqlite3.Connection:
        uri = f"{path.absolute().as_uri()}?mode=rw"
        return sqlite3.connect(uri, uri=True, timeout=_LOCK_LIMIT_S, isolation_level=None, check_same_thread=False)

    findings: list[Finding] = []
    engine = sa.create_engine("sqlite://", creator=connect, poolclass=sa.NullPool)
    with _faults_as_findings(findings, str(path)), engine.connect() as connection:
        findings.append(_check_pages(connection, path))
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # what keeps a server from writing keeps this from it, too
        connection.exec_driver_sql("ROLLBACK")
        return findings, _read(connection, findings)
    return findings, None


def check_postgres(url: str) -> tuple[list[Finding], Contents | None]:
    """Return the findings about a database on PostgreSQL, and what is in it if it can be read."""
    findings: list[Finding] = []
    with closing(Database(url)) as database:
        shown = database.url.set(drivername="postgresql").render_as_string(hide_password=True)
        with _faults_as_findings(findings, shown), database.write() as connection:  # which a standby refuses
            version = connection.exec_driver_sql("SHOW server_version").scalar_one()
            findings.append(ok(DATABASE, f"{shown} answers: PostgreSQL {version}"))
            if contents := _read(connection, findings):
                contents = replace(contents, now=connection.scalar(sa.select(sa.func.clock_timestamp())))
            return findings, contents
    return findings, None


@contextmanager
def _faults_as_findings(findings: list[Finding], shown: str) -> Iterator[None]:
    try:
        with translated_errors():
            yield
    except UnavailableError as error:
        cause, said = explain(error)
        what, _, fix = cause.partition(": ")
        findings.append(wrong(DATABASE, f"{shown} cannot be used: {what} ({said})", fix or cause))
    except SettingsError as error:
        findings.append(wrong(DATABASE, str(error), "use another server or database"))


def _check_pages(connection: sa.Connection, path: Path) -> Finding:
    size = path.stat().st_size
    shown = f"{path} ({size / 1e6:,.1f} MB)"
    if size > _CHECKED_BYTES:
        return ok(DATABASE, f"{shown} can be read; it is too large to be checked for damage here: tutumd backup does")
    found = str(connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one())
    if found != "ok":
        text = f"{shown} is damaged: {' '.join(found.split())}"
        return wrong(DATABASE, text, "restore a backup: tutumd restore FILE --force")
    return ok(DATABASE, f"{shown} is not damaged")


def _check_schema(connection: sa.Connection) -> Finding:
    tables = sa.inspect(connection).get_table_names()
    if not tables:
        return warning(DATABASE, "it is empty", "start tutumd, which creates its tables")
    if "alembic_version" not in tables:
        text = f"it belongs to another application, with a table {tables[0]!r}"
        return wrong(DATABASE, text, "give tutumd a database of its own")
    schema = str(connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar())
    if schema == HEAD:
        return ok(DATABASE, f"its schema is that of this version, {HEAD}")
    if not is_known(schema):
        text = f"its schema, {schema}, is of a newer tutumd; this version knows {HEAD}"
        return wrong(DATABASE, text, "run the newer version, or restore a backup")
    fix = f"back up, then restart tutumd with this version, which brings it to {HEAD}"
    return warning(DATABASE, f"its schema, {schema}, is of an older tutumd", fix)


def _read(connection: sa.Connection, findings: list[Finding]) -> Contents | None:
    """Return what is in a database of this version; None for others. Adds a finding about its schema."""
    findings.append(_check_schema(connection))
    if findings[-1].level is not Level.OK:
        return None
    columns = (deliveries.c.address, deliveries.c.received, deliveries.c.content)
    last = sa.select(*columns).order_by(deliveries.c.seq.desc()).limit(_RECENT)
    calls = connection.execute(last).all()
    with_headers = [call for call in calls if call.content]
    is_forwarded = any(call.address in _forwarded_for(call.content) for call in with_headers)
    reported = sa.select(engines.c.name, engines.c.last_heartbeat, engines.c.error)
    return Contents(
        secret=_find_secret(connection),
        direct=() if is_forwarded else tuple(call.address for call in with_headers),
        newest=calls[0].received if calls else None,
        engines={name: (seen, error) for name, seen, error in connection.execute(reported)},
        installation=read_installation(connection),
    )


def _forwarded_for(content: str) -> str:
    """Return the X-Forwarded-For of a call."""
    headers = json.loads(content).get("headers", ())
    return ",".join(value for name, value in headers if name == "x-forwarded-for")


def _find_secret(connection: sa.Connection) -> str | None:
    with_secret = sa.select(handlers.c.options).where(handlers.c.options.contains('"secrets"'))
    for (options,) in connection.execute(with_secret.order_by(handlers.c.seq.desc()).limit(_RECENT)):
        secrets = (json.loads(options).get("verify") or {}).get("secrets") or []
        if secrets:
            return str(secrets[0])
    return None
