"""Figures for monitoring: the same on each server, from the database alone."""

import math
from collections.abc import Iterator
from datetime import timedelta

import pytest
import sqlalchemy as sa

from tests.contract.store.test_notifier_queue import add, fail
from tests.support.stores import ENGINE, LEASE, ORIGIN, StoreBed, is_postgres
from tutumd.model import ActionTotal, EngineFigures, EngineInfo, Operation, Outcome, Verb
from tutumd.model.notifications import SendResult
from tutumd.store.objects.figures import SqlFigures
from tutumd.store.queue.notifier_queue import SqlNotificationQueue
from tutumd.store.sql.wakeup import Wakeup
from tutumd.store.tables.actions import action_totals
from tutumd.store.tables.services import worker_slots

OTHER = EngineInfo(name="other", kind="docker", can_create=False)


@pytest.fixture
def figures(bed: StoreBed) -> SqlFigures:
    return SqlFigures(bed.database, bed.clock, Wakeup())


@pytest.fixture(autouse=True)
def served(bed: StoreBed) -> Iterator[None]:
    """A worker with three slots serves the engine."""
    bed.queue.register("worker", [ENGINE], slots=3)
    yield


def engine(figures: SqlFigures, name: str = ENGINE.name) -> EngineFigures:
    return next(each for each in figures.read().engines if each.name == name)


def totals(figures: SqlFigures) -> dict[tuple[str, str], list[ActionTotal]]:
    found: dict[tuple[str, str], list[ActionTotal]] = {}
    for total in figures.read().totals:
        found.setdefault((total.verb, total.event), []).append(total)
    return found


def test_what_waits_and_what_runs_is_counted_by_engine(bed: StoreBed, figures: SqlFigures) -> None:
    idle = EngineFigures(name="docker", is_up=True, slots=3, runs=0, pending=0, oldest_pending_s=0.0)
    assert figures.read().engines == [idle]
    bed.call(bed.handler("web"))
    bed.clock.move(5)
    bed.call(bed.handler("db"))
    now = engine(figures)
    assert (now.runs, now.pending, now.oldest_pending_s) == (0, 2, 5.0)
    claim = bed.claimed()
    now = engine(figures)
    assert (now.runs, now.pending, now.oldest_pending_s) == (1, 1, 0.0)
    bed.finish(claim)
    assert engine(figures).runs == 0


def test_a_held_action_is_not_late_before_it_is_due(bed: StoreBed, figures: SqlFigures) -> None:
    held = bed.handler("web", debounce=60)
    bed.accepted(held, bed.evaluate(held, debounce_s=60))
    bed.clock.move(59)
    assert (engine(figures).pending, engine(figures).oldest_pending_s) == (1, 0.0)
    bed.clock.move(3)
    assert engine(figures).oldest_pending_s == 2.0


def test_an_action_that_waits_for_another_try_is_pending_since_it_began(bed: StoreBed, figures: SqlFigures) -> None:
    bed.call(bed.handler("web"))
    claim = bed.claimed()
    bed.queue.retry_later(claim, delay=timedelta(seconds=30), error="engine is away")
    bed.clock.move(20)
    now = engine(figures)
    assert (now.runs, now.pending, now.oldest_pending_s) == (0, 1, 20.0)


def test_an_engine_is_down_while_parked_or_without_a_worker(bed: StoreBed, figures: SqlFigures) -> None:
    bed.queue.register("second", [ENGINE], slots=4)
    assert (engine(figures).is_up, engine(figures).slots) == (True, 7)
    away = EngineInfo(name="docker", kind="docker", can_create=False, error="it does not answer", away=True)
    bed.queue.register("second", [away])
    assert (engine(figures).is_up, engine(figures).slots) == (False, 7)
    bed.queue.register("second", [ENGINE])
    bed.clock.move(16)
    assert (engine(figures).is_up, engine(figures).slots) == (False, 0)
    bed.queue.register("second", [ENGINE], slots=4)
    assert (engine(figures).is_up, engine(figures).slots) == (True, 4)


def test_ended_actions_are_counted_by_result_and_duration(bed: StoreBed, figures: SqlFigures) -> None:
    web = bed.handler("web")
    for seconds, outcome in (
        (0.5, Outcome(success=True)),
        (7, Outcome(success=True)),
        (7, Outcome(success=False, reason="it broke")),
        (4000, Outcome(success=True)),
        (1, Outcome(success=False, canceled=True)),
    ):
        bed.call(web)
        claim = bed.queue.claim("worker", ["docker"], lease=timedelta(hours=2))
        assert claim is not None
        bed.clock.move(seconds)
        bed.queue.finish(claim, outcome, None)
    found = totals(figures)
    durations = {(each.bound_s, each.number, each.seconds) for each in found["REDEPLOY", "Success"]}
    assert durations == {(1, 1, 0.5), (10, 1, 7.0), (None, 1, 4000.0)}
    assert [(each.bound_s, each.number) for each in found["REDEPLOY", "Failed"]] == [(10, 1)]
    assert [(each.bound_s, each.number) for each in found["REDEPLOY", "Canceled"]] == [(1, 1)]


def test_actions_that_end_before_they_begin_are_counted_without_a_duration(bed: StoreBed, figures: SqlFigures) -> None:
    bed.call(bed.handler("web"))
    action = bed.store.submit(bed.admin, bed.service_uuid("db"), Verb.STOP, target=None, origin=ORIGIN)
    bed.store.cancel(bed.admin, action.uuid)
    bed.call(bed.handler("web", Operation.SCALEUP))
    bed.sync()
    bed.store.forget(bed.admin, bed.service_uuid("web"))
    found = totals(figures)
    assert set(found) == {("STOP", "Canceled"), ("REDEPLOY", "Canceled"), ("SCALEUP", "Canceled")}
    assert {(each.number, each.has_run, each.seconds) for (each,) in found.values()} == {(1, False, 0.0)}


def test_a_takeover_is_counted_and_a_handover_is_not(bed: StoreBed, figures: SqlFigures) -> None:
    bed.call(bed.handler("web"))
    first = bed.queue.claim("first", ["docker"], lease=LEASE)
    assert first is not None
    bed.queue.release(first)  # as a worker that ends does
    second = bed.queue.claim("second", ["docker"], lease=LEASE)
    assert second is not None
    bed.clock.move(LEASE.total_seconds() + 1)
    assert bed.queue.claim("second", ["docker"], lease=LEASE) is not None  # its own lease ran out
    assert ("REDEPLOY", "takeover") not in totals(figures)
    bed.clock.move(LEASE.total_seconds() + 1)
    assert bed.queue.claim("third", ["docker"], lease=LEASE) is not None
    assert [each.number for each in totals(figures)["REDEPLOY", "takeover"]] == [1]


def test_a_finish_that_lost_its_lease_counts_nothing(bed: StoreBed, figures: SqlFigures) -> None:
    bed.call(bed.handler("web"))
    first = bed.claimed()
    bed.clock.move(LEASE.total_seconds() + 1)
    assert bed.queue.claim("other", ["docker"], lease=LEASE) is not None
    with pytest.raises(Exception, match="another worker holds this action"):
        bed.queue.finish(first, Outcome(success=True), None)
    assert ("REDEPLOY", "Success") not in totals(figures)


def test_figures_of_gone_engines_and_workers_are_deleted(bed: StoreBed) -> None:
    bed.queue.register("gone", [OTHER], slots=1)
    bed.call(bed.handler("web"))
    bed.finish(bed.claimed())
    bed.clock.move(25 * 3600)
    bed.queue.register("worker", [OTHER], slots=1)
    while bed.queue.prune(timedelta(days=90), 100):
        pass
    with bed.database.read() as connection:
        assert [row.worker for row in connection.execute(sa.select(worker_slots))] == ["worker"]
        assert not connection.execute(sa.select(action_totals)).all()


def test_the_log_of_deliveries_is_measured(bed: StoreBed, figures: SqlFigures) -> None:
    assert figures.read().delivery_log_bytes == 0
    bed.call(bed.handler("web"))
    bed.clock.move(120)
    while bed.queue.count_calls():
        pass
    assert figures.read().delivery_log_bytes > 0


def test_the_write_ahead_log_is_measured_while_a_reader_keeps_it_long(bed: StoreBed, figures: SqlFigures) -> None:
    handler = bed.handler("web")
    with bed.database.read() as reader:
        reader.execute(sa.select(worker_slots)).all()
        before = bed.store.wal_bytes()
        bed.accepted(handler, content="x" * 1_000_000)
        assert bed.store.wal_bytes() - before > (-1 if is_postgres(bed.database) else 1_000_000)
        assert figures.read().wal_bytes == bed.store.wal_bytes()
    assert is_postgres(bed.database) == (bed.store.wal_bytes() == 0)


@pytest.mark.dialect
def test_notifications_are_counted_by_kind_and_only_those_nobody_claims_are_late(
    bed: StoreBed, figures: SqlFigures
) -> None:
    def webhooks() -> tuple[int, int, int, float]:
        read = figures.read()
        (of_kind,) = (each for each in read.notifications if each.kind == "webhook")
        assert read.notification_delay_s == figures.notification_delay_s()
        return of_kind.sent, of_kind.dead, of_kind.pending, read.notification_delay_s

    queue = SqlNotificationQueue(bed.database, bed.clock, Wakeup())
    add(bed)
    assert webhooks() == (0, 0, 0, 0.0)
    for result in (SendResult(sent=True), SendResult(sent=False, is_final=True)):
        fail(bed)
        bed.clock.move(7)
        assert webhooks()[2:] == (1, 7.0)
        (claimed,) = queue.claim_notifications("one", 8, LEASE)
        assert webhooks()[2:] == (1, 0.0)
        queue.finish_notification(claimed, result, None)
    assert webhooks() == (1, 1, 0, 0.0)


def test_the_age_of_the_keys_of_issuers(bed: StoreBed, figures: SqlFigures) -> None:
    assert figures.read().keys_age_s == {}
    verify = {"preset": "oidc", "issuer": "https://id.example.com", "secrets": []}
    bed.handler("web", verify=verify)
    assert figures.read().keys_age_s == {"https://id.example.com": math.inf}
    SqlNotificationQueue(bed.database, bed.clock, Wakeup()).save_keys("https://id.example.com", "{}", "")
    bed.clock.move(5)
    assert figures.read().keys_age_s == {"https://id.example.com": 5.0}
