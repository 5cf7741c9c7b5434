"""Promises of Store, Intake and Queue: calls are coalesced, and actions run once, one at a time and in order."""

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import wait
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TypeVar

import pytest

from tests.support.stores import LEASE, ORIGIN, StoreBed, accept, call, query, second_intake, snapshot
from tutumd.errors import ConflictError, LeaseLostError, LockedError, NotFoundError
from tutumd.model import ActionState, Operation, Outcome, Verb
from tutumd.ports.queue import Renewal

pytestmark = pytest.mark.dialect

T = TypeVar("T")


def verbs(bed: StoreBed, service: str) -> list[tuple[Verb, ActionState]]:
    newest_first = bed.store.actions(bed.admin, query(object=bed.service_uuid(service))).objects
    return [(action.verb, action.state) for action in reversed(newest_first)]


def test_calls_join_the_pending_action_of_their_operation(bed: StoreBed) -> None:
    redeploy, scale_up = bed.handler("web"), bed.handler("web", Operation.SCALEUP)
    first = bed.call(redeploy)
    assert bed.call(redeploy) == first
    assert bed.call(scale_up) != first
    assert bed.store.action(bed.admin, first).deliveries == 2


@pytest.mark.slow
def test_a_call_never_joins_an_action_that_was_claimed(bed: StoreBed) -> None:
    handler = bed.handler("web")
    first = bed.call(handler)
    claim = bed.claimed()
    second = bed.call(handler)
    assert second != first
    assert bed.call(handler) == second
    assert bed.claim() is None  # one at a time
    bed.finish(claim)
    assert bed.claimed().action.uuid == second


def test_due_actions_of_a_service_run_in_their_order(bed: StoreBed) -> None:
    made = [bed.call(bed.handler("web", Operation.SCALEUP)), bed.call(bed.handler("web"))]
    made.append(bed.store.submit(bed.admin, bed.service_uuid("web"), Verb.STOP, target=None, origin=ORIGIN).uuid)
    ran = []
    while claim := bed.claim():
        ran.append(claim.action.uuid)
        bed.finish(claim)
    assert ran == made


def test_stop_closes_the_open_actions_so_that_nothing_jumps_over_it(bed: StoreBed) -> None:
    handler, web = bed.handler("web"), bed.service_uuid("web")
    before = bed.call(handler)
    bed.store.submit(bed.admin, web, Verb.STOP, target=None, origin=ORIGIN)
    after = bed.call(handler)
    assert before != after
    assert [verb for verb, _ in verbs(bed, "web")] == [Verb.REDEPLOY, Verb.STOP, Verb.REDEPLOY]


def test_scaling_twice_to_the_same_number_is_one_action(bed: StoreBed) -> None:
    web = bed.service_uuid("web")
    first = bed.store.submit(bed.admin, web, Verb.SCALE, target=5, origin=ORIGIN)
    assert bed.store.submit(bed.admin, web, Verb.SCALE, target=5, origin=ORIGIN).uuid == first.uuid
    assert bed.store.submit(bed.admin, web, Verb.SCALE, target=6, origin=ORIGIN).uuid != first.uuid
    assert bed.store.service(bed.admin, web).target == 6


def test_a_revoked_handler_is_not_called(bed: StoreBed) -> None:
    handler = bed.handler("web")
    bed.store.delete_handler(bed.admin, handler.service_uuid, handler.uuid)
    with pytest.raises(NotFoundError):
        bed.call(handler)
    assert bed.claim() is None


def test_a_handler_below_another_service_is_not_called(bed: StoreBed) -> None:
    handler = bed.handler("web")
    wrong = call(handler)
    with pytest.raises(NotFoundError):
        accept(bed.intake, replace(wrong, service_uuid=bed.service_uuid("db"))).result(120)
    assert bed.claim() is None


def test_two_workers_never_claim_the_same_action(bed: StoreBed) -> None:
    for index in range(20):
        bed.show(*[f"s{n}" for n in range(index + 1)])
    for index in range(20):
        bed.call(bed.handler(f"s{index}"))
    claimed: list[str] = []

    def work(name: str) -> None:
        while claim := bed.queue.claim(name, ["docker"], lease=LEASE):
            claimed.append(claim.action.uuid)

    threads = [threading.Thread(target=work, args=(str(n),)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert len(claimed) == len(set(claimed)) == 20


def test_a_worker_claims_only_actions_of_its_own_engines(bed: StoreBed) -> None:
    bed.call(bed.handler("web"))
    assert bed.queue.claim("other", ["swarm"], lease=LEASE) is None
    assert bed.claim() is not None


def test_an_ended_lease_is_taken_over_and_the_old_worker_changes_nothing(bed: StoreBed) -> None:
    bed.call(bed.handler("web"))
    old = bed.claimed()
    bed.queue.save_journal(old, {"step": 1})
    bed.clock.move(LEASE.total_seconds() + 0.1)
    new = bed.claimed()
    assert new.action.uuid == old.action.uuid
    assert new.journal == {"step": 1}
    assert new.attempts == 0
    changes: tuple[Callable[[], object], ...] = (
        lambda: bed.queue.save_journal(old, {"step": 2}),
        lambda: bed.queue.save_target(old, 9),
        lambda: bed.queue.retry_later(old, delay=timedelta(0), error=""),
        lambda: bed.queue.release(old),
        lambda: bed.queue.finish(old, Outcome(success=True), snapshot("web", containers=9)),
    )
    for change in changes:
        with pytest.raises(LeaseLostError):
            change()
    assert bed.renew(old) is Renewal.LOST
    assert bed.store.service(bed.admin, old.service.uuid).target == 2
    bed.finish(new)
    assert bed.store.action(bed.admin, old.action.uuid).state is ActionState.SUCCESS


def test_an_action_that_has_ended_is_not_changed_by_its_worker(bed: StoreBed) -> None:
    bed.call(bed.handler("web"))
    claim = bed.claimed()
    bed.finish(claim)
    with pytest.raises(LeaseLostError):
        bed.queue.save_journal(claim, {"step": 1})
    with pytest.raises(LeaseLostError):
        bed.finish(claim, success=False)
    assert bed.store.action(bed.admin, claim.action.uuid).state is ActionState.SUCCESS


@pytest.mark.slow
def test_a_renewal_by_the_old_worker_does_not_extend_the_new_lease(bed: StoreBed) -> None:
    bed.call(bed.handler("web"))
    old = bed.claimed()
    bed.clock.move(LEASE.total_seconds() + 0.1)
    bed.claimed()
    bed.clock.move(LEASE.total_seconds() / 2)
    assert bed.renew(old) is Renewal.LOST
    bed.clock.move(LEASE.total_seconds() / 2 + 0.1)
    assert bed.claim() is not None, "the new worker did not renew its lease"


def test_a_renewed_lease_is_not_taken_over(bed: StoreBed) -> None:
    bed.call(bed.handler("web"))
    claim = bed.claimed()
    bed.clock.move(8)
    assert bed.renew(claim) is Renewal.RENEWED
    bed.clock.move(8)
    assert bed.claim() is None


def test_an_action_that_waits_for_its_retry_stays_in_progress_and_holds_the_service(bed: StoreBed) -> None:
    handler = bed.handler("web")
    first = bed.call(handler)
    bed.queue.retry_later(bed.claimed(), delay=timedelta(seconds=5), error="the engine is away")
    bed.call(handler)
    assert bed.store.action(bed.admin, first).state is ActionState.IN_PROGRESS
    assert bed.claim() is None
    bed.clock.move(5)
    again = bed.claimed()
    assert again.action.uuid == first
    assert again.attempts == 1


def test_a_late_renewal_does_not_extend_the_pause_before_another_try(bed: StoreBed) -> None:
    bed.call(bed.handler("web"))
    claim = bed.claimed()
    bed.queue.retry_later(claim, delay=timedelta(seconds=1), error="the engine is away")
    assert bed.renew(claim) is Renewal.LOST
    bed.clock.move(1)
    assert bed.claimed().action.uuid == claim.action.uuid


def test_a_process_that_is_alone_takes_over_at_once(bed: StoreBed) -> None:
    bed.call(bed.handler("web"))
    first = bed.claimed()
    bed.queue.take_over()
    assert bed.claimed().action.uuid == first.action.uuid


def test_the_actions_of_dead_workers_are_taken_over_at_once(bed: StoreBed) -> None:
    bed.show("dead", "alive")
    for name in ("dead", "alive"):
        bed.call(bed.handler(name))
        assert bed.queue.claim(name, ["docker"], lease=timedelta(minutes=4)) is not None
    bed.queue.take_over(["dead", "older"])
    again = bed.claimed()
    assert (again.service.name, again.deaths) == ("dead", 1)
    assert bed.claim() is None


def test_the_target_of_a_scale_up_survives_a_takeover(bed: StoreBed) -> None:
    bed.call(bed.handler("web", Operation.SCALEUP), 3)
    claim = bed.claimed()
    bed.queue.save_target(claim, 5)
    bed.queue.take_over()
    assert bed.claimed().action.target == 5


def test_a_pending_action_is_canceled_at_once_and_nothing_joins_it(bed: StoreBed) -> None:
    handler = bed.handler("web")
    first = bed.call(handler)
    assert bed.store.action(bed.admin, first).can_be_canceled
    canceled = bed.store.cancel(bed.admin, first)
    assert canceled.state is ActionState.CANCELED
    assert canceled.ended is not None
    assert not canceled.can_be_canceled
    with pytest.raises(ConflictError):
        bed.store.cancel(bed.admin, first)
    assert bed.claim() is None
    assert bed.call(handler) != first


def test_a_cancel_of_a_running_action_reaches_its_worker(bed: StoreBed) -> None:
    bed.call(bed.handler("web"))
    claim = bed.claimed()
    assert bed.renew(claim) is Renewal.RENEWED
    assert bed.store.cancel(bed.admin, claim.action.uuid).state is ActionState.CANCELING
    assert bed.renew(claim) is Renewal.CANCEL_REQUESTED
    bed.queue.finish(claim, Outcome(success=False, canceled=True, reason="canceled on request"), None)
    assert bed.store.action(bed.admin, claim.action.uuid).state is ActionState.CANCELED


@pytest.mark.slow
@pytest.mark.parametrize(("reason", "before"), [("", ""), ("only 2 of 3 run", "only 2 of 3 run; ")])
def test_a_cancel_that_comes_too_late_is_told(bed: StoreBed, reason: str, before: str) -> None:
    bed.call(bed.handler("web"))
    claim = bed.claimed()
    bed.store.cancel(bed.admin, claim.action.uuid)
    bed.queue.finish(claim, Outcome(success=True, reason=reason), None)
    action = bed.store.action(bed.admin, claim.action.uuid)
    assert action.state is ActionState.SUCCESS
    assert action.reason == f"{before}the cancel came too late"


@pytest.mark.slow
def test_a_retry_is_a_new_action_with_the_amounts_of_the_old_one(bed: StoreBed) -> None:
    handler = bed.handler("web", Operation.SCALEUP)
    bed.call(handler, 3)
    bed.call(handler, 2)
    claim = bed.claimed()
    with pytest.raises(ConflictError):
        bed.store.retry(bed.admin, claim.action.uuid, ORIGIN)
    bed.finish(claim, success=False)
    assert bed.store.action(bed.admin, claim.action.uuid).can_be_retried
    retried = bed.store.retry(bed.admin, claim.action.uuid, ORIGIN)
    assert retried.uuid != claim.action.uuid
    again = bed.claimed()
    assert again.action.uuid == retried.uuid
    assert bed.queue.amounts(again) == ((5, None),)


def retry_when_locked(write: Callable[[], T]) -> T:
    """Return what `write` returns. A worker repeats it like this: after LockedError nothing has changed."""
    while True:
        with contextlib.suppress(LockedError):
            return write()


@pytest.mark.slow
def test_calls_and_claims_from_many_threads_lose_nothing_and_add_nothing_twice(bed: StoreBed) -> None:
    operations = (Operation.REDEPLOY, Operation.SCALEUP)
    handlers = [bed.handler(name, operation) for name in ("web", "db") for operation in operations]
    stop = threading.Event()
    added = {"web": 0, "db": 0}
    runs: list[str] = []

    def work(name: str) -> None:
        while not stop.is_set() or bed.has_pending_action():
            claim = retry_when_locked(lambda: bed.queue.claim(name, ["docker"], lease=LEASE))
            if claim is None:
                continue
            runs.append(claim.action.uuid)
            if claim.action.verb is Verb.SCALEUP:
                added[claim.service.name] += sum(amount for amount, _ in bed.queue.amounts(claim))
            retry_when_locked(partial(bed.finish, claim))

    workers = [threading.Thread(target=work, args=(str(n),)) for n in range(3)]
    for worker in workers:
        worker.start()
    futures = [accept(bed.intake, call(handlers[n % 4], 1)) for n in range(400)]
    joined = {future.result(60).action_uuid for future in futures}
    stop.set()
    for worker in workers:
        worker.join(60)
    assert joined == set(runs)
    assert len(runs) == len(set(runs))
    assert added == {"web": 100, "db": 100}


def test_revoking_on_one_replica_holds_on_the_other(bed: StoreBed, database_url: str) -> None:
    with second_intake(bed, database_url) as other:
        for _ in range(20):
            handler = bed.handler("web")
            futures = [accept(other, call(handler)) for _ in range(30)]
            bed.store.delete_handler(bed.admin, handler.service_uuid, handler.uuid)
            late = accept(other, call(handler))
            with pytest.raises(NotFoundError):
                late.result(120)
            wait(futures, 30)
