"""Held actions: a debounce delays an action until there was quiet."""

import pytest

from tests.support.stores import ORIGIN, StoreBed
from tutumd.model import Operation, Verb


def test_an_action_is_held_until_there_was_quiet(bed: StoreBed) -> None:
    handler = bed.handler("web", debounce=10)
    evaluation = bed.evaluate(handler, debounce_s=10)
    bed.send(handler, evaluation)
    for _ in range(3):
        bed.clock.move(9)
        assert bed.claim() is None
        bed.send(handler, evaluation)
    bed.clock.move(9)
    assert bed.claim() is None
    bed.clock.move(2)
    assert bed.store.action(bed.admin, bed.claimed().action.uuid).deliveries == 4


def test_an_action_is_held_for_at_most_ten_debounces(bed: StoreBed) -> None:
    handler = bed.handler("web", debounce=10)
    evaluation = bed.evaluate(handler, debounce_s=10)
    began = bed.clock()
    bed.send(handler, evaluation)
    while bed.claim() is None:
        bed.clock.move(5)
        bed.send(handler, evaluation)
        assert (bed.clock() - began).total_seconds() <= 105
    assert (bed.clock() - began).total_seconds() >= 100


@pytest.mark.dialect
def test_a_call_without_debounce_makes_a_held_action_due(bed: StoreBed) -> None:
    debounced, plain = bed.handler("web", debounce=10), bed.handler("web")
    held = bed.accepted(debounced, bed.evaluate(debounced, debounce_s=10))
    assert bed.claim() is None
    assert bed.call(plain) == held.action_uuid
    assert bed.claimed().action.uuid == held.action_uuid


def test_a_redeploy_by_hand_makes_a_held_action_due(bed: StoreBed) -> None:
    handler = bed.handler("web", debounce=10)
    held = bed.accepted(handler, bed.evaluate(handler, debounce_s=10))
    assert bed.claim() is None
    joined = bed.store.submit(bed.admin, handler.service_uuid, Verb.REDEPLOY, target=None, origin=ORIGIN)
    assert joined.uuid == held.action_uuid
    assert bed.claimed().action.uuid == held.action_uuid


def test_a_held_action_blocks_no_other_operation_of_its_service(bed: StoreBed) -> None:
    handler = bed.handler("web", debounce=10)
    bed.send(handler, bed.evaluate(handler, debounce_s=10))
    bed.call(bed.handler("web", Operation.SCALEUP))
    assert bed.claimed().action.verb is Verb.SCALEUP
