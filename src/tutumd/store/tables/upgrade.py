"""Upgrade of the database schema."""

import logging
import time
from importlib.metadata import version as version_of
from pathlib import Path

import sqlalchemy as sa

from tutumd.errors import SettingsError, UnavailableError
from tutumd.store.intake import handler_lookup, plain_calls
from tutumd.store.objects import action_rows
from tutumd.store.sql.database import Database
from tutumd.store.sql.dialect import dialect_of
from tutumd.store.sql.faults import is_locked
from tutumd.store.tables.schema import HEAD, is_known, metadata

GIVE_UP_S = 600.0
SCRIPTS = Path(__file__).parent / "migrations"
_RETRY_PAUSE_S = 1.0
_OURS = f"this tutumd {version_of('tutumd')}"
# As created by Alembic.
_versions = sa.Table("alembic_version", sa.MetaData(), sa.Column("version_num", sa.String(32), primary_key=True))
_log = logging.getLogger(__name__)


def upgrade(database: Database, *, from_older: bool = True, head: str = HEAD, scripts: Path = SCRIPTS) -> None:
    """Upgrade the schema to the newest revision. This is fast if nothing has to change. Several processes may do so at
    the same time.

    Args:
        from_older: Whether to change the schema of an older version. An empty database gets its tables in any case.
        head: Revision of the newest migration.
        scripts: Alembic's folder with all migrations.

    Raises:
        SettingsError: The schema belongs to another application, to a newer tutumd, or to an older tutumd and must not
            change. Or its tables were locked for 10 minutes.
        UnavailableError: The database cannot be used.
    """
    with database.read() as connection:
        version = schema_version(connection)
    if version == head:
        return
    if version is not None:
        _check_known(version, head)
        if not from_older:
            raise SettingsError(
                f"the database has the schema {version} of an older tutumd, and {_OURS} needs {head}:"
                " start its server first, which upgrades the database; see UPGRADING.md"
            )
    end = time.monotonic() + GIVE_UP_S
    while True:
        try:
            with database.write() as connection:
                _upgrade(connection, head, scripts)
            return
        except UnavailableError as error:
            if not is_locked(error):
                raise
            if time.monotonic() > end:
                raise SettingsError(
                    "the database cannot be migrated, because other transactions use its tables: end them"
                ) from error
            _log.warning("the database is not migrated yet: waiting for transactions that use its tables")
            time.sleep(_RETRY_PAUSE_S)


def _upgrade(connection: sa.Connection, head: str, scripts: Path) -> None:
    dialect_of(connection).begin_migration(connection)
    version = schema_version(connection)
    if version == head:
        return  # another process was faster
    if version is not None:
        _check_known(version, head)  # another process may have been newer, too
        began = time.monotonic()
        _log.warning("migrating the database from %s to %s; this process serves when that is done", version, head)
        run_migrations(connection, scripts)
        _log.warning("the database was migrated: that took %.1f s", time.monotonic() - began)
        return
    if found := sa.inspect(connection).get_table_names():
        raise SettingsError(f"the database is another application's, with a table {found[0]!r}: give tutumd its own")
    # This is half a second faster than Alembic.
    create_tables(connection)
    _versions.create(connection)
    connection.execute(sa.insert(_versions).values(version_num=HEAD))


def create_tables(connection: sa.Connection) -> None:
    """Create all tables, indexes, triggers and functions in an empty database."""
    metadata.create_all(connection)
    on_sqlite = (*handler_lookup.TRIGGERS, *action_rows.TRIGGERS)
    for statement in on_sqlite if dialect_of(connection).single_writer else (plain_calls.FUNCTION,):
        connection.exec_driver_sql(statement)


def run_migrations(connection: sa.Connection, scripts: Path = SCRIPTS) -> None:
    """Run the migrations that the database lacks."""
    from alembic import command  # slow to import, and rarely needed
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(scripts))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def find_refusal(version: str, head: str = HEAD) -> tuple[str, str] | None:
    """Return why no migration of this release created a schema, and what to do; None if one did."""
    if version.startswith("0"):  # checkouts before 0.1.0: `0001` and so on
        return (
            "the database was made by an unreleased version of tutumd",
            "export your handlers with `tutum export` while that version runs, then start this one with a new data"
            " folder or database",
        )
    if not is_known(version, head):
        return (
            f"the database has the schema {version}, and {_OURS} knows none after {head}, so a newer tutumd or"
            " another application uses it",
            "install the newer tutumd, or restore the backup that was made before the upgrade; see UPGRADING.md",
        )
    return None


def _check_known(version: str, head: str) -> None:
    if refusal := find_refusal(version, head):
        raise SettingsError(": ".join(refusal))


def schema_version(connection: sa.Connection) -> str | None:
    """Return the revision of the stored schema; None if there is none."""
    if not sa.inspect(connection).has_table(_versions.name):
        return None
    return connection.execute(sa.select(_versions.c.version_num)).scalar()
