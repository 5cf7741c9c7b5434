"""A locked or full database: calls get an error, nothing is half written, and later calls are accepted."""

import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.support.stores import StoreBed, accept, call
from tests.support.waiting import wait_until
from tutumd.errors import UnavailableError
from tutumd.store.sql.database import Database


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'test.db'}"


@pytest.mark.slow
def test_a_locked_database_refuses_calls_only_while_it_is_locked(bed: StoreBed) -> None:
    handler = bed.handler("web")
    assert bed.intake.failing_s() is None
    with bed.database.write():
        future = accept(bed.intake, call(handler))
        with pytest.raises(UnavailableError):
            future.result(120)
        assert bed.intake.failing_s() is not None
    wait_until(lambda: bed.intake.failing_s() is None, "the intake tries again by itself")
    assert bed.claim() is None
    bed.call(handler)
    assert bed.claim() is not None


@pytest.mark.slow
def test_a_database_locked_by_another_process_refuses_calls_only_in_the_meantime(bed: StoreBed) -> None:
    handler = bed.handler("web")
    first = bed.call(handler)
    other_process = Database(bed.database.url.render_as_string())
    try:
        with other_process.write():
            future = accept(bed.intake, call(handler))
            with pytest.raises(UnavailableError):
                future.result(120)
    finally:
        other_process.close()
    assert bed.call(handler) == first
    assert bed.store.action(bed.admin, first).deliveries == 2


@pytest.mark.slow
def test_a_full_disk_refuses_calls_only_until_there_is_room(bed: StoreBed) -> None:
    handler = bed.handler("web")
    limit_pages(bed, 1)
    refused = 0
    for _ in range(200):
        try:
            bed.call(handler, 1)
        except UnavailableError:
            refused += 1
    assert refused
    attempts: list[object] = []
    sa.event.listen(bed.database._engine, "begin", attempts.append)
    wait_until(lambda: len(attempts) > 2, "the intake tries to write again")
    assert bed.intake.failing_s() is not None
    limit_pages(bed, 1_000_000)
    wait_until(lambda: bed.intake.failing_s() is None, "the intake writes again by itself")
    action = bed.call(handler)
    assert bed.store.action(bed.admin, action).deliveries == 200 - refused + 1


def limit_pages(bed: StoreBed, pages: int) -> None:
    """Make the database as full as a full disk: no connection can add pages beyond this number."""
    bed.database.close()  # so that new connections get the limit

    def limit(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages}")

    sa.event.listen(bed.database._engine, "connect", limit)
