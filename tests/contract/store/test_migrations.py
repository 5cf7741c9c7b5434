"""Migrations: they create the tables of a new database, and keep the rows of an old one."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

import tutumd.store
from tests.support.postgres_bed import PostgresBed
from tutumd.store import tables
from tutumd.store.database import Database
from tutumd.store.upgrade import run_migrations

INDEXES = {
    "sqlite": "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL",
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
        assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []
    stepwise.migrate()
    with made.read() as connection, stepwise.read() as stepwise_connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []
        assert indexes(connection) == indexes(stepwise_connection)
    made.close()
    stepwise.close()


def test_several_processes_may_migrate_at_once(database_url: str) -> None:
    databases = [Database(database_url) for _ in range(6)]
    with ThreadPoolExecutor(len(databases)) as pool:
        for done in [pool.submit(database.migrate) for database in databases]:
            done.result(30)
    with databases[0].read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []
    for database in databases:
        database.close()


def test_the_newest_migration_is_the_one_that_the_code_names() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(tutumd.store.__file__).parent / "migrations"))
    assert ScriptDirectory.from_config(config).get_heads() == [tables.HEAD]


def test_old_deliveries_keep_their_actions(database_url: str) -> None:
    database = Database(database_url)
    with database.write() as connection:
        run_migrations(connection, "0001")
        for statement in OLD_ROWS:
            connection.execute(sa.text(statement))
    database.migrate()
    with database.read() as connection:
        rows = connection.execute(sa.text("SELECT handler_seq, action_seq, amount FROM deliveries ORDER BY seq")).all()
        handler = connection.execute(sa.text("SELECT seq, options, calls FROM handlers")).one()
        action = connection.execute(sa.text("SELECT seq, variables FROM actions")).one()
    database.close()
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
