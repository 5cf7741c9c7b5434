"""Which deliveries an action has: SQLite finds them by chunks of deliveries, within the span of the action."""

from collections.abc import Sequence
from concurrent.futures import Future

import pytest
import sqlalchemy as sa

from tests.support.stores import ORIGIN, StoreBed, call, is_postgres, query
from tutumd.model import Handler
from tutumd.ports.intake import CallResult
from tutumd.store.tables.actions import CHUNK_BITS, delivery_chunks

pytestmark = pytest.mark.dialect

CHUNK = 1 << CHUNK_BITS


def numbers(bed: StoreBed, handler: Handler) -> list[int]:
    return [delivery.number for delivery in reversed(bed.deliveries(handler))]


def chunks(bed: StoreBed) -> list[int]:
    with bed.database.read() as connection:
        return list(connection.execute(sa.select(delivery_chunks.c.chunk).order_by(delivery_chunks.c.chunk)).scalars())


def call_often(bed: StoreBed, handler: Handler, times: int) -> None:
    results: Future[Sequence[CallResult]] = Future()
    bed.intake.store([call(handler, 1)] * times, results.set_result)
    assert len(results.result(120)) == times


def test_deliveries_are_found_in_all_chunks_of_the_span_of_their_action(bed: StoreBed) -> None:
    handler, other = bed.handler("web"), bed.handler("db")
    held = bed.call(handler)
    for _ in range(3):
        bed.call(other)
        call_often(bed, other, CHUNK - 1)
    assert bed.call(handler) == held
    bed.finish(bed.claimed())
    newest = bed.call(handler)
    last = 3 * CHUNK + 2
    assert numbers(bed, handler) == [1, last, last + 1]
    assert bed.store.action(bed.admin, held).deliveries == 2
    assert bed.store.action(bed.admin, newest).deliveries == 1
    assert len(bed.deliveries(other)) == 3 * CHUNK
    assert [delivery.number for delivery in bed.store.deliveries(bed.admin, query(action=held)).objects] == [last, 1]
    assert chunks(bed) == ([] if is_postgres(bed.database) else [0, 1, 2, 3])


def test_a_deleted_delivery_is_found_no_more(bed: StoreBed) -> None:
    handler = bed.handler("web")
    actions = [bed.call(handler) for _ in range(30)]
    bed.count_deliveries()
    while bed.queue.trim_logs(100, log_rows=20, log_bytes=1 << 40):
        pass
    newest = list(range(13, 31))
    assert numbers(bed, handler) == newest
    assert bed.store.action(bed.admin, actions[0]).deliveries == len(newest)


def test_an_action_that_is_canceled_or_retried_keeps_its_deliveries(bed: StoreBed) -> None:
    handler = bed.handler("web")
    canceled = bed.call(handler)
    bed.store.cancel(bed.admin, canceled)
    retried = bed.store.retry(bed.admin, canceled, ORIGIN)
    later = bed.call(handler)
    for action, number in ((canceled, 1), (retried.uuid, 0), (later, 1)):
        assert bed.store.action(bed.admin, action).deliveries == number


def test_chunks_end_with_their_deliveries(bed: StoreBed) -> None:
    handler = bed.handler("web")
    for _ in range(3):
        call_often(bed, handler, CHUNK)
    bed.count_deliveries()
    while bed.queue.trim_logs(1_000, log_rows=CHUNK, log_bytes=1 << 40):
        pass
    assert chunks(bed) == ([] if is_postgres(bed.database) else [2, 3])
