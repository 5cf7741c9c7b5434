"""Calls of groups among much else: bursts, services that leave meanwhile, and what stays of old calls."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import sqlalchemy as sa

from tests.contract.store.test_groups import accepted, add_group, call_of, names, send
from tests.contract.store.test_retention import AGE_S, count, prune
from tests.support.stores import StoreBed, query, second_intake, snapshot
from tutumd.model import ActionState
from tutumd.model.groups import GroupAccepted
from tutumd.store.intake.sender_keys import REPEAT_WINDOW
from tutumd.store.tables.actions import actions, group_calls
from tutumd.store.upkeep import retention

pytestmark = pytest.mark.dialect
SHOP = ("db", "api", "web", "mail", "cache")


def test_a_burst_causes_at_most_two_runs_of_each_service(bed: StoreBed) -> None:
    bed.show(*SHOP)
    group = add_group(bed, *SHOP)
    accepted(bed, group)
    running = [bed.claimed() for _ in SHOP]
    for _ in range(10):
        results = send(bed, *[call_of(group)] * 50)
        assert all(isinstance(result, GroupAccepted) for result in results), results
    for claim in running:
        bed.finish(claim)
    while more := bed.claim():
        bed.finish(more)
    ended = bed.store.actions(bed.admin, query()).objects
    assert Counter(action.service_name for action in ended) == dict.fromkeys(SHOP, 2)
    assert {action.state for action in ended} == {"Success"}
    assert bed.store.handler(bed.admin, "", group.uuid).calls == 501
    assert all(call.ended for call in bed.store.group_calls(bed.admin, query()).objects)


def test_a_stack_that_shrinks_during_calls_gets_only_what_is_left(bed: StoreBed, database_url: str) -> None:
    shop = [replace(snapshot(name), stack="shop") for name in SHOP]
    bed.sync(*shop)
    group = add_group(bed, engine="docker", stack="shop")
    leaving = [bed.service_uuid(name) for name in reversed(SHOP[2:])]
    with second_intake(bed, database_url) as intake, ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(accepted, bed, group, intake=each) for _ in range(10) for each in (bed.intake, intake)]
        for number, uuid in enumerate(leaving):
            bed.sync(*shop[: -1 - number])
            bed.store.forget(bed.admin, uuid)
        results = [each.result(60) for each in calls]
    assert names(accepted(bed, group)) == ["api", "db"]
    lines = [line for result in results for line in result.lines]
    assert {line.service_name for line in lines} <= {f"shop/{name}" for name in SHOP}
    assert all(line.action_uuid or line.note for line in lines)
    assert all(bed.store.action(bed.admin, line.action_uuid) for line in lines if line.action_uuid)


def test_old_calls_are_deleted_after_their_end(bed: StoreBed) -> None:
    bed.show("web")
    group = add_group(bed, "web")
    accepted(bed, group)
    bed.finish(bed.claimed())
    assert bed.claim() is None
    accepted(bed, group)
    bed.clock.move(AGE_S)
    prune(bed)
    assert count(bed, group_calls) == 1
    bed.finish(bed.claimed())
    assert bed.claim() is None
    bed.clock.move(AGE_S)
    prune(bed)
    assert count(bed, group_calls) == 0


def test_an_action_that_is_deleted_before_its_call_ends_counts_as_failed(bed: StoreBed) -> None:
    bed.show("web", "db")
    number = accepted(bed, add_group(bed, "web", "db")).number
    bed.finish(bed.claimed())
    bed.clock.move(AGE_S)
    prune(bed)
    waiting = bed.store.group_call(bed.admin, number)
    assert (waiting.state, waiting.is_ended) == (ActionState.IN_PROGRESS, False)
    bed.finish(bed.claimed())
    assert bed.store.group_call(bed.admin, number).state == ActionState.FAILED
    assert bed.claim() is None
    assert bed.store.group_call(bed.admin, number).state == ActionState.FAILED


def test_the_state_of_an_ended_call_does_not_change_when_its_actions_are_deleted(bed: StoreBed) -> None:
    bed.show("web")
    number = accepted(bed, add_group(bed, "web")).number
    bed.finish(bed.claimed())
    assert bed.claim() is None
    with bed.database.write() as connection:
        connection.execute(sa.delete(actions))
    ended = bed.store.group_call(bed.admin, number)
    assert (ended.state, ended.is_ended, ended.lines[0].action) == (ActionState.SUCCESS, True, None)


def test_the_ended_calls_of_a_group_are_bounded_and_the_newest_stay(
    bed: StoreBed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "MAX_GROUP_CALLS", 2)
    bed.show("web")
    group, other = add_group(bed, "web"), add_group(bed, "web")
    keyed = accepted(bed, group, key="x:1")
    ended = [accepted(bed, group).number for _ in range(4)]
    of_other = accepted(bed, other).number
    assert prune(bed) == 0
    bed.finish(bed.claimed())
    assert bed.claim() is None
    live = accepted(bed, group).number
    prune(bed)

    def left() -> list[int]:
        return sorted(call.number for call in bed.store.group_calls(bed.admin, query()).objects)

    assert left() == [keyed.number, *ended[2:], of_other, live]
    assert accepted(bed, group, key="x:1").number == keyed.number
    bed.clock.move(REPEAT_WINDOW.total_seconds() + 1)
    prune(bed)
    assert left() == [*ended[2:], of_other, live]
