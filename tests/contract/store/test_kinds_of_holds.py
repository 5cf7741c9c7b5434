"""Each reason why a pending action waits: debounce, hold and freeze window, alone and together."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from tests.contract.store.test_holds import freeze, hold
from tests.support.stores import ENGINE, ORIGIN, StoreBed, query
from tutumd.model import Action, ActionState, Handler, HoldKind, Verb

KINDS: dict[HoldKind, Callable[[StoreBed], None]] = {
    HoldKind.DEBOUNCE: lambda bed: None,
    HoldKind.HOLD: lambda bed: hold(bed, "web", 1),
    HoldKind.FREEZE: lambda bed: freeze(bed, "2026-01-01 00:00", "2026-01-01 01:00"),
}
each_kind = pytest.mark.parametrize("kind", KINDS)


def held(bed: StoreBed, *kinds: HoldKind) -> tuple[Handler, Action]:
    """Let reasons hold an action for an hour, and return the handler and the action."""
    for kind in kinds:
        KINDS[kind](bed)
    handler = bed.handler("web", debounce=3600) if HoldKind.DEBOUNCE in kinds else bed.handler("web")
    evaluation = bed.evaluate(handler, debounce_s=3600) if HoldKind.DEBOUNCE in kinds else None
    action = bed.store.action(bed.admin, bed.accepted(handler, evaluation).action_uuid)
    assert tuple(each.kind for each in action.holds) == kinds
    assert action.held_until == bed.clock() + timedelta(hours=1)
    assert bed.claim() is None
    return handler, action


def becomes_due(bed: StoreBed, action: Action) -> None:
    """Check that an action is held for its hour, and then begins."""
    left = action.held_until or bed.clock()
    bed.clock.move((left - bed.clock()).total_seconds() - 1)
    assert bed.claim() is None
    bed.clock.move(1)
    assert bed.claimed().action.uuid == action.uuid
    assert bed.store.action(bed.admin, action.uuid).holds == ()


@pytest.mark.dialect
def test_an_action_waits_for_the_end_of_all_its_holds(bed: StoreBed) -> None:
    _, action = held(bed, *KINDS)
    hold(bed, "web", 0.5)
    bed.store.resume(bed.admin, action.service_uuid)
    left = bed.store.action(bed.admin, action.uuid)
    assert [each.kind for each in left.holds] == [HoldKind.DEBOUNCE, HoldKind.FREEZE]
    assert left.held_until == action.held_until
    assert [each.uuid for each in bed.store.held_actions(bed.admin)] == [action.uuid]
    becomes_due(bed, action)


@pytest.mark.dialect
def test_a_call_without_debounce_ends_only_the_debounce(bed: StoreBed) -> None:
    _, action = held(bed, HoldKind.DEBOUNCE, HoldKind.HOLD)
    assert bed.call(bed.handler("web")) == action.uuid
    assert [each.kind for each in bed.store.action(bed.admin, action.uuid).holds] == [HoldKind.HOLD]
    assert bed.claim() is None
    bed.store.resume(bed.admin, action.service_uuid)
    assert bed.claimed().action.uuid == action.uuid


@pytest.mark.dialect
def test_a_hold_that_ends_leaves_a_debounce_that_lasts(bed: StoreBed) -> None:
    handler = bed.handler("web", debounce=10)
    evaluation = bed.evaluate(handler, debounce_s=10)
    hold(bed, "web", 12 / 3600)
    bed.accepted(handler, evaluation)
    bed.clock.move(8)
    bed.accepted(handler, evaluation)
    bed.clock.move(9)
    assert bed.claim() is None
    bed.clock.move(1)
    bed.finish(bed.claimed())
    assert bed.claim() is None


@each_kind
def test_a_held_action_can_be_canceled_and_retried(bed: StoreBed, kind: HoldKind) -> None:
    handler, action = held(bed, kind)
    canceled = bed.store.cancel(bed.admin, action.uuid)
    assert (canceled.state, canceled.holds, canceled.held_until) == (ActionState.CANCELED, (), None)
    retried = bed.store.retry(bed.admin, action.uuid, ORIGIN)
    if kind is HoldKind.DEBOUNCE:
        assert bed.claimed().action.uuid == retried.uuid
    else:
        assert bed.call(handler) != retried.uuid
        becomes_due(bed, retried)


@each_kind
def test_an_action_that_was_held_is_abandoned_and_survives_a_worker_as_any_other(bed: StoreBed, kind: HoldKind) -> None:
    _, action = held(bed, kind)
    bed.clock.move(3600)
    bed.claimed()
    bed.queue.take_over()
    hold(bed, "web")
    again = bed.claimed()
    assert (again.action.uuid, again.deaths) == (action.uuid, 1)
    assert bed.store.abandon(bed.admin, action.uuid).state is ActionState.FAILED
    assert bed.claim() is None


@each_kind
def test_a_held_action_outlasts_its_handler(bed: StoreBed, kind: HoldKind) -> None:
    handler, action = held(bed, kind)
    rotated = bed.store.rotate_handler(bed.admin, handler.service_uuid, handler.uuid, bed.clock())
    bed.store.delete_handler(bed.admin, handler.service_uuid, rotated.uuid)
    becomes_due(bed, action)


@each_kind
def test_a_held_action_outlasts_the_absence_of_its_service_but_not_its_end(bed: StoreBed, kind: HoldKind) -> None:
    handler, action = held(bed, kind)
    bed.show("db")
    bed.queue.register("worker", [ENGINE])
    assert bed.claim() is None
    bed.show("web", "db")
    assert bed.store.action(bed.admin, action.uuid).holds == action.holds
    bed.store.submit(bed.admin, handler.service_uuid, Verb.TERMINATE, target=None, origin=ORIGIN)
    bed.finish(bed.claimed())
    ended = bed.store.actions(bed.admin, query(uuid=action.uuid)).objects[0]
    assert (ended.state, ended.holds) == (ActionState.CANCELED, ())


@each_kind
def test_another_action_of_the_service_runs_before_a_held_one(bed: StoreBed, kind: HoldKind) -> None:
    handler, action = held(bed, kind)
    bed.store.submit(bed.admin, handler.service_uuid, Verb.STOP, target=None, origin=ORIGIN)
    stop = bed.claimed()
    assert stop.action.verb is Verb.STOP
    bed.finish(stop)
    becomes_due(bed, action)
