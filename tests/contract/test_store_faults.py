"""A database that is locked or full: calls are refused, nothing is half written, and later ones are taken."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.support.stores import StoreBed, accept, call, open_store
from tutumd.errors import UnavailableError
from tutumd.store.database import Database


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[StoreBed]:
    with open_store(f"sqlite:///{tmp_path / 'test.db'}") as opened:
        opened.show("web", "db")
        yield opened


def test_a_locked_database_refuses_calls_and_takes_them_again_later(bed: StoreBed) -> None:
    handler = bed.handler("web")
    with bed.database.write():
        future = accept(bed.intake, call(handler))
        with pytest.raises(UnavailableError):
            future.result(30)
    assert bed.claim() is None
    bed.call(handler)
    assert bed.claim() is not None


def test_a_database_that_another_process_has_locked_refuses_calls_and_takes_them_again_later(bed: StoreBed) -> None:
    handler = bed.handler("web")
    first = bed.call(handler)
    other = Database(bed.database.url.render_as_string())
    try:
        with other.write():
            future = accept(bed.intake, call(handler))
            with pytest.raises(UnavailableError):
                future.result(30)
    finally:
        other.close()
    assert bed.call(handler) == first
    assert bed.store.action(bed.admin, first).deliveries == 2


def test_a_full_disk_refuses_calls_and_takes_them_again_when_there_is_room(bed: StoreBed) -> None:
    handler = bed.handler("web")
    limit_pages(bed, 1)
    refused = 0
    for _ in range(200):
        try:
            bed.call(handler, 1)
        except UnavailableError:
            refused += 1
    assert refused
    limit_pages(bed, 1_000_000)
    action = bed.call(handler)
    assert bed.store.action(bed.admin, action).deliveries == 200 - refused + 1


def limit_pages(bed: StoreBed, pages: int) -> None:
    """Let every connection of the database fail as on a full disk once it wants more pages than there are."""
    bed.database.close()  # new connections are made, through the listener

    def limit(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages}")

    sa.event.listen(bed.database._engine, "connect", limit)
