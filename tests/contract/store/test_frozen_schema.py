"""The first migration is frozen: it creates the same schema in each later release."""

import hashlib

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from tutumd.store.sql.database import Database
from tutumd.store.tables.upgrade import SCRIPTS

pytestmark = pytest.mark.dialect

FROZEN = {
    "sqlite": "4a530034c2bbc720be62b1f8c4216fd00ce176a7cc453f3983289eedd1f1398b",
    "postgresql": "6943755c7411f1fa368061cc8069e23058c3a4315d056475a5ece590caa8d969",
}
"""Digests of the schema. From the tag v0.1.0 on, they never change: a change of the schema is another migration."""
SCHEMA = {
    "sqlite": ["SELECT type, name, sql FROM sqlite_master"],
    "postgresql": [
        "SELECT table_name, ordinal_position, column_name, data_type, character_maximum_length, is_nullable,"
        " column_default, is_identity FROM information_schema.columns WHERE table_schema = 'public'",
        "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE connamespace = 'public'::regnamespace AND contype IN ('p', 'f', 'u', 'c')",
        "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
        "SELECT proname, prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace",
    ],
}


def test_the_first_migration_creates_the_schema_of_the_first_release(database_url: str) -> None:
    database, kind = Database(database_url), database_url.partition(":")[0].partition("+")[0]
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    with database.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "1")
        rows = [str(tuple(row)) for select in SCHEMA[kind] for row in connection.execute(sa.text(select))]
    database.close()
    found = hashlib.sha256("\n".join(sorted(rows)).encode()).hexdigest()
    assert found == FROZEN[kind], "another schema: add a migration, or before the tag v0.1.0 edit FROZEN"
