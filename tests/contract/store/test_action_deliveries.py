"""Which deliveries an action has: found at once, though SQLite files them later and in bulk."""

from collections.abc import Sequence
from concurrent.futures import Future

import pytest
import sqlalchemy as sa

from tests.support.stores import StoreBed, call, query
from tutumd.model import Handler
from tutumd.ports.intake import CallResult
from tutumd.store import action_deliveries
from tutumd.store.tables.actions import action_deliveries as filed
from tutumd.store.tables.actions import deliveries

pytestmark = pytest.mark.dialect

BATCH = 500


def filed_numbers(bed: StoreBed) -> list[int]:
    with bed.database.read() as connection:
        return list(connection.execute(sa.select(filed.c.seq).order_by(filed.c.seq)).scalars())


def numbers(bed: StoreBed, handler: Handler) -> list[int]:
    page = bed.store.deliveries(bed.admin, handler.service_uuid, handler.uuid, query())
    assert page.total == len(page.objects)
    return [delivery.number for delivery in reversed(page.objects)]


def call_often(bed: StoreBed, handler: Handler, times: int) -> None:
    for _ in range(times // BATCH):
        results: Future[Sequence[CallResult]] = Future()
        bed.intake.store([call(handler, 1)] * BATCH, results.set_result)
        assert len(results.result(120)) == BATCH


@pytest.mark.slow
def test_deliveries_are_found_whether_or_not_they_are_filed(bed: StoreBed) -> None:
    handler, other = bed.handler("web"), bed.handler("web")
    bed.call(handler)
    bed.call(other)
    action = bed.call(handler)
    is_filed = [1] if not bed.database.is_postgres else []  # an intake files what others left
    for _ in range(2):
        assert filed_numbers(bed) == is_filed
        assert numbers(bed, handler) == [1, 3]
        assert numbers(bed, other) == [2]
        assert bed.store.action(bed.admin, action).deliveries == 3
        bed.count_deliveries()  # what is counted is filed
        is_filed = [1, 2, 3] if not bed.database.is_postgres else []


def test_a_deleted_delivery_is_filed_no_more(bed: StoreBed) -> None:
    handler = bed.handler("web")
    actions = [bed.call(handler) for _ in range(30)]
    bed.count_deliveries()
    while bed.queue.trim_logs(100, log_rows=20, log_bytes=1 << 40):
        pass
    newest = list(range(13, 31))
    assert numbers(bed, handler) == newest
    assert filed_numbers(bed) == ([] if bed.database.is_postgres else newest)
    assert bed.store.action(bed.admin, actions[0]).deliveries == len(newest)


def test_calls_themselves_file_deliveries_if_nobody_counts(bed: StoreBed) -> None:
    if bed.database.is_postgres:
        return  # it has an index
    handler = bed.handler("web")
    for _ in range(2):
        call_often(bed, handler, action_deliveries.FILE_AT)
        with bed.database.read() as connection:
            unfiled = sa.select(sa.func.count()).where(action_deliveries.IS_UNFILED)
            assert connection.execute(unfiled.select_from(deliveries)).scalar_one() <= action_deliveries.FILE_AT


def test_many_deliveries_that_nobody_filed_are_filed_in_parts(bed: StoreBed) -> None:
    if bed.database.is_postgres:
        return  # it has an index
    handler = bed.handler("web")
    call_often(bed, handler, 3 * action_deliveries.FILE_AT)
    with bed.database.write() as connection:
        connection.execute(sa.delete(filed))
        connection.execute(sa.text("DELETE FROM meta WHERE key = 'filed'"))
    with bed.database.write() as connection:
        assert action_deliveries.file(connection) == action_deliveries.FILE_AT
        assert action_deliveries.file(connection) == 0
    assert len(filed_numbers(bed)) == 3 * action_deliveries.FILE_AT
