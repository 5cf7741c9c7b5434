"""The log of deliveries: a budget per handler in rows and bytes, which nobody else's calls use up."""

from collections import Counter
from datetime import timedelta

import sqlalchemy as sa

from tests.support.stores import StoreBed, call
from tutumd.errors import Reason
from tutumd.model import Handler, NotQueued, Operation
from tutumd.store.intake.delivery_rows import EXCESS_CONTENT, REFUSED_CONTENT, ContentBudget
from tutumd.store.intake.intake import SqlIntake
from tutumd.store.tables.actions import deliveries, handler_logs
from tutumd.store.tables.services import handlers
from tutumd.store.upkeep import delivery_log

LARGE = 1 << 40
MINUTE_US = 60 * 1_000_000
CONTENT = f'{{"body":"{"x" * 689}"}}'


def trim(bed: StoreBed, *, rows: int = LARGE, size: int = LARGE, limit: int = 100) -> int:
    """Trim until nothing is over its budget, and return how many deliveries were deleted."""
    before = count(bed)
    while bed.queue.trim_logs(limit, log_rows=rows, log_bytes=size):
        assert before - count(bed) <= limit, "a transaction deleted more than the limit"
        before = count(bed)
    return before


def count(bed: StoreBed) -> int:
    with bed.database.read() as connection:
        return int(connection.execute(sa.select(sa.func.count()).select_from(deliveries)).scalar_one())


def kinds(bed: StoreBed, handler: Handler) -> Counter[str]:
    return Counter(outcome for outcome, _ in bed.outcomes(handler))


def numbers(bed: StoreBed) -> list[int]:
    with bed.database.read() as connection:
        return list(connection.execute(sa.select(deliveries.c.seq).order_by(deliveries.c.seq)).scalars())


def check_logs(bed: StoreBed) -> None:
    """Check that `handler_logs` says what is in `deliveries`."""
    with bed.database.read() as connection:
        logged = connection.execute(sa.select(sa.func.sum(handler_logs.c.rows), sa.func.sum(handler_logs.c.bytes)))
        stored = connection.execute(
            sa.select(
                sa.func.count(),
                sa.func.sum(deliveries.c.kept_bytes),
            )
        )
        assert tuple(logged.one()) == tuple(stored.one())


def test_the_newest_deliveries_of_each_handler_stay_within_its_rows(bed: StoreBed) -> None:
    loud, quiet = bed.handler("web"), bed.handler("web")
    bed.call(quiet)
    for number in range(40):
        bed.call(loud)
        if number % 10 == 9:
            bed.finish(bed.claimed())
    bed.count_deliveries()
    newest = numbers(bed)[-18:]
    trim(bed, rows=20, limit=11)
    assert numbers(bed) == [1, *newest]
    check_logs(bed)
    for _ in range(3):
        bed.call(loud)
    bed.count_deliveries()
    trim(bed, rows=20, limit=11)
    assert (kinds(bed, loud).total(), kinds(bed, quiet).total()) == (18, 1)
    assert trim(bed, rows=20) == 19
    assert bed.store.handler(bed.admin, loud.service_uuid, loud.uuid).calls == 43


def test_a_log_stays_within_its_bytes_whatever_its_rows(bed: StoreBed) -> None:
    handler = bed.handler("web")
    for _ in range(10):
        bed.accepted(handler, content="é" * 10_000)
    bed.count_deliveries()
    trim(bed, size=100_000)
    assert count(bed) == 4
    check_logs(bed)


def test_refused_and_skipped_calls_flush_no_delivery_that_caused_an_action(bed: StoreBed) -> None:
    handler = bed.handler("web", verify={"preset": "token", "secrets": ["12345678"]})
    bed.accepted(handler, bed.evaluate(handler))
    bed.send(handler, bed.evaluate(handler, skip=Reason("another branch")))
    for _ in range(60):
        assert isinstance(
            bed.send(handler, bed.evaluate(handler, refuse=Reason("no signature")), content="x" * 500), NotQueued
        )
    bed.count_deliveries()
    trim(bed, rows=100)
    assert kinds(bed, handler) == {"queued": 1, "skipped": 1, "refused": 9}
    for _ in range(30):
        bed.send(handler, bed.evaluate(handler, skip=Reason("another branch")))
    bed.count_deliveries()
    trim(bed, rows=20)
    assert kinds(bed, handler) == {"queued": 1, "skipped": 18, "refused": 1}
    check_logs(bed)


def test_a_refused_call_is_kept_without_content(bed: StoreBed) -> None:
    handler = bed.handler("web", verify={"preset": "token", "secrets": ["12345678"]})
    bed.send(handler, bed.evaluate(handler, refuse=Reason("no signature")), content='{"body":"of a stranger"}')
    delivery = bed.store.delivery(bed.admin, handler.service_uuid, handler.uuid, 1)
    assert delivery.raw == REFUSED_CONTENT
    assert delivery.reasons == (Reason("no signature"),)
    with bed.database.read() as connection:
        assert connection.execute(sa.select(deliveries.c.kept_bytes)).scalar_one() < 500


def test_content_beyond_a_rate_is_not_kept_and_the_delivery_says_so(bed: StoreBed) -> None:
    intake = SqlIntake(bed.database, bed.clock, bed.queue._wakeup, log_bytes=4_000)
    try:
        first, second = bed.handler("web"), bed.handler("web")
        raws = []
        for handler in (first, first, second):
            bed.accepted(handler, content=CONTENT, intake=intake)
        bed.clock.move(30)
        bed.accepted(first, content=CONTENT, intake=intake)
        for number, handler in enumerate((first, first, second, first), start=1):
            raws.append(bed.store.delivery(bed.admin, handler.service_uuid, handler.uuid, number).raw)
    finally:
        intake.close()
    assert [raw == CONTENT for raw in raws] == [True, False, True, True]
    assert raws[1] == EXCESS_CONTENT


def test_a_content_budget_refills_and_survives_a_clock_that_is_set_back() -> None:
    budget = ContentBudget(1_000)
    assert budget.spend("web", 1_000, 10 * MINUTE_US)
    assert not budget.spend("web", 1, 10 * MINUTE_US)
    assert budget.spend("db", 1_000, 10 * MINUTE_US)
    assert budget.spend("web", 500, 10 * MINUTE_US + MINUTE_US // 2)
    assert not budget.spend("web", 2_000, 20 * MINUTE_US)
    assert budget.spend("web", 1_000, 0)


def test_an_action_keeps_its_deliveries_when_their_handler_is_deleted(bed: StoreBed) -> None:
    deleted = bed.handler("web")
    action = bed.call(deleted)
    bed.call(deleted)
    bed.finish(bed.claimed())
    bed.count_deliveries()
    bed.store.delete_handler(bed.admin, deleted.service_uuid, deleted.uuid)
    trim(bed)
    assert bed.store.action(bed.admin, action).deliveries == 2
    check_logs(bed)


def test_counting_begins_with_old_deliveries_and_a_late_handler_row(bed: StoreBed) -> None:
    handler = bed.handler("web")
    bed.intake.store([call(handler)] * 5, lambda results: None)
    bed.call(handler)
    with bed.database.read() as connection:
        assert connection.execute(sa.select(handler_logs.c.rows)).all() == []
    bed.count_deliveries()
    bed.count_deliveries()
    with bed.database.read() as connection:
        logs = connection.execute(sa.select(handler_logs.c.kind, handler_logs.c.rows)).all()
        assert connection.execute(sa.select(handlers.c.calls)).scalar_one() == 6
    assert [tuple(log) for log in logs] == [("acted", 6)]


def test_a_delivery_is_deleted_only_after_it_was_counted(bed: StoreBed) -> None:
    handler = bed.handler("web", Operation.SCALEUP)
    for _ in range(5):
        bed.call(handler)
    bed.count_deliveries()
    for _ in range(3):
        bed.call(handler)
    assert trim(bed, rows=0) == 3, "nobody has counted them"
    bed.count_deliveries()
    assert trim(bed, rows=0) == 0
    assert bed.store.handler(bed.admin, handler.service_uuid, handler.uuid).calls == 8


def test_an_old_delivery_is_deleted_only_after_it_was_counted(bed: StoreBed) -> None:
    handler = bed.handler("web")
    bed.call(handler)
    bed.clock.move(timedelta(days=2).total_seconds())
    for counted, left in ((False, 1), (True, 0)):
        if counted:
            bed.count_deliveries()
        while bed.queue.prune(timedelta(days=1), 100):
            pass
        assert count(bed) == left
    assert bed.store.handler(bed.admin, handler.service_uuid, handler.uuid).calls == 1


def test_two_workers_count_a_delivery_once(bed: StoreBed) -> None:
    bed.call(bed.handler("web"))
    bed.clock.move(2 * delivery_log.LAG.total_seconds())
    with bed.database.read() as connection:
        found = delivery_log.find_batch(connection, bed.clock())
    assert found == (0, 1)
    bed.count_deliveries()
    with bed.database.write() as connection:
        assert not delivery_log.claim_batch(connection, *found), "the other worker has counted it"
    check_logs(bed)
