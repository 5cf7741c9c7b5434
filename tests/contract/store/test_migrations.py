"""Migrations: they create the tables of a new database, and keep the rows of an old one."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

import tutumd.store
from tests.support.postgres_bed import PostgresBed
from tests.support.waiting import wait_until
from tutumd.store import action_deliveries
from tutumd.store.database import Database
from tutumd.store.tables.schema import HEAD, metadata
from tutumd.store.upgrade import run_migrations

pytestmark = pytest.mark.dialect

INDEXES = {
    "sqlite": "SELECT name, sql FROM sqlite_master WHERE type IN ('index', 'trigger') AND sql IS NOT NULL",
    "postgresql": "SELECT indexname AS name, indexdef AS sql FROM pg_indexes WHERE schemaname = 'public'",
}


def indexes(connection: sa.Connection) -> dict[str, str]:
    rows = connection.execute(sa.text(INDEXES[connection.dialect.name]))
    return {row.name: "".join(str(row.sql).lower().split()) for row in rows if not row.name.startswith("alembic")}


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
    made.migrate()
    made.migrate()
    stepwise = Database(migrated)
    with stepwise.write() as connection:
        run_migrations(connection)
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    stepwise.migrate()
    with made.read() as connection, stepwise.read() as stepwise_connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        assert indexes(connection) == indexes(stepwise_connection)
    made.close()
    stepwise.close()


def test_several_processes_may_migrate_at_once(database_url: str) -> None:
    databases = [Database(database_url) for _ in range(6)]
    with ThreadPoolExecutor(len(databases)) as pool:
        for done in [pool.submit(database.migrate) for database in databases]:
            done.result(120)
    with databases[0].read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    for database in databases:
        database.close()


def test_the_newest_migration_is_the_one_that_the_code_names() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(tutumd.store.__file__).parent / "migrations"))
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


def at_version(url: str, revision: str, *rows: str) -> Database:
    """Return a database as an earlier version left it."""
    database = Database(url)
    with database.write() as connection:
        run_migrations(connection, revision)
        if connection.dialect.name == "postgresql":
            connection.execute(sa.text("SET LOCAL statement_timeout = 0"))  # many rows may take a busy machine long
        for statement in rows:
            connection.execute(sa.text(statement))
    return database


def test_several_processes_may_migrate_an_old_database_at_once(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    databases = [at_version(database_url, "0002"), *(Database(database_url) for _ in range(3))]
    with caplog.at_level("INFO"), ThreadPoolExecutor(len(databases)) as pool:
        for done in [pool.submit(database.migrate) for database in databases]:
            done.result(60)
    with databases[0].read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    for database in databases:
        database.close()
    assert caplog.text.count(f"migrating the database from 0002 to {HEAD}") == 1
    assert caplog.text.count("the database was migrated: that took") == 1


def test_the_previous_version_can_insert_into_the_tables_of_this_one(database_url: str) -> None:
    at_version(database_url, "0002").close()
    engine, previous = sa.create_engine(database_url), sa.MetaData()
    previous.reflect(engine)
    engine.dispose()
    added = [
        column
        for table in metadata.sorted_tables
        for column in table.columns
        if table.name in previous.tables and column.name not in previous.tables[table.name].columns
    ]
    assert added
    assert [column.name for column in added if not column.nullable and column.server_default is None] == []


def test_a_migration_has_no_time_limit_and_waits_for_locks_only_briefly(postgres_bed: PostgresBed) -> None:
    database = at_version(postgres_bed.new_database(), "0001", *OLD_ROWS)
    limits: set[tuple[object, ...]] = set()

    def read_limits(
        connection: sa.Connection, _cursor: object, statement: str, _parameters: object, _context: object, _many: bool
    ) -> None:
        if statement.startswith(("UPDATE deliveries", "ALTER TABLE")):
            cursor = connection.connection.cursor()
            cursor.execute("SELECT current_setting('statement_timeout'), current_setting('lock_timeout')")
            limits.add(tuple(cursor.fetchone() or ()))

    sa.event.listen(database._engine, "before_cursor_execute", read_limits)
    database.migrate()
    with database.write() as connection:
        later = connection.execute(sa.text("SELECT current_setting('statement_timeout')")).scalar()
    database.close()
    assert limits == {("0", "500ms")}
    assert later == "20s"


def test_a_migration_that_waits_for_a_long_transaction_lets_calls_through(
    postgres_bed: PostgresBed, caplog: pytest.LogCaptureFixture
) -> None:
    url = postgres_bed.new_database()
    database = at_version(url, "0002")
    long, caller = Database(url), Database(url)
    read_services = sa.text("SELECT count(*) FROM services")
    with ThreadPoolExecutor(1) as pool:
        with long.read() as connection:
            connection.execute(read_services)
            migrated = pool.submit(database.migrate)
            for number in range(1, 4):
                wait_until(partial(has_failed, caplog, number), "another try failed")
                with caller.write() as calling:
                    calling.execute(sa.text("UPDATE services SET name = name"))
            assert not migrated.done()
        migrated.result(60)
    for each in (database, long, caller):
        each.close()
    assert f"migrating the database from 0002 to {HEAD}" in caplog.text


def test_a_process_waits_while_another_one_migrates(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    url = f"sqlite:///{tmp_path / 'test.db'}"
    database, other = at_version(url, "0002"), Database(url)
    with ThreadPoolExecutor(1) as pool:
        with other.write() as connection:
            migrated = pool.submit(database.migrate)
            wait_until(partial(has_failed, caplog, 1), "the lock was held for longer than a transaction waits")
            run_migrations(connection)
        migrated.result(60)
    for each in (database, other):
        each.close()
    assert "the database was migrated" not in caplog.text


def has_failed(caplog: pytest.LogCaptureFixture, times: int) -> bool:
    return caplog.text.count("not migrated yet") >= times


@pytest.mark.slow
def test_a_million_deliveries_are_migrated(database_url: str, caplog: pytest.LogCaptureFixture) -> None:
    many = (
        "INSERT INTO deliveries (handler_uuid, action_uuid, amount, received, address, user_agent, body_size, outcome)"
        " WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 1000000)"
        " SELECT 'h', 'a', n, n, '192.0.2.1', 'sender/1.0', 0, 'joined' FROM numbers"
    )
    database = at_version(database_url, "0001", *OLD_ROWS, many)
    database.migrate()
    with database.read() as connection:
        counted = sa.text("SELECT count(*), count(DISTINCT action_seq), sum(amount) FROM deliveries")
        assert tuple(connection.execute(counted).one()) == (1_000_002, 1, 500_000_500_007)
    database.close()
    assert "the database was migrated: that took" in caplog.text


def test_old_deliveries_keep_their_actions(database_url: str) -> None:
    database = at_version(database_url, "0001", *OLD_ROWS)
    database.migrate()
    with database.read() as connection:
        rows = connection.execute(sa.text("SELECT handler_seq, action_seq, amount FROM deliveries ORDER BY seq")).all()
        handler = connection.execute(sa.text("SELECT seq, options, calls FROM handlers")).one()
        action = connection.execute(sa.text("SELECT seq, variables FROM actions")).one()
        found = connection.execute(action_deliveries.seqs(action.seq)).scalars().all()
    database.close()
    assert len(found) == 2
    # The handler of the second delivery is gone, and the action of the third.
    assert [tuple(row) for row in rows] == [(handler.seq, action.seq, 3), (0, action.seq, 4)]
    assert (handler.options, handler.calls) == ("{}", 0)


OLD_ROWS = (
    "INSERT INTO services (uuid, engine, engine_kind, selector, name, stack, bound, terminated, state, target, running,"
    " stopped, image_name, run_command, warnings, created, fingerprint) VALUES ('s', 'docker', 'docker', 'name:web',"
    " 'web', '', true, false, 'Running', 1, 1, 0, '', '', '[]', 1, '')",
    "INSERT INTO handlers (uuid, service_uuid, operation, created) VALUES ('h', 's', 'REDEPLOY', 1)",
    "INSERT INTO actions (uuid, service_uuid, engine, verb, state, open, amount, cancel, created, due, address,"
    " user_agent, reason, log_tail, rolled_back, containers_before, containers_after, token, attempts, journal)"
    " VALUES ('a', 's', 'docker', 'REDEPLOY',"
    " 'Success', false, 0, false, 1, 1, '', '', '', '', false, '[]', '[]', 1, 0, '{}')",
    *(
        "INSERT INTO deliveries (handler_uuid, action_uuid, amount, received, address, user_agent, body_size, outcome)"
        f" VALUES ('{handler}', '{action}', {amount}, 1, '', '', 0, 'queued')"
        for handler, action, amount in (("h", "a", 3), ("gone", "a", 4), ("h", "gone", 5))
    ),
)
