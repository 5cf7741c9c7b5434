"""Bringing the schema of a database up to date."""

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from tutumd.errors import SettingsError, UnavailableError
from tutumd.store import change_log, tables
from tutumd.store.faults import is_locked

if TYPE_CHECKING:
    from tutumd.store.database import Database

GIVE_UP_S = 600.0
_RETRY_PAUSE_S = 1.0
_LOCK = 0x7475_7475_6D64
# A change of a table waits for the transactions that use it, and all that come later wait behind it. So it waits only
# briefly, more than once. It may then take as long as the table is large.
_POSTGRES_LIMITS = (
    "SELECT set_config('lock_timeout', '500ms', true), set_config('statement_timeout', '0', true),"
    " set_config('idle_in_transaction_session_timeout', '0', true)"
)
# As Alembic creates it.
_versions = sa.Table("alembic_version", sa.MetaData(), sa.Column("version_num", sa.String(32), primary_key=True))
_log = logging.getLogger(__name__)


def upgrade(database: "Database") -> None:
    """Bring the schema up to date, quickly if it is already.

    Raises:
        SettingsError: It is another application's or a newer tutumd's, or its tables were locked for 10 minutes.
        UnavailableError: The database cannot be used.
    """
    with database.read() as connection:
        if _version(connection) == tables.HEAD:
            return
    began = time.monotonic()
    while True:
        try:
            with database.write() as connection:
                _upgrade(connection)
            return
        except UnavailableError as error:
            if not is_locked(error):
                raise
            if time.monotonic() - began > GIVE_UP_S:
                raise SettingsError(
                    "the database cannot be migrated, because other transactions use its tables: end them"
                ) from error
            _log.warning("the database is not migrated yet: waiting for transactions that use its tables")
            time.sleep(_RETRY_PAUSE_S)


def _upgrade(connection: sa.Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text(_POSTGRES_LIMITS))
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
    version = _version(connection)
    if version == tables.HEAD:
        return  # another process was quicker
    if version is not None:
        began = time.monotonic()
        _log.warning("migrating the database from %s to %s; until then no calls are answered", version, tables.HEAD)
        run_migrations(connection)
        _log.warning("the database was migrated: that took %.1f s", time.monotonic() - began)
        return
    if found := sa.inspect(connection).get_table_names():
        raise SettingsError(f"the database is another application's, with a table {found[0]!r}: give tutumd its own")
    # Half a second faster than the migrations; a test compares the two.
    tables.metadata.create_all(connection)
    for trigger in change_log.TRIGGERS if connection.dialect.name == "sqlite" else ():
        connection.exec_driver_sql(trigger)
    _versions.create(connection)
    connection.execute(sa.insert(_versions).values(version_num=tables.HEAD))


def run_migrations(connection: sa.Connection, revision: str = "head") -> None:
    """Run the migrations that the database lacks, up to a revision. Raises SettingsError if they are not ours."""
    from alembic import command  # slow to import, and rarely needed
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, revision)
    except CommandError as error:
        raise SettingsError(
            f"the database has the schema {_version(connection)} of a newer tutumd or another application, and this"
            f" version knows only {tables.HEAD}: run the newer version, or restore a backup"
        ) from error


def _version(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table(_versions.name):
        return None
    return connection.execute(sa.select(_versions.c.version_num)).scalar()
