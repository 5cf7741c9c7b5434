"""Promises of Queue.prune: what is old goes wherever it stands, in small batches, and what is live stays."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from tests.support.stores import ENGINE, ORIGIN, StoreBed, query, snapshot
from tutumd.model import Operation, Outcome, Verb
from tutumd.store.objects.action_rows import LEFT_OUT, MAX_LINES
from tutumd.store.tables.actions import action_inputs, action_lines, actions, deliveries
from tutumd.store.tables.services import containers, requests, services
from tutumd.store.upkeep.retention import MAX_GONE_CONTAINERS

pytestmark = pytest.mark.dialect

KEEP = timedelta(days=90)
AGE_S = timedelta(days=91).total_seconds()
DAY_S = timedelta(days=1).total_seconds()


def count(bed: StoreBed, table: sa.Table, *conditions: sa.ColumnElement[bool]) -> int:
    with bed.database.read() as connection:
        return int(connection.execute(sa.select(sa.func.count()).select_from(table).where(*conditions)).scalar_one())


def prune(bed: StoreBed, limit: int = 100) -> int:
    """Prune until nothing is left to prune, and return the most rows of one table that one batch deleted."""
    bed.count_deliveries()
    tables = (deliveries, actions, action_lines, containers)
    most, has_more = 0, True
    before = [count(bed, table) for table in tables]
    for _ in range(1000):
        has_more = bed.queue.prune(KEEP, limit)
        after = [count(bed, table) for table in tables]
        most, before = max(most, *(old - new for old, new in zip(before, after, strict=True))), after
        if not has_more:
            return most
    raise AssertionError("pruning does not end")


def test_old_rows_are_deleted_in_batches_and_new_ones_stay(bed: StoreBed) -> None:
    handler = bed.handler("web")
    for _ in range(5):
        bed.call(handler)
        claim = bed.claimed()
        for number in range(4):
            bed.queue.add_log_line(claim, f"line {number}")
        bed.finish(claim)
    bed.clock.move(AGE_S)
    new = bed.call(handler)
    assert prune(bed, 3) == 3
    assert [a.uuid for a in bed.store.actions(bed.admin, query()).objects] == [new]
    assert len(bed.outcomes(handler)) == 1
    assert count(bed, action_lines) == 0


def test_an_action_whose_lines_are_many_is_deleted_in_batches(bed: StoreBed) -> None:
    bed.call(bed.handler("web"))
    claim = bed.claimed()
    for number in range(50):
        bed.queue.add_log_line(claim, f"line {number}")
    bed.finish(claim)
    bed.clock.move(AGE_S)
    assert prune(bed, 10) == 10
    assert (count(bed, actions), count(bed, action_lines)) == (0, 0)


def test_the_amounts_of_an_action_are_deleted_all_at_once_so_that_a_retry_adds_all_or_none(bed: StoreBed) -> None:
    free, capped = (bed.handler("web", Operation.SCALEUP, **options) for options in ({}, {"max_containers": 9}))
    for _ in range(2):
        bed.accepted(free)
        bed.accepted(capped, bed.evaluate(capped, handler_cap=9))
    claim = bed.claimed()
    bed.queue.add_log_line(claim, "a line")
    bed.finish(claim, success=False)
    bed.clock.move(AGE_S)
    assert count(bed, action_inputs) == 4
    for _ in range(10):
        bed.queue.prune(KEEP, 1)
        assert count(bed, action_inputs) == 4 * count(bed, actions)
    assert count(bed, actions) == 0


def test_what_is_old_and_live_stays_until_it_is_done(bed: StoreBed) -> None:
    web, db = bed.handler("web", Operation.SCALEUP), bed.handler("db", Operation.SCALEUP)
    failed = bed.call(web, 3)
    bed.finish(bed.claimed(), success=False)
    running = bed.call(web, 5)
    claim = bed.claimed()
    pending = bed.call(db, 7)
    bed.count_deliveries()
    bed.clock.move(AGE_S)
    prune(bed)
    assert {a.uuid for a in bed.store.actions(bed.admin, query()).objects} == {running, pending}, failed
    assert [amount for amount, _ in bed.queue.amounts(claim)] == [5]


@pytest.mark.slow
def test_an_abandoned_action_stays_until_a_run_has_cleared_up(bed: StoreBed) -> None:
    uuids = [bed.call(bed.handler(name)) for name in ("web", "db")]
    for _ in uuids:
        bed.finish(bed.claimed(), success=False)
    with bed.database.write() as connection:
        connection.execute(sa.update(actions).where(actions.c.uuid == uuids[0]).values(abandoned=True))
    bed.clock.move(AGE_S)
    prune(bed)
    assert [action.uuid for action in bed.store.actions(bed.admin, query()).objects] == uuids[:1]


def test_rows_that_nobody_refers_to_are_deleted(bed: StoreBed) -> None:
    web, db = bed.service_uuid("web"), bed.service_uuid("db")
    bed.store.submit(bed.admin, web, Verb.TERMINATE, target=None, origin=ORIGIN)
    bed.finish(bed.claimed())
    bed.store.add_request(bed.store.service(bed.admin, db), "logs", {})
    for engine in (ENGINE.name, "retired"):
        bed.queue.update_pulled(engine, added=["app@sha256:a"])
    assert bed.queue.prune(KEEP, 100)
    assert count(bed, requests) == 1
    assert not bed.queue.pulled_images("retired")
    assert bed.queue.pulled_images(ENGINE.name)
    assert count(bed, services, services.c.uuid == web) == 1, "its action is not old"
    assert count(bed, containers, containers.c.service_uuid == web) == 2
    bed.clock.move(AGE_S)
    prune(bed)
    assert count(bed, requests) == 0
    assert (count(bed, services, services.c.uuid == web), count(bed, services, services.c.uuid == db)) == (0, 1)


def test_gone_containers_of_a_service_are_bounded_and_the_newest_stay(bed: StoreBed) -> None:
    web = bed.service_uuid("web")
    with bed.database.write() as connection:
        row = connection.execute(sa.select(containers).where(containers.c.service_uuid == web)).first()
        assert row is not None
        gone = [
            {
                **row._asdict(),
                "uuid": f"gone-{number}",
                "object_id": f"gone-{number}",
                "present": False,
                "stopped": bed.clock.now + timedelta(seconds=number),
            }
            for number in range(MAX_GONE_CONTAINERS + 30)
        ]
        connection.execute(sa.insert(containers), gone)
    assert prune(bed, 20) == 20
    with bed.database.read() as connection:
        is_gone = sa.not_(containers.c.present)
        left = connection.execute(sa.select(containers.c.uuid).where(is_gone)).scalars().all()
    assert set(left) == {f"gone-{number}" for number in range(30, MAX_GONE_CONTAINERS + 30)}
    assert len(bed.store.service(bed.admin, web).containers) == 2


def test_a_container_that_only_an_outcome_names_goes_with_its_age(bed: StoreBed) -> None:
    bed.call(bed.handler("web"))
    claim = bed.claimed()
    outcome = Outcome(success=True, containers_before=("never seen",), containers_after=("web-c1",))
    bed.queue.finish(claim, outcome, snapshot("web"))
    prune(bed)
    assert count(bed, containers, containers.c.object_id == "never seen") == 1
    bed.clock.move(AGE_S)
    prune(bed)
    assert count(bed, containers, containers.c.object_id == "never seen") == 0
    assert len(bed.store.service(bed.admin, bed.service_uuid("web")).containers) == 2


@pytest.mark.slow
def test_an_action_keeps_its_first_and_newest_lines_and_says_so(bed: StoreBed) -> None:
    bed.call(bed.handler("web"))
    claim = bed.claimed()
    for number in range(MAX_LINES + 150):
        bed.queue.add_log_line(claim, f"try {number}")
    bed.queue.add_log_line(claim, "x" * 1_000_000)
    texts = [line.text for line in bed.store.log_lines(bed.admin, claim.action.uuid, 0)]
    assert len(texts) <= MAX_LINES
    assert texts[:100] == [f"try {number}" for number in range(100)]
    assert texts[100] == LEFT_OUT
    assert texts.count(LEFT_OUT) == 1
    assert texts[-2] == f"try {MAX_LINES + 149}"
    assert len(texts[-1]) < 10_000


def test_an_unserved_engine_is_deleted_once_no_action_waits_for_it(bed: StoreBed) -> None:
    bed.call(bed.handler("web"))
    bed.clock.move(DAY_S + 3600)
    prune(bed)
    assert [engine.name for engine in bed.store.engines()] == [ENGINE.name]
    bed.finish(bed.claimed())
    prune(bed)
    assert bed.store.engines() == ()
