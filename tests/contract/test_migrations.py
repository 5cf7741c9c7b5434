"""The migrations make exactly the tables that the code works with."""

from pathlib import Path

import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

import tutumd.store
from tutumd.store import tables
from tutumd.store.database import Database


def test_migrating_makes_the_tables_of_the_code(tmp_path: Path) -> None:
    path = tmp_path / "test.db"
    database = Database(f"sqlite:///{path}")
    database.migrate()
    database.migrate()
    database.close()
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []
        rows = connection.execute(sa.text("SELECT name, sql FROM sqlite_master WHERE type = 'index'"))
        indexes = {row.name: row.sql for row in rows}
    assert "state = 'Pending' AND open" in indexes["actions_one_open"]
    assert "state = 'In progress'" in indexes["actions_one_in_progress"]
    engine.dispose()


def test_the_newest_migration_is_the_one_that_the_code_names() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(tutumd.store.__file__).parent / "migrations"))
    assert ScriptDirectory.from_config(config).get_heads() == [tables.HEAD]
