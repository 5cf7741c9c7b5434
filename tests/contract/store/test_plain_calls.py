"""Plain calls on PostgreSQL, which one statement stores, beside the same calls in a larger batch."""

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from tests.support.postgres_bed import PostgresBed
from tests.support.postgres_proxy import PostgresProxy
from tests.support.stores import StoreBed, call, snapshot
from tests.support.waiting import wait_until
from tutumd.errors import UnavailableError
from tutumd.model import Accepted, Call
from tutumd.ports.intake import CallResult
from tutumd.store.intake.plain_calls import KEEP_BATCHES, MAX_BATCHES, MAX_CALLS
from tutumd.store.tables.actions import actions, deliveries, stored_batches

pytestmark = pytest.mark.dialect
OWN = {"uuid", "seq", "service_uuid", "handler_seq", "action_seq"}
"""Columns that differ between two services."""


@pytest.fixture
def database_url(postgres_bed: PostgresBed, proxy: PostgresProxy) -> str:
    return proxy.url(postgres_bed.new_database())


def store(bed: StoreBed, calls: Sequence[Call]) -> list[Accepted]:
    results: Future[Sequence[CallResult]] = Future()
    bed.intake.store(calls, results.set_result)
    accepted = [each for each in results.result(60) if isinstance(each, Accepted)]
    assert len(accepted) == len(calls)
    return accepted


def without_ids(results: Sequence[Accepted]) -> list[Accepted]:
    return [replace(each, action_uuid="", action_seq=0, handler_seq=0) for each in results]


def rows(bed: StoreBed, table: sa.Table, service_uuid: str) -> list[dict[str, Any]]:
    """Return the rows of a service's actions or deliveries, without what identifies the service."""
    of_service = sa.select(actions.c.seq).where(actions.c.service_uuid == service_uuid)
    column = actions.c.seq if table is actions else deliveries.c.action_seq
    with bed.database.read() as connection:
        found = connection.execute(sa.select(table).where(column.in_(of_service)).order_by(table.c.seq)).mappings()
        return [{name: value for name, value in row.items() if name not in OWN} for row in found]


def test_plain_calls_store_the_same_as_calls_of_a_larger_batch(bed: StoreBed) -> None:
    notes, left_tags = ("No image is pulled.",), ("It goes back to latest.",)
    bed.sync(*(replace(snapshot(name), notes=notes, left_tags=left_tags) for name in ("web", "db")))
    web, db = bed.handler("web"), bed.handler("db")
    sent = replace(call(web, 2), body_size=9, content='{"body": "ä\\n\'$$"}')
    of_db = replace(sent, service_uuid=db.service_uuid, handler_uuid=db.uuid)
    for number in (MAX_CALLS, 1):
        plain = store(bed, [sent] * number)
        larger = store(bed, [of_db] * number + [replace(of_db, key=f"key {number}")])[:number]
        assert without_ids(plain) == without_ids(larger)
        assert len({each.action_uuid for each in plain}) == 1
    assert rows(bed, actions, web.service_uuid) == rows(bed, actions, db.service_uuid)
    plain_rows = rows(bed, deliveries, web.service_uuid)
    assert rows(bed, deliveries, db.service_uuid)[:MAX_CALLS] == plain_rows[:MAX_CALLS]


@pytest.mark.parametrize("number", [1, MAX_CALLS + 1])
def test_the_connection_of_the_intake_is_replaced_if_the_server_has_closed_it(
    bed: StoreBed, postgres_bed: PostgresBed, number: int
) -> None:
    sent = call(bed.handler("web"))
    store(bed, [sent] * number)
    kept = bed.intake._connection
    assert kept is not None
    postgres_bed.query(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'tutumd'"
    )
    wait_until(lambda: not bed.database.dialect.is_open(kept), "the connection is closed")
    store(bed, [sent] * number)


@pytest.mark.parametrize("loses", ["request", "response"])
def test_a_call_whose_connection_is_lost_is_accepted_only_if_it_was_stored(
    bed: StoreBed,
    proxy: PostgresProxy,
    loses: str,
) -> None:
    handler = bed.handler("web")
    first = bed.accepted(handler)
    proxy.loses = loses
    second = bed.send(handler)
    if loses == "request":
        assert isinstance(second, UnavailableError)
        assert "nothing was changed" in str(second)
        proxy.deliver_late()
    else:
        assert second == replace(first, before=None)
    assert len(bed.outcomes(handler)) == 1 + (loses == "response")
    assert bed.accepted(handler).action_uuid == first.action_uuid


def test_rows_of_batches_are_few_and_are_deleted(bed: StoreBed) -> None:
    handler = bed.handler("web")
    bed.intake._plain._number = MAX_BATCHES - 1  # type: ignore[union-attr]
    for _ in range(3):
        bed.call(handler)
    keys = sa.select(stored_batches.c.number).order_by(stored_batches.c.number)
    with bed.database.read() as connection:
        assert connection.execute(keys).scalars().all() == [2, MAX_BATCHES]
    bed.clock.move(KEEP_BATCHES.total_seconds() + 1)
    bed.queue.prune(timedelta(days=30), 100)
    with bed.database.read() as connection:
        assert connection.execute(keys).scalars().all() == []
