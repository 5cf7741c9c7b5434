"""Checks of a database for `tutumd doctor`. They change nothing, and no server has to wait."""

import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import sqlalchemy as sa

from tutumd.boottime import boottime_s
from tutumd.errors import UnavailableError
from tutumd.model import Event, Finding, Level, ok, warning, wrong
from tutumd.store.objects.figures import read_delay_s
from tutumd.store.queue.engine_sync import read_installation
from tutumd.store.sql import Database
from tutumd.store.sql.faults import explain
from tutumd.store.tables import (
    DEAD,
    EPOCH,
    HEAD,
    deliveries,
    engines,
    handlers,
    issuers,
    notifications,
    targets,
)
from tutumd.store.tables.upgrade import find_refusal, schema_version

DATABASE = "database"
_CHECKED_BYTES = 500_000_000
"""Maximum size of a file that can be checked for damage within seconds."""

_RECENT = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """Contents of the database that other checks use.

    Attributes:
        secret: A stored secret, encrypted; None if there is none.
        newest: Time of the last call.
        direct: Addresses of the last calls, the newest first; empty if an address was taken from X-Forwarded-For.
        engines: Last report of each engine's worker: its time and error.
        now: Time of the database's clock, or for SQLite of this machine's clock.
        installation: As `Queue.installation`; empty before a worker has started.
        targets, disabled: Numbers of notification targets, and of those that the server disabled.
        dead: Number of notifications that could not be sent.
        notification_delay_s: As in `Figures`.
        issuers: By URL, when the keys of an issuer of identity tokens were last fetched, and the error of the last
            attempt.
    """

    secret: str | None
    newest: datetime | None
    direct: tuple[str, ...]
    engines: Mapping[str, tuple[datetime, str]]
    now: datetime
    installation: str
    targets: int
    disabled: int
    dead: int
    notification_delay_s: float
    issuers: Mapping[str, tuple[datetime | None, str]] = field(default_factory=dict)


def check(url: str) -> tuple[list[Finding], Contents | None]:
    """Return the findings about an existing database, and its contents if it has the schema of this version.

    Raises:
        SettingsError: tutumd cannot use such a database.
    """
    findings = []
    with closing(Database(url)) as database:
        path = database.dialect.path
        shown = str(path or database.url.set(drivername="postgresql").render_as_string(hide_password=True))
        try:
            with database.read() as connection:
                version = "" if path else connection.scalar(sa.text("SHOW server_version"))
                answers = ok(DATABASE, f"{shown} answers: PostgreSQL {version}")
                findings.append(_check_file(connection, path) if path else answers)
            with database.write() as connection:  # a standby, a lock and a full disk refuse it
                findings.append(_check_schema(connection))
            if findings[-1].level is Level.OK:
                with database.read() as connection:  # no server has to wait
                    return findings, _read(connection, path)
        except UnavailableError as error:
            cause, said = explain(error)
            what, _, fix = cause.partition(": ")
            findings.append(wrong(DATABASE, f"{shown} cannot be used: {what} ({said})", fix or cause))
    return findings, None


def _check_file(connection: sa.Connection, path: Path) -> Finding:
    size = path.stat().st_size
    shown = f"{path} ({size / 1e6:,.1f} MB)"
    if size > _CHECKED_BYTES:
        return ok(DATABASE, f"{shown} can be read; it is too large to be checked for damage here: tutumd backup does")
    found = str(connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one())
    if found != "ok":
        return wrong(
            DATABASE,
            f"{shown} is damaged: {' '.join(found.split())}",
            "restore a backup: tutumd restore FILE --force",
        )
    return ok(DATABASE, f"{shown} is not damaged")


def _check_schema(connection: sa.Connection) -> Finding:
    schema = schema_version(connection)
    if schema is None:
        if found := sa.inspect(connection).get_table_names():
            text = f"it belongs to another application, with a table {found[0]!r}"
            return wrong(DATABASE, text, "give tutumd a database of its own")
        return warning(DATABASE, "it is empty", "start tutumd, which creates its tables")
    if schema == HEAD:
        return ok(DATABASE, f"its schema is that of this version, {HEAD}")
    if refusal := find_refusal(schema):
        return wrong(DATABASE, *refusal)
    return warning(
        DATABASE,
        f"its schema, {schema}, is of an older tutumd",
        f"back up, then restart tutumd with this version, which brings it to {HEAD}",
    )


def _read(connection: sa.Connection, path: Path | None) -> Contents:
    reported = sa.select(engines.c.name, engines.c.last_heartbeat, engines.c.error)
    calls = connection.execute(sa.select(deliveries).order_by(deliveries.c.seq.desc()).limit(_RECENT)).all()
    with_headers = [call for call in calls if call.content]
    now = datetime.now(UTC) if path else connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
    lease_now = EPOCH + timedelta(seconds=boottime_s()) if path else now
    numbers = connection.execute(
        sa.select(sa.func.count(), sa.func.count().filter(targets.c.disabled_reason != "")).select_from(targets)
    ).one()
    is_forwarded = any(
        call.address in value
        for call in with_headers
        for name, value in json.loads(call.content).get("headers", ())
        if name == "x-forwarded-for"
    )
    return Contents(
        secret=_find_secret(connection),
        newest=calls[0].received if calls else None,
        direct=() if is_forwarded else tuple(call.address for call in with_headers),
        engines={name: (seen, error) for name, seen, error in connection.execute(reported)},
        now=now,
        installation=read_installation(connection),
        targets=numbers[0],
        disabled=numbers[1],
        dead=connection.scalar(sa.select(sa.func.count()).where(DEAD, notifications.c.event != Event.TEST.value)) or 0,
        notification_delay_s=read_delay_s(connection, now, lease_now),
        issuers={row.url: (row.fetched, row.error) for row in connection.execute(sa.select(issuers))},
    )


def _find_secret(connection: sa.Connection) -> str | None:
    for options in connection.scalars(
        sa.select(handlers.c.options)
        .where(handlers.c.options.contains('"secrets"'))
        .order_by(handlers.c.seq.desc())
        .limit(_RECENT)
    ):
        for secret in (json.loads(options).get("verify") or {}).get("secrets") or ():
            return str(secret)
    for settings in connection.scalars(sa.select(targets.c.settings).order_by(targets.c.seq.desc()).limit(_RECENT)):
        for value in settings.values():
            if isinstance(value, dict):
                return str(value["encrypted"])
    return None
