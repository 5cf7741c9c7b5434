"""A database that is locked or full: calls are refused, nothing is half written, and later ones are taken."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.support.stores import Bench, accept, bench, call
from tutumd.errors import UnavailableError
from tutumd.store.database import Database


@pytest.fixture
def b(tmp_path: Path) -> Iterator[Bench]:
    with bench(f"sqlite:///{tmp_path / 'test.db'}") as opened:
        opened.show("web", "db")
        yield opened


def test_a_locked_database_refuses_calls_and_takes_them_again_later(b: Bench) -> None:
    handler = b.handler("web")
    with b.database.write():
        future = accept(b.intake, call(handler))
        with pytest.raises(UnavailableError):
            future.result(30)
    assert b.claim() is None
    b.call(handler)
    assert b.claim() is not None


def test_a_database_that_another_process_has_locked_refuses_calls_and_takes_them_again_later(b: Bench) -> None:
    handler = b.handler("web")
    first = b.call(handler)
    other = Database(b.database.url.render_as_string())
    try:
        with other.write():
            future = accept(b.intake, call(handler))
            with pytest.raises(UnavailableError):
                future.result(30)
    finally:
        other.close()
    assert b.call(handler) == first
    assert b.store.action(b.admin, first).deliveries == 2


def test_a_full_disk_refuses_calls_and_takes_them_again_when_there_is_room(b: Bench) -> None:
    handler = b.handler("web")
    limit_pages(b, 1)
    refused = 0
    for _ in range(200):
        try:
            b.call(handler, 1)
        except UnavailableError:
            refused += 1
    assert refused
    limit_pages(b, 1_000_000)
    action = b.call(handler)
    assert b.store.action(b.admin, action).deliveries == 200 - refused + 1


def limit_pages(b: Bench, pages: int) -> None:
    """Let every connection of the database fail as on a full disk once it wants more pages than there are."""
    b.database.close()  # new connections are made, through the listener

    def limit(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages}")

    sa.event.listen(b.database._engine, "connect", limit)
