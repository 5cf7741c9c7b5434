"""Inputs of deliveries: tags, bodies and caps that an action, or its retry, gets from its calls."""

from tests.support.stores import ORIGIN, StoreBed
from tutumd.model import Operation


def test_inputs_merge_field_by_field_and_overridden_deliveries_are_superseded(bed: StoreBed) -> None:
    handler = bed.handler("web", pass_body="TUTUM_TRIGGER_BODY")
    bed.send(handler, bed.evaluate(handler, tag="v1", variable=("TUTUM_TRIGGER_BODY", "one")))
    bed.send(handler, bed.evaluate(handler, tag="v2"))
    bed.send(handler, bed.evaluate(handler))
    bed.send(handler, bed.evaluate(handler, variable=("TUTUM_OTHER", "two")))
    action = bed.claimed().action
    assert action.tag == "v2"
    assert action.variables == {"TUTUM_TRIGGER_BODY": "one", "TUTUM_OTHER": "two"}
    assert bed.outcomes(handler)[0] == ("superseded", "a later call named the tag 'v2'")
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
