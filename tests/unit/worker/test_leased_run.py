"""A run under a lease, with a clock that the test moves."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from tutumd.errors import LeaseLostError, UnavailableError
from tutumd.model import Action, ActionState, Claim, Service, Verb
from tutumd.ports import Queue
from tutumd.worker.leased_run import LEASE_MARGIN_S, LeasedRun

LEASE = timedelta(seconds=10)


class RecordedQueue:
    """The two methods that a run uses; fails on demand."""

    def __init__(self, time: "Time | None" = None, save_s: float = 0.0) -> None:
        self.journals: list[Mapping[str, object]] = []
        self.error: Exception | None = None
        self._time = time
        self._save_s = save_s

    def renew(self, claim: Claim, *, lease: timedelta) -> None:
        if self.error:
            raise self.error

    def save_journal(self, claim: Claim, journal: Mapping[str, object]) -> None:
        if self.error:
            raise self.error
        self.journals.append(journal)
        if self._time:
            self._time.now += self._save_s


class Time:
    """A monotonic clock that moves a little with each look, as waiting does."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def make_action(started: datetime | None = None) -> Action:
    return Action(
        uuid="a",
        service_uuid="s",
        verb=Verb.REDEPLOY,
        state=ActionState.IN_PROGRESS,
        target=None,
        created=datetime(2026, 1, 1, tzinfo=UTC),
        started=started,
        ended=None,
        address="",
        user_agent="",
        deliveries=1,
        reason="",
        log_tail="",
        rolled_back=False,
        image_before=None,
        image_after=None,
        containers_before=(),
        containers_after=(),
    )


def make_run(queue: RecordedQueue, time: Time) -> LeasedRun:
    claim = Claim(action=make_action(), service=cast(Service, None), token=1, attempts=0, journal={"old": 1})
    return LeasedRun(
        claim, cast(Queue, queue), lease=LEASE, deadline_s=120, claimed_at=time.now, monotonic=cast(Any, time)
    )


def test_a_run_stops_before_its_lease_ends() -> None:
    time = Time()
    run = make_run(RecordedQueue(), time)
    time.now += 10 - LEASE_MARGIN_S - 0.01
    run.check()
    time.now += 0.01
    with pytest.raises(LeaseLostError):
        run.check()


def test_renewing_prolongs_the_lease_from_when_it_was_asked_for() -> None:
    time = Time()
    run = make_run(RecordedQueue(), time)
    time.now += 8
    run.renew()
    time.now += 8.9
    run.check()
    time.now += 0.2
    with pytest.raises(LeaseLostError):
        run.check()


def test_a_renewal_that_fails_does_not_prolong_it() -> None:
    queue, time = RecordedQueue(), Time()
    run = make_run(queue, time)
    queue.error = UnavailableError("gone")
    time.now += 8
    run.renew()
    run.check()
    time.now += 1.5
    with pytest.raises(LeaseLostError):
        run.check()


def test_a_lost_lease_ends_the_run_at_once() -> None:
    queue, time = RecordedQueue(), Time()
    run = make_run(queue, time)
    queue.error = LeaseLostError("taken")
    run.renew()
    for step in (run.check, lambda: run.save({}), lambda: run.sleep(0)):
        with pytest.raises(LeaseLostError):
            step()
    assert queue.journals == []


def test_the_journal_of_an_earlier_try_is_there_and_is_replaced_as_a_whole() -> None:
    queue = RecordedQueue()
    run = make_run(queue, Time())
    assert run.journal == {"old": 1}
    run.save({"new": 2})
    assert run.journal == {"new": 2}
    assert queue.journals == [{"new": 2}]


def test_the_deadline_counts_down_to_zero() -> None:
    time = Time()
    run = make_run(RecordedQueue(), time)
    assert run.remaining_s() == 120
    time.now += 500
    assert run.remaining_s() == 0


def test_a_journal_that_was_stored_only_after_the_lease_ended_ends_the_run() -> None:
    time = Time()
    run = make_run(RecordedQueue(time, save_s=9.5), time)
    with pytest.raises(LeaseLostError):
        run.save({"new": 2})
