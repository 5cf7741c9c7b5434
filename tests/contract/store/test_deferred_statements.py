"""Statements on PostgreSQL that are sent with the next one, or with the commit."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from tests.support.postgres_bed import PostgresBed
from tests.support.stores import open_store
from tutumd.errors import UnavailableError
from tutumd.store.sql.database import Database
from tutumd.store.sql.postgres_connection import PipelinedConnection

FAILS = sa.text("SELECT 1 / CAST(:zero AS integer)")
INSERT = sa.text("INSERT INTO meta VALUES (:key, 'x')")


@pytest.fixture
def database(postgres_bed: PostgresBed) -> Iterator[Database]:
    with open_store(postgres_bed.new_database()) as opened:
        yield opened.database


def keys(database: Database) -> list[str]:
    with database.read() as connection:
        return list(connection.execute(sa.text("SELECT key FROM meta WHERE value = 'x'")).scalars())


def test_the_error_of_a_deferred_statement_is_that_of_the_commit_whenever_it_arrives(database: Database) -> None:
    for number in range(100):
        with pytest.raises(sa.exc.DataError), database.write() as connection:
            connection.execute(INSERT, {"key": f"first {number}"})
            database.dialect.execute_later(connection, FAILS, {"zero": 0})
            for later in range(number % 4):
                database.dialect.execute_later(connection, INSERT, {"key": f"later {later}"})
    assert keys(database) == []


def test_a_deferred_statement_is_carried_out_without_another_one(database: Database) -> None:
    with database.write() as connection:
        database.dialect.execute_later(connection, INSERT, {"key": "alone"})
    assert keys(database) == ["alone"]


def test_a_connection_that_is_lost_as_soon_as_it_is_made_is_an_outage(database: Database) -> None:
    opened: list[PipelinedConnection] = []
    sa.event.listen(database._engine, "checkin", lambda idle, _record: opened.append(idle))
    with database.read():
        pass
    opened[0].close()
    sa.event.listen(database._engine, "connect", lambda made, _record: made.close())
    with pytest.raises(UnavailableError), database.write() as connection:
        connection.execute(INSERT, {"key": "lost"})
