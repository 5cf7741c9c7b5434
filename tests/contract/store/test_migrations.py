"""Migrations: a new database gets its tables, and an older one what it lacks, beside calls and other processes."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from tests.support import next_release
from tests.support.postgres_bed import PostgresBed
from tests.support.waiting import wait_until
from tutumd.errors import SettingsError
from tutumd.store.sql.database import Database
from tutumd.store.tables.schema import HEAD, metadata
from tutumd.store.tables.upgrade import SCRIPTS, run_migrations, upgrade

pytestmark = pytest.mark.dialect

INDEXES = {
    "sqlite": "SELECT name, sql FROM sqlite_master WHERE type IN ('index', 'trigger') AND sql IS NOT NULL",
    "postgresql": "SELECT indexname AS name, indexdef AS sql FROM pg_indexes WHERE schemaname = 'public'",
}


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    """The migrations of the next release."""
    return next_release.write_scripts(tmp_path / "migrations")


def indexes(connection: sa.Connection) -> dict[str, str]:
    rows = connection.execute(sa.text(INDEXES[connection.dialect.name]))
    return {row.name: "".join(str(row.sql).lower().split()) for row in rows if not row.name.startswith("alembic")}


@pytest.mark.filterwarnings("ignore:.*expression-based index")
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_migrations_create_the_tables_of_a_new_database(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if kind == "postgresql":
        bed: PostgresBed = request.getfixturevalue("postgres_bed")
        new, migrated = bed.new_database(), bed.new_database()
    else:
        new, migrated = (f"sqlite:///{tmp_path / name}.db" for name in ("new", "migrated"))
    made = Database(new)
    upgrade(made)
    upgrade(made)
    stepwise = Database(migrated)
    with stepwise.write() as connection:
        run_migrations(connection)
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    upgrade(stepwise)
    with made.read() as connection, stepwise.read() as stepwise_connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        assert indexes(connection) == indexes(stepwise_connection)
    made.close()
    stepwise.close()


def test_the_newest_migration_is_the_one_that_the_code_names() -> None:
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


def made_by_this_release(url: str) -> Database:
    database = Database(url)
    upgrade(database)
    return database


def migrate(database: Database, scripts: Path) -> None:
    """Bring a database to the schema of the next release."""
    upgrade(database, head=next_release.HEAD, scripts=scripts)


def has_colours(database: Database) -> bool:
    with database.read() as connection:
        return "colour" in {column["name"] for column in sa.inspect(connection).get_columns("services")}


def test_several_processes_may_migrate_an_old_database_at_once(
    database_url: str, scripts: Path, caplog: pytest.LogCaptureFixture
) -> None:
    databases = [made_by_this_release(database_url), *(Database(database_url) for _ in range(3))]
    with caplog.at_level("INFO"), ThreadPoolExecutor(len(databases)) as pool:
        for done in [pool.submit(migrate, database, scripts) for database in databases]:
            done.result(60)
    assert all(map(has_colours, databases))
    for database in databases:
        database.close()
    assert caplog.text.count(f"migrating the database from {HEAD} to {next_release.HEAD}") == 1
    assert caplog.text.count("the database was migrated: that took") == 1


def test_a_migration_has_no_time_limit_and_waits_for_locks_only_briefly(
    postgres_bed: PostgresBed, scripts: Path
) -> None:
    database = made_by_this_release(postgres_bed.new_database())
    limits: set[tuple[object, ...]] = set()

    def read_limits(
        connection: sa.Connection, _cursor: object, statement: str, _parameters: object, _context: object, _many: bool
    ) -> None:
        if statement.startswith("ALTER TABLE"):
            cursor = connection.connection.cursor()
            cursor.execute("SELECT current_setting('statement_timeout'), current_setting('lock_timeout')")
            limits.add(tuple(cursor.fetchone() or ()))

    sa.event.listen(sa.Engine, "before_cursor_execute", read_limits)
    try:
        migrate(database, scripts)
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", read_limits)
    with database.write() as connection:
        later = connection.execute(sa.text("SELECT current_setting('statement_timeout')")).scalar()
    database.close()
    assert limits == {("0", "500ms")}
    assert later == "20s"


@pytest.mark.slow
def test_a_migration_that_waits_for_a_long_transaction_lets_calls_through(
    postgres_bed: PostgresBed, scripts: Path, caplog: pytest.LogCaptureFixture
) -> None:
    url = postgres_bed.new_database()
    database = made_by_this_release(url)
    long, caller = Database(url), Database(url)
    read_services = sa.text("SELECT count(*) FROM services")
    with ThreadPoolExecutor(1) as pool:
        with long.read() as connection:
            connection.execute(read_services)
            migrated = pool.submit(migrate, database, scripts)
            for number in range(1, 4):
                wait_until(partial(has_failed, caplog, number), "another try failed")
                with caller.write() as calling:
                    calling.execute(sa.text("UPDATE services SET name = name"))
            assert not migrated.done()
        migrated.result(60)
    assert has_colours(database)
    for each in (database, long, caller):
        each.close()


@pytest.mark.slow
def test_a_process_waits_while_another_one_migrates(
    tmp_path: Path, scripts: Path, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"sqlite:///{tmp_path / 'test.db'}"
    database, other = made_by_this_release(url), Database(url)
    with ThreadPoolExecutor(1) as pool:
        with other.write() as connection:
            migrated = pool.submit(migrate, database, scripts)
            wait_until(partial(has_failed, caplog, 1), "the lock was held for longer than a transaction waits")
            run_migrations(connection, scripts)
        migrated.result(60)
    assert has_colours(database)
    for each in (database, other):
        each.close()
    assert "the database was migrated" not in caplog.text


@pytest.mark.slow
def test_a_process_waits_for_locked_tables_only_for_some_minutes(
    tmp_path: Path, scripts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tutumd.store.tables.upgrade.GIVE_UP_S", 0.0)
    url = f"sqlite:///{tmp_path / 'test.db'}"
    with (
        closing(made_by_this_release(url)) as database,
        closing(Database(url)) as other,
        other.write(),
        pytest.raises(SettingsError, match="other transactions use its tables: end them"),
    ):
        migrate(database, scripts)


def has_failed(caplog: pytest.LogCaptureFixture, times: int) -> bool:
    return caplog.text.count("not migrated yet") >= times


@pytest.mark.parametrize(
    ("version", "told"),
    [
        ("0007", "made by an unreleased version of tutumd: export your handlers"),
        ("9999", f"has the schema 9999, and this tutumd .* knows none after {HEAD}, .*: install the newer tutumd"),
    ],
)
def test_a_database_of_an_unreleased_or_newer_version_is_refused(database_url: str, version: str, told: str) -> None:
    database = made_by_this_release(database_url)
    with database.write() as connection:
        connection.execute(sa.text(f"UPDATE alembic_version SET version_num = '{version}'"))
    with pytest.raises(SettingsError, match=told):
        upgrade(database)
    database.close()


def test_a_command_for_accounts_does_not_begin_an_upgrade(database_url: str, scripts: Path) -> None:
    database = made_by_this_release(database_url)
    with pytest.raises(SettingsError, match=f"the schema {HEAD} of an older tutumd.*: start its server first"):
        upgrade(database, from_older=False, head=next_release.HEAD, scripts=scripts)
    database.close()
