"""Inputs of deliveries: tags, bodies, amounts and caps that an action, or its retry, gets from its calls."""

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace

import pytest
import sqlalchemy as sa

from tests.support.stores import ORIGIN, StoreBed, call
from tutumd.model import Accepted, Operation, Outcome, Verb
from tutumd.ports.intake import CallResult
from tutumd.store.tables.actions import action_inputs, actions, deliveries
from tutumd.worker.perform import Cap, add_amounts


def test_inputs_merge_field_by_field_and_overridden_deliveries_are_superseded(bed: StoreBed) -> None:
    handler = bed.handler("web", pass_body="TUTUM_TRIGGER_BODY")
    bed.send(handler, bed.evaluate(handler, tag="v1", variable=("TUTUM_TRIGGER_BODY", "one")))
    bed.send(handler, bed.evaluate(handler, tag="v2"))
    bed.send(handler, bed.evaluate(handler))
    bed.send(handler, bed.evaluate(handler, variable=("TUTUM_OTHER", "two")))
    action = bed.claimed().action
    assert action.tag == "v2"
    assert action.variables == {"TUTUM_TRIGGER_BODY": "one", "TUTUM_OTHER": "two"}
    assert bed.outcomes(handler)[0] == ("superseded", "later-tag")
    assert [outcome for outcome, _ in bed.outcomes(handler)[1:]] == ["joined", "joined", "joined"]


def test_an_action_that_is_taken_over_keeps_its_inputs(bed: StoreBed) -> None:
    handler = bed.handler("web", tag={"allow": ["v*"]})
    bed.send(handler, bed.evaluate(handler, tag="v1", variable=("TUTUM_X", "y")))
    bed.claimed()
    bed.clock.move(60)
    action = bed.claimed().action
    assert (action.tag, action.variables) == ("v1", {"TUTUM_X": "y"})


def test_a_call_with_the_same_tag_overrides_nothing(bed: StoreBed) -> None:
    handler = bed.handler("web", tag={"allow": ["v*"]})
    for tag in ("v1", "v1", "v2", "v2"):
        bed.send(handler, bed.evaluate(handler, tag=tag))
    assert bed.claimed().action.tag == "v2"
    assert [outcome for outcome, _ in bed.outcomes(handler)] == ["superseded", "superseded", "joined", "joined"]


@pytest.mark.dialect
@pytest.mark.parametrize("first", [True, None, False])
@pytest.mark.parametrize("second", [True, None, False])
@pytest.mark.parametrize("are_together", [True, False])
def test_an_unchanged_image_is_skipped_only_if_every_call_allows_it(
    bed: StoreBed, first: bool | None, second: bool | None, are_together: bool
) -> None:
    """None: a handler without options, for which the label of the service decides."""
    wishes = (first, second)
    calls = []
    for wish in wishes:
        handler = bed.handler("web") if wish is None else bed.handler("web", skip_unchanged=wish)
        evaluation = None if wish is None else bed.evaluate(handler, skip_unchanged=wish)
        calls.append(replace(call(handler), evaluation=evaluation))
    for batch in [calls] if are_together else [calls[:1], calls[1:]]:
        stored = Future[Sequence[CallResult]]()
        bed.intake.store(batch, stored.set_result)
        assert all(isinstance(result, Accepted) for result in stored.result(60))
    action = bed.claimed().action
    joined = False if False in wishes else None if None in wishes else True
    assert (action.skip_unchanged, bed.store.action(bed.admin, action.uuid).deliveries) == (joined, 2)
    bed.store.abandon(bed.admin, action.uuid)
    assert bed.store.retry(bed.admin, action.uuid, ORIGIN).skip_unchanged is joined


def test_a_person_who_redeploys_does_not_skip_what_a_handler_would(bed: StoreBed) -> None:
    handler = bed.handler("web", skip_unchanged=True)
    bed.send(handler, bed.evaluate(handler, skip_unchanged=True))
    bed.store.submit(bed.admin, handler.service_uuid, Verb.REDEPLOY, target=None, origin=ORIGIN)
    assert bed.claimed().action.skip_unchanged is None


def test_a_body_is_kept_no_longer_than_a_retry_may_need_it(bed: StoreBed) -> None:
    handler = bed.handler("web", pass_body="TUTUM_X")
    body = ("TUTUM_X", "a body with a sender's secret")
    for success, kept in ((False, dict([body])), (True, {})):
        accepted = bed.accepted(handler, bed.evaluate(handler, variable=body))
        claim = bed.claimed()
        assert claim.action.variables == dict([body])
        bed.finish(claim, success=success)
        assert bed.store.action(bed.admin, accepted.action_uuid).variables == kept


def test_a_retry_takes_over_tag_variables_and_cap(bed: StoreBed) -> None:
    handler = bed.handler("web", tag={"allow": ["v*"]})
    first = bed.accepted(handler, bed.evaluate(handler, tag="v1", variable=("TUTUM_X", "y")))
    bed.finish(bed.claimed(), success=False)
    retried = bed.store.retry(bed.admin, first.action_uuid, ORIGIN)
    assert (retried.tag, retried.variables) == ("v1", {"TUTUM_X": "y"})
    bed.finish(bed.claimed())
    scale = bed.handler("web", Operation.SCALEUP, max_containers=4)
    second = bed.accepted(scale, bed.evaluate(scale, handler_cap=4), amount=3)
    claim = bed.claimed()
    assert bed.queue.amounts(claim) == ((3, 4),)
    bed.finish(claim, success=False)
    bed.store.retry(bed.admin, second.action_uuid, ORIGIN)
    assert bed.queue.amounts(bed.claimed()) == ((3, 4),)


def test_amounts_are_applied_in_order_and_those_with_the_same_cap_are_one(bed: StoreBed) -> None:
    free, capped = (bed.handler("web", Operation.SCALEUP, **options) for options in ({}, {"max_containers": 4}))
    evaluation = bed.evaluate(capped, handler_cap=4)
    for amount in (3, 1):
        bed.accepted(free, amount=amount)
    stored: Future[Sequence[CallResult]] = Future()
    bed.intake.store([call(free, 2), call(free, 5)], stored.set_result)
    assert all(isinstance(result, Accepted) for result in stored.result(120))
    for amount in (1, 2):
        bed.accepted(capped, evaluation, amount=amount)
    bed.accepted(free, amount=7)
    assert count_rows(bed, action_inputs) == 3
    assert bed.queue.amounts(bed.claimed()) == ((11, None), (3, 4), (7, None))


def test_amounts_of_two_actions_in_one_batch_stay_apart(bed: StoreBed) -> None:
    web, db = (bed.handler(name, Operation.SCALEUP) for name in ("web", "db"))
    for _ in range(2):  # new actions, then the same ones
        stored: Future[Sequence[CallResult]] = Future()
        bed.intake.store([call(web, 1), call(db, 10), call(web, 2)], stored.set_result)
        assert all(isinstance(result, Accepted) for result in stored.result(120))
    amounts = {claim.service.name: bed.queue.amounts(claim) for claim in (bed.claimed(), bed.claimed())}
    assert amounts == {"web": ((6, None),), "db": ((20, None),)}


def test_nothing_that_an_action_needs_is_in_the_log_of_deliveries(bed: StoreBed) -> None:
    scale, redeploy = bed.handler("web", Operation.SCALEUP), bed.handler("db", pass_body="TUTUM_X")
    bed.accepted(scale, amount=3)
    bed.accepted(redeploy, bed.evaluate(redeploy, tag="v1", variable=("TUTUM_X", "y")))
    delete_deliveries(bed)
    for _ in range(2):  # a run, and its retry
        claims = {claim.service.name: claim for claim in (bed.claimed(), bed.claimed())}
        assert bed.queue.amounts(claims["web"]) == ((3, None),)
        assert (claims["db"].action.tag, claims["db"].action.variables) == ("v1", {"TUTUM_X": "y"})
        for claim in claims.values():
            bed.finish(claim, success=False)
            bed.store.retry(bed.admin, claim.action.uuid, ORIGIN)


def test_a_retry_takes_over_all_amounts_in_order(bed: StoreBed) -> None:
    free, capped = (bed.handler("web", Operation.SCALEUP, **options) for options in ({}, {"max_containers": 4}))
    evaluation = bed.evaluate(capped, handler_cap=4)
    bed.accepted(free, amount=3)
    bed.accepted(capped, evaluation, amount=2)
    bed.accepted(free, amount=100)
    uuid = bed.claimed().action.uuid
    for _ in range(3):
        bed.store.cancel(bed.admin, uuid)
        bed.clock.move(60)
        bed.finish(bed.claimed(), success=False)
        uuid = bed.store.retry(bed.admin, uuid, ORIGIN).uuid
        claim = bed.claimed()
        assert claim.action.uuid == uuid
        assert bed.queue.amounts(claim) == ((3, None), (2, 4), (100, None))


@pytest.mark.parametrize(
    ("kept", "rolled_back", "wanted"),
    [
        (0, False, ((3, None), (4, 9))),
        (2, False, ((1, None), (4, 9))),
        (5, False, ((2, 9),)),
        (7, False, ()),
        (2, True, ((3, None), (4, 9))),
    ],
)
def test_a_retry_adds_only_what_the_failed_scale_up_did_not_keep(
    bed: StoreBed, kept: int, rolled_back: bool, wanted: tuple[tuple[int, int | None], ...]
) -> None:
    free, capped = (bed.handler("web", Operation.SCALEUP, **options) for options in ({}, {"max_containers": 9}))
    bed.accepted(free, amount=3)
    bed.accepted(capped, bed.evaluate(capped, handler_cap=9), amount=4)
    claim = bed.claimed()
    before, after = ("a",), tuple("abcdefgh"[: 1 + kept])
    outcome = Outcome(success=False, rolled_back=rolled_back, containers_before=before, containers_after=after)
    bed.queue.finish(claim, outcome, None)
    bed.store.retry(bed.admin, claim.action.uuid, ORIGIN)
    assert bed.queue.amounts(bed.claimed()) == wanted


def test_amounts_are_deleted_with_their_action(bed: StoreBed) -> None:
    bed.accepted(bed.handler("web", Operation.SCALEUP), amount=3)
    with bed.database.write() as connection:
        connection.execute(sa.delete(actions))
    assert count_rows(bed, action_inputs) == 0


def delete_deliveries(bed: StoreBed) -> None:
    with bed.database.write() as connection:
        connection.execute(sa.delete(deliveries))


def count_rows(bed: StoreBed, table: sa.Table) -> int:
    with bed.database.read() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()


@pytest.mark.dialect
def test_each_caller_of_a_scale_up_sees_what_became_of_its_own_amount(bed: StoreBed) -> None:
    """In whichever batches the calls came, also once their deliveries are deleted."""
    capped, free = bed.handler("web", Operation.SCALEUP, max_containers=4), bed.handler("web", Operation.SCALEUP)
    sent = [(capped, 1), (free, 1), (capped, 5), (free, 2)]
    references = []
    for handler, amount in sent:
        evaluation = bed.evaluate(handler, handler_cap=4) if handler is capped else None
        accepted = bed.accepted(handler, evaluation, amount=amount)
        references.append(accepted.refer(call(handler, amount)))
    assert [reference.before for reference in references] == [0, 1, 2, 7]

    def told() -> list[str]:
        progress = bed.store.progress(references)
        return [progress[reference].action.reason for reference in references]

    claim = bed.claimed()
    target, growth = add_amounts(2, bed.queue.amounts(claim), Cap(containers=100, source="the server"))
    assert growth is not None
    bed.queue.save_target(claim, target, growth)
    assert told() == [""] * 4, "it has not ended"
    bed.queue.finish(claim, Outcome(success=True), None)
    none = "none of the 5 requested containers: the limit was reached at 4 (max_containers of the webhook handler)"
    assert told() == ["", "", none, ""]
    assert bed.store.action(bed.admin, claim.action.uuid).reason == growth.note
    assert [delivery.action_reason for delivery in bed.deliveries(capped)] == [none, ""]
    assert [delivery.action_reason for delivery in bed.deliveries(free)] == ["", ""]
    with bed.database.write() as connection:
        connection.execute(sa.delete(deliveries))
    assert told() == ["", "", none, ""]


def test_calls_of_one_batch_and_a_repeated_one_are_told_apart(bed: StoreBed) -> None:
    handler = bed.handler("web", Operation.SCALEUP)
    calls = [replace(call(handler, amount), key=key) for amount, key in ((2, "a"), (3, "b"), (2, "a"))]
    done: Future[Sequence[CallResult]] = Future()
    bed.intake.store(calls, done.set_result)
    accepted = [each for each in done.result(60) if isinstance(each, Accepted)]
    assert [each.before for each in accepted] == [0, 2, None]
    claim = bed.claimed()
    target, growth = add_amounts(2, bed.queue.amounts(claim), Cap(containers=5, source="the server"))
    bed.queue.save_target(claim, target, growth)
    bed.finish(claim)
    references = [each.refer(one) for each, one in zip(accepted, calls, strict=True)]
    progress = bed.store.progress(references)
    reached = "only 1 of the 3 requested containers: the limit was reached at 5 (the server)"
    assert [progress[reference].action.reason for reference in references] == ["", reached, ""]


def test_a_retry_asks_for_what_was_beyond_a_limit_and_for_nothing_that_is_there(bed: StoreBed) -> None:
    capped, free = bed.handler("web", Operation.SCALEUP, max_containers=3), bed.handler("web", Operation.SCALEUP)
    bed.accepted(capped, bed.evaluate(capped, handler_cap=3), amount=5)
    bed.accepted(free, amount=1)
    claim = bed.claimed()
    target, growth = add_amounts(2, bed.queue.amounts(claim), Cap(containers=100, source="the server"))
    bed.queue.save_target(claim, target, growth)
    names = [f"web-c{number}" for number in range(1, target + 1)]
    outcome = Outcome(success=False, containers_before=tuple(names[:2]), containers_after=tuple(names))
    bed.queue.finish(claim, outcome, None)
    bed.store.retry(bed.admin, claim.action.uuid, ORIGIN)
    assert bed.queue.amounts(bed.claimed()) == ((4, 3),)
