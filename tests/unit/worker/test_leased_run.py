"""A run under a lease, with a clock that the test moves."""

from dataclasses import replace

import pytest

from tests.support.services import service_row
from tests.unit.worker.fakes import ACTION, AWAY, FakeClock, FakeQueue, make_action, make_run
from tutumd.errors import LeaseLostError
from tutumd.model import RunLimits
from tutumd.ports.queue import Renewal
from tutumd.worker.leased_run import LEASE_MARGIN_S, SURVIVAL_S, LeasedRun, renew_all


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def queue() -> FakeQueue:
    return FakeQueue()


@pytest.fixture
def run(queue: FakeQueue, clock: FakeClock) -> LeasedRun:
    return make_run(queue, clock, service=service_row(engine="docker", selector="web"), journal={"old": 1})


def renew(run: LeasedRun) -> None:
    renew_all(run._queue, [run], run._monotonic)


def test_a_run_stops_before_its_lease_ends(run: LeasedRun, clock: FakeClock) -> None:
    clock.now += 10 - LEASE_MARGIN_S - 0.01
    run.check()
    clock.now += 0.01
    with pytest.raises(LeaseLostError):
        run.check()


def test_a_renewal_extends_the_lease_from_the_time_of_its_request(run: LeasedRun, clock: FakeClock) -> None:
    clock.now += 8
    renew(run)
    clock.now += 8.9
    run.check()
    clock.now += 0.2
    with pytest.raises(LeaseLostError):
        run.check()


def test_a_renewal_counts_from_its_request_however_long_it_takes(
    run: LeasedRun, queue: FakeQueue, clock: FakeClock
) -> None:
    queue.when_renewing = lambda: setattr(clock, "now", clock.now + 5)
    renew(run)
    clock.now += 10 - LEASE_MARGIN_S - 5
    with pytest.raises(LeaseLostError):
        run.check()


def test_a_renewal_that_fails_does_not_extend_the_lease(run: LeasedRun, queue: FakeQueue, clock: FakeClock) -> None:
    queue.error = AWAY
    clock.now += 8
    renew(run)
    run.check()
    clock.now += 1.5
    with pytest.raises(LeaseLostError):
        run.check()


def test_a_lost_lease_ends_the_run_at_once(run: LeasedRun, queue: FakeQueue) -> None:
    queue.renewal = Renewal.LOST
    renew(run)
    for step in (run.check, run.remaining_s, lambda: run.save({}), lambda: run.sleep(0)):
        with pytest.raises(LeaseLostError):
            step()
    assert queue.journals == []


def test_the_journal_of_an_earlier_attempt_is_replaced_as_a_whole(run: LeasedRun, queue: FakeQueue) -> None:
    assert run.journal == {"old": 1}
    run.save({"new": 2})
    assert run.journal == {"new": 2}
    assert queue.journals == [{"new": 2}]


def test_a_journal_that_is_stored_after_the_lease_has_ended_ends_the_run(
    run: LeasedRun, queue: FakeQueue, clock: FakeClock
) -> None:
    queue.when_saving = lambda: setattr(clock, "now", clock.now + 9.5)
    with pytest.raises(LeaseLostError):
        run.save({"new": 2})


def test_a_run_has_the_limits_of_the_labels_and_logs_them_once(run: LeasedRun, queue: FakeQueue) -> None:
    for _ in range(2):
        run.set_limits(timeout_s=None, stall_s=None)
    run.set_limits(timeout_s=7200, stall_s=None, least_stall_s=600)
    assert run.remaining_s() == 600
    assert queue.lines == [str(RunLimits()), str(RunLimits(timeout_s=7200, stall_s=600))]
    run.set_limits(timeout_s=None, stall_s=None)
    assert run.remaining_s() == 120


def test_a_canceled_run_has_no_time_left_and_is_not_overdue(run: LeasedRun, clock: FakeClock) -> None:
    clock.now += 500
    renew(run)
    run.is_canceled = True
    assert (run.remaining_s(), run.overdue_reason()) == (0, "")


def test_a_run_whose_lease_has_ended_still_stores_its_result(run: LeasedRun, clock: FakeClock) -> None:
    clock.now += 60
    stored: list[str] = []
    run.write(lambda: stored.append("result"))  # the store itself refuses it if another worker holds the action
    assert stored == ["result"]


def test_a_run_that_lasts_is_not_what_killed_earlier_workers(queue: FakeQueue, clock: FakeClock) -> None:
    run, first = make_run(queue, clock, journal={}, deaths=2), make_run(queue, clock, journal={})
    run.sleep(0)
    run.advance("layers", 1)
    run.save({"phase": "swap"})
    renew(run)
    assert queue.survivals == 0, "it may kill its worker in the next moment, as before"
    clock.now += SURVIVAL_S
    renew(run)
    renew(first)
    assert queue.survivals == 1


OLD = "01d00000-0000-4000-8000-000000000002"


def test_a_run_clears_up_as_the_canceled_run_of_the_abandoned_action(queue: FakeQueue, clock: FakeClock) -> None:
    old = replace(make_action(), uuid=OLD, tag="v1", variables={"TUTUM_A": "1"})
    leftover = make_run(queue, clock, action=old, journal={"phase": "swap"}).claim
    run = make_run(queue, clock, journal={})
    with run.clearing_up(leftover):
        run.advance("containers", 5)
        clock.now += 5
        assert (run.action_uuid, run.tag, run.variables) == (OLD, "v1", {"TUTUM_A": "1"})
        assert run.journal == {"phase": "swap"}
        assert run.remaining_s() == 0
        run.save({"phase": "restore"})
        assert run.journal == {"phase": "restore"}
    assert (queue.leftovers, queue.journals) == ([{"phase": "restore"}], [])
    assert (run.action_uuid, run.tag, run.journal) == (ACTION, None, {})
    assert run.remaining_s() == RunLimits().stall_s, "the action itself has all of its time"
    clock.now += 1
    run.advance("containers", 1)
    assert run.remaining_s() == RunLimits().stall_s, "what was cleared up is no progress of it"
