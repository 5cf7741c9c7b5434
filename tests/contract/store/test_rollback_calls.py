"""Rollbacks by calls of handlers: a repeated alert goes back once, and calls of other handlers keep their order."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace

import pytest
import sqlalchemy as sa

from tests.support.history import end, image, look, perform_rollback, redeploy, roll_back, submit
from tests.support.replica import Replica, make
from tests.support.stores import StoreBed, call, snapshot
from tutumd.errors import ConflictError, Reason
from tutumd.model import Accepted, ActionState, Handler, NotQueued, Operation, Outcome, Verb
from tutumd.ports.intake import CallResult
from tutumd.store.tables.services import service_holds


@pytest.fixture
def bed(bed: StoreBed) -> Iterator[StoreBed]:
    """A store with a service `web` that ran the images a, b and c."""
    bed.sync(look("a"))
    redeploy(bed, "b", "c")
    yield bed


def send_all(bed: StoreBed, *handlers: Handler) -> Sequence[CallResult]:
    """Call handlers in one batch."""
    stored: Future[Sequence[CallResult]] = Future()
    bed.intake.store([call(handler) for handler in handlers], stored.set_result)
    return stored.result(60)


def actions_of(results: Sequence[CallResult]) -> list[str]:
    return [each.action_uuid if isinstance(each, Accepted) else "" for each in results]


def states(bed: StoreBed, uuids: Sequence[str]) -> list[tuple[Verb, ActionState]]:
    found = [bed.store.action(bed.admin, uuid) for uuid in uuids]
    return [(action.verb, action.state) for action in found]


@pytest.mark.dialect
@pytest.mark.parametrize("batch", [1, 200])
def test_an_alert_that_repeats_goes_back_once(bed: StoreBed, batch: int) -> None:
    handler = bed.handler("web", Operation.ROLLBACK)
    pending = [result for _ in range(200 // batch) for result in send_all(bed, *[handler] * batch)]
    (uuid,) = set(actions_of(pending))
    claim = bed.claimed()
    assert claim.action.uuid == uuid
    running = [bed.send(handler) for _ in range(20)]
    end(bed, claim, "b")
    done = [result for _ in range(200 // batch) for result in send_all(bed, *[handler] * batch)]
    assert running == [NotQueued(skip=Reason("rolling-back"))] * 20
    assert done == [NotQueued(skip=Reason("rolled-back"))] * 200
    assert (bed.claim(), roll_back(bed).image.digest) == (None, image("a").digest)  # type: ignore[union-attr]
    assert bed.outcomes(handler)[-1] == ("skipped", "rolled-back")


def test_after_a_resume_the_next_call_goes_back_further(bed: StoreBed) -> None:
    handler = bed.handler("web", Operation.ROLLBACK)
    bed.call(handler)
    assert perform_rollback(bed) == "b"
    bed.store.resume(bed.admin, handler.service_uuid)
    bed.call(handler)
    assert perform_rollback(bed) == "a"


def test_without_hold_calls_go_back_further_but_not_during_a_rollback(bed: StoreBed) -> None:
    handler = bed.handler("web", Operation.ROLLBACK, rollback_hold=False)
    evaluation = bed.evaluate(handler, rollback_hold=False)
    bed.accepted(handler, evaluation)
    claim = bed.claimed()
    assert bed.send(handler, evaluation) == NotQueued(skip=Reason("rolling-back"))
    end(bed, claim, "b")
    bed.accepted(handler, evaluation)
    assert perform_rollback(bed) == "a"
    submit(bed)
    assert bed.claimed().action.verb is Verb.REDEPLOY


def test_a_call_neither_replaces_nor_repeats_a_rollback_of_a_user(bed: StoreBed) -> None:
    handler = bed.handler("web", Operation.ROLLBACK)
    chosen = roll_back(bed, "1")
    assert bed.call(handler) == chosen.uuid
    assert bed.claimed().action.uuid == chosen.uuid
    assert bed.send(handler) == NotQueued(skip=Reason("rolling-back"))


@pytest.mark.dialect
def test_a_call_that_finds_no_older_image_is_refused_and_listed(bed: StoreBed) -> None:
    bed.sync(look("c"), snapshot("db"))
    handler = bed.handler("db", Operation.ROLLBACK)
    other = bed.handler("web")
    refused, accepted = send_all(bed, handler, other)
    assert isinstance(refused, ConflictError) and "there is no older version" in str(refused)
    assert isinstance(accepted, Accepted)
    assert bed.outcomes(handler) == [("refused", "not-rolled-back")]


@pytest.mark.dialect
def test_calls_of_one_batch_keep_their_order(bed: StoreBed) -> None:
    """A rollback cancels the redeploys before it, and the redeploys after it wait for the end of its hold."""
    deploys, adds, alerts = (bed.handler("web", each) for each in Operation)
    results = send_all(bed, deploys, adds, deploys, alerts, deploys, adds, alerts, deploys)
    before, scaled, joined, rollback, after, scaled_too, again, last = actions_of(results)
    assert (before, scaled, rollback, after) == (joined, scaled_too, again, last)
    pending = ActionState.PENDING
    assert states(bed, [before, scaled, rollback, after]) == [
        (Verb.REDEPLOY, ActionState.CANCELED),
        (Verb.SCALEUP, pending),
        (Verb.ROLLBACK, pending),
        (Verb.REDEPLOY, pending),
    ]
    bed.queue.finish(bed.claimed(), Outcome(success=True), look("c"))
    assert (perform_rollback(bed), bed.claim()) == ("b", None)
    assert bed.store.action(bed.admin, after).deliveries == 2


def test_a_call_names_its_handler_as_the_one_who_rolled_back(bed: StoreBed) -> None:
    handler = bed.handler("web", Operation.ROLLBACK)
    bed.call(handler)
    perform_rollback(bed)
    newest = bed.store.images(bed.admin, handler.service_uuid)[0]
    hold = bed.store.service(bed.admin, handler.service_uuid).hold
    assert newest.requested_by == f"handler {handler.number}"
    assert hold is not None and (hold.by, hold.until) == (newest.requested_by, None)
    assert hold.is_of_rollback and "#2" in hold.reason


def test_uses_and_keys_count_only_calls_that_roll_back(bed: StoreBed) -> None:
    handler = bed.handler("web", Operation.ROLLBACK, max_uses=2)
    evaluation = bed.evaluate(handler, max_uses=2)
    first = bed.accepted(handler, evaluation, key="idempotency-key:1")
    perform_rollback(bed)
    assert bed.send(handler, evaluation) == NotQueued(skip=Reason("rolled-back"))
    assert bed.accepted(handler, evaluation, key="idempotency-key:1").action_uuid == first.action_uuid
    assert bed.store.handler(bed.admin, handler.service_uuid, handler.uuid).uses == 1


@pytest.mark.dialect
def test_callers_learn_what_became_of_their_calls(bed: StoreBed, replica: Replica) -> None:
    deploys, alerts = (f"{make(bed, replica, operation=each)}call/" for each in ("REDEPLOY", "ROLLBACK"))
    status, deployed = replica.request("POST", deploys)
    assert (status, replica.request("POST", alerts)[0]) == (202, 202)
    _, progress = replica.request("GET", deployed["status_url"])
    assert (progress["state"], "superseded by a rollback to #2" in progress["reason"]) == ("Canceled", True)
    perform_rollback(bed)
    status, skipped = replica.request("POST", alerts)
    assert (status, skipped["state"]) == (200, "Skipped")
    assert "until somebody resumes it" in skipped["reason"]
    bed.sync(replace(look("b"), rollback_refusal="the Deployment is paused"))
    with bed.database.write() as connection:
        connection.execute(sa.delete(service_holds))
    assert replica.request("POST", alerts) == (409, {"error": "the Deployment is paused"})
