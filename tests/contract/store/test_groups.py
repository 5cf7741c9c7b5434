"""Groups: their selectors, and the calls that a call of a group makes."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from tests.support.stores import ORIGIN, StoreBed, call, query, second_intake, snapshot
from tutumd.errors import ConflictError, ForbiddenError, NotFoundError, TooManyCallsError
from tutumd.model import (
    Accepted,
    Access,
    ActionState,
    Call,
    Evaluation,
    EvaluationNeeded,
    Handler,
    NewHandler,
    NotQueued,
    Query,
    User,
)
from tutumd.model.groups import GroupAccepted, GroupSelector
from tutumd.ports.intake import CallResult
from tutumd.store.intake.intake import SqlIntake
from tutumd.store.tables.actions import group_calls
from tutumd.store.tables.services import handlers

pytestmark = pytest.mark.dialect
LATEST = (("docker.io/library/app", "latest"),)


def add_group(bed: StoreBed, *names: str, by: User | None = None, options: Any = (), **selector: Any) -> Handler:
    services = tuple(map(bed.service_uuid, names))
    taken = [group.name for group in bed.store.handlers(bed.admin, "", query()).objects]
    name = f"after {taken[-1]}" if taken else "all"
    new = NewHandler(name=name, selector=GroupSelector(services=services, **selector), options=dict(options))
    return bed.store.add_handlers(by or bed.admin, "", [new])[0]


def send(bed: StoreBed, *calls: Call, intake: SqlIntake | None = None) -> Sequence[CallResult]:
    results: Future[Sequence[CallResult]] = Future()
    (intake or bed.intake).store(calls, results.set_result)
    return results.result(60)


def call_of(group: Handler, **fields: Any) -> Call:
    return Call(service_uuid="", handler_uuid=group.uuid, amount=1, origin=ORIGIN, body_size=0, **fields)


def accepted(bed: StoreBed, group: Handler, *, intake: SqlIntake | None = None, **fields: Any) -> GroupAccepted:
    (result,) = send(bed, call_of(group, **fields), intake=intake)
    assert isinstance(result, GroupAccepted), result
    return result


def names(result: GroupAccepted) -> list[str]:
    return [line.service_name.rpartition("/")[2] for line in result.lines if line.action_uuid]


def test_a_call_makes_or_joins_one_action_for_each_service(bed: StoreBed) -> None:
    bed.show("web", "db", "cache")
    group = add_group(bed, "web", "db")
    alone = bed.call(bed.handler("db"))
    first, second = accepted(bed, group), accepted(bed, group)
    assert [(line.service_name, line.joined) for line in first.lines] == [("web", False), ("db", True)]
    assert first.lines[1].action_uuid == alone
    assert [line.action_uuid for line in second.lines] == [line.action_uuid for line in first.lines]
    assert all(line.joined for line in second.lines)
    assert second.number > first.number
    stored = bed.store.group_call(bed.admin, first.number)
    assert [line.action and line.action.uuid for line in stored.lines] == [line.action_uuid for line in first.lines]
    assert (stored.state, stored.group_number, stored.group_name) == (ActionState.PENDING, group.number, "all")
    assert bed.store.group_progress([first.refer(call_of(group))]) == {first.refer(call_of(group)): stored}
    assert bed.store.handler(bed.admin, "", group.uuid).calls == 2
    for success in (True, False):
        bed.finish(bed.claimed(), success=success)
    assert bed.store.group_call(bed.admin, second.number).state is ActionState.FAILED
    page = bed.store.group_calls(bed.admin, Query(filters={"handler": str(group.number)}))
    assert [each.number for each in page.objects] == [second.number, first.number]


def test_hidden_handlers_are_shown_as_the_group_and_listed_nowhere(bed: StoreBed) -> None:
    group = add_group(bed, "web")
    (line,) = accepted(bed, group).lines
    web = bed.service_uuid("web")
    assert not bed.store.handlers(bed.admin, web, query()).objects
    assert not bed.store.unused_handlers(bed.admin, None, query()).objects
    requester = bed.store.requesters(bed.admin, [line.action_uuid])[line.action_uuid]
    assert (requester.handler, requester.handler_name, requester.is_group) == (group.number, "all", True)
    (delivery,) = bed.store.deliveries(bed.admin, query(action=line.action_uuid)).objects
    assert (delivery.handler_number, delivery.handler_name, delivery.is_group) == (group.number, "all", True)
    with bed.database.read() as connection:
        hidden = connection.execute(sa.select(handlers).where(handlers.c.group_seq.isnot(None))).one()
    for reference in (hidden.uuid, hidden.seq):
        with pytest.raises(NotFoundError):
            bed.store.handler(bed.admin, web, reference)
    assert isinstance(send(bed, replace(call_of(group), handler_uuid=hidden.uuid))[0], NotFoundError)
    bed.store.delete_handler(bed.admin, "", group.uuid)
    assert isinstance(send(bed, call_of(group))[0], NotFoundError)
    with bed.database.read() as connection:
        assert not connection.execute(sa.select(handlers)).all()


def test_the_groups_of_an_owner_have_different_names(bed: StoreBed) -> None:
    bed.show("web")
    member = bed.store.add_user("ada", is_admin=False)
    group, other = add_group(bed, "web"), add_group(bed, "web")
    twin = NewHandler(name=group.name, selector=group.selector)
    with pytest.raises(ConflictError, match="has the name 'all': choose another"):
        bed.store.add_handlers(bed.admin, "", [twin])[0]
    with pytest.raises(ConflictError, match=f"group {group.number} has the name"):
        bed.store.change_handler(bed.admin, "", other.uuid, lambda _: twin)
    assert bed.store.change_handler(bed.admin, "", group.uuid, lambda _: twin).name == "all"
    image = NewHandler(name="all", selector=GroupSelector(image="*"))
    of_member = bed.store.add_handlers(member, "", [image])[0]
    assert bed.store.change_handler(bed.admin, "", of_member.uuid, lambda _: image).owner == member.name
    unnamed = replace(image, name=None)
    assert len(bed.store.add_handlers(member, "", [unnamed, unnamed])) == 2


def test_a_stack_and_an_image_are_resolved_at_each_call(bed: StoreBed) -> None:
    shop = replace(snapshot("web"), stack="shop")
    labeled = replace(snapshot("db"), part_of="shop")
    bed.sync(shop, labeled, replace(snapshot("other"), stack="shop", part_of="else"))
    stack = add_group(bed, engine="docker", stack="shop")
    assert names(accepted(bed, stack)) == ["db", "web"]
    bed.sync(shop)
    assert names(accepted(bed, stack)) == ["web"]
    images = {"s0": "ghcr.io/me/shop:1", "s1": "me/shop", "s2": "docker.io/me/shop:1@sha256:x"}
    bed.sync(*(replace(snapshot(name), image_name=image) for name, image in images.items()))
    group = add_group(bed, image="*/me/*")
    for repository, tag, found in (
        ("ghcr.io/me/shop", "1", ["s0"]),
        ("docker.io/me/shop", "latest", ["s1"]),
        ("docker.io/me/shop", "1", ["s2"]),
        ("docker.io/me/shop", "2", []),
        ("docker.io/me/sho", "latest", []),
    ):
        evaluation = Evaluation(version=0, pushed=((repository, tag),))
        (result,) = send(bed, call_of(group, evaluation=evaluation))
        assert isinstance(result, GroupAccepted if found else NotQueued)
        assert not isinstance(result, GroupAccepted) or names(result) == found
    allowed = Evaluation(version=0, pushed=(("docker.io/me/shop", "2"),), tag="2")
    assert names(accepted(bed, group, evaluation=allowed)) == ["s1", "s2"]
    tags = [action.tag for action in bed.store.actions(bed.admin, query(state="Pending")).objects if action.tag]
    assert tags == ["2", "2"]


def test_a_call_concerns_only_services_of_the_owner(bed: StoreBed) -> None:
    member = bed.store.add_user("ada", is_admin=False)
    bed.show("web", owner="ada")
    bed.sync(*(snapshot(name, owner="ada") for name in ("web", "db")), snapshot("foreign"))
    with pytest.raises(NotFoundError):
        add_group(bed, "web", "foreign", by=member)
    listed, matching = add_group(bed, "web", "db", by=member), add_group(bed, image="*", by=member)
    pushed = Evaluation(version=0, pushed=LATEST)
    assert names(accepted(bed, matching, evaluation=pushed)) == ["db", "web"]
    assert names(accepted(bed, listed)) == ["web", "db"]
    bed.sync(snapshot("web", owner="ada"), snapshot("db"), snapshot("foreign"))
    result = accepted(bed, listed)
    assert names(result) == ["web"]
    assert [line.note.code for line in result.lines if line.note] == ["service-gone"]
    assert names(accepted(bed, matching, evaluation=pushed)) == ["web"]
    bed.sync(snapshot("foreign"))
    (nothing,) = send(bed, call_of(listed))
    assert isinstance(nothing, NotQueued)
    assert nothing.skip is not None
    assert nothing.skip.code == "no-service"
    bed.store.remove_user("ada")
    assert isinstance(send(bed, call_of(listed))[0], NotFoundError)
    with bed.database.read() as connection:
        assert not connection.execute(sa.select(handlers)).all()
        assert not connection.execute(sa.select(group_calls)).all()


def test_more_than_fifty_services_are_a_conflict(bed: StoreBed) -> None:
    bed.sync(*(replace(snapshot(f"s{number}"), stack="shop") for number in range(51)))
    group = add_group(bed, engine="docker", stack="shop", options={"max_uses": 1})
    evaluation = Evaluation(version=0, max_uses=1)
    (result,) = send(bed, call_of(group, evaluation=evaluation))
    assert isinstance(result, ConflictError)
    assert not bed.has_pending_action()
    bed.sync(*(replace(snapshot(f"s{number}"), stack="shop") for number in range(50)))
    assert len(accepted(bed, group, evaluation=evaluation).lines) == 50


def test_limits_count_one_call(bed: StoreBed) -> None:
    group = add_group(bed, "web", "db", options={"max_uses": 2})
    assert isinstance(send(bed, call_of(group))[0], EvaluationNeeded)
    limited = Evaluation(version=0, max_uses=2, rate=(1, 60))
    accepted(bed, group, evaluation=limited)
    assert isinstance(send(bed, call_of(group, evaluation=limited))[0], TooManyCallsError)
    bed.clock.move(61)
    accepted(bed, group, evaluation=limited)
    bed.clock.move(61)
    assert isinstance(send(bed, call_of(group, evaluation=limited))[0], NotFoundError)
    assert bed.store.handler(bed.admin, "", group.uuid).uses == 2


def test_a_repetition_gets_the_same_group_call(bed: StoreBed, database_url: str) -> None:
    group = add_group(bed, "web", "db")
    sent = call_of(group, key="x:1")
    one, two, other = send(bed, sent, sent, replace(sent, key="x:2"))
    assert one == two
    assert isinstance(one, GroupAccepted)
    assert isinstance(other, GroupAccepted)
    assert one.number < other.number
    with second_intake(bed, database_url) as intake:
        assert accepted(bed, group, key="x:1", intake=intake) == one
    bed.clock.move(timedelta(hours=24, seconds=1).total_seconds())
    late = accepted(bed, group, key="x:1")
    assert late.number > other.number
    claim = bed.claimed()
    states = [line.state for line in accepted(bed, group, key="x:1").lines]
    assert sorted(states) == [ActionState.IN_PROGRESS, ActionState.PENDING]
    bed.finish(claim, success=False)
    assert accepted(bed, group, key="x:1").number > late.number


@pytest.mark.usefixtures("patient_locks")
def test_crossing_groups_and_plain_calls_do_not_deadlock(bed: StoreBed, database_url: str) -> None:
    bed.show(*(f"s{number}" for number in range(6)))
    members = [f"s{number}" for number in range(6)]
    groups = [add_group(bed, *members), add_group(bed, *reversed(members))]
    plain = bed.handler("s3")
    with second_intake(bed, database_url) as intake, ThreadPoolExecutor(8) as pool:
        sent = [
            pool.submit(send, bed, call_of(groups[number % 2]), call(plain), intake=each)
            for number in range(20)
            for each in (bed.intake, intake)
        ]
        results = [result for each in sent for result in each.result(60)]
    assert all(isinstance(result, GroupAccepted | Accepted) for result in results), results
    uuids = {line.action_uuid for result in results if isinstance(result, GroupAccepted) for line in result.lines}
    assert len(uuids) == 6


def test_changes_rotations_and_limited_credentials(bed: StoreBed) -> None:
    bed.sync(*(replace(snapshot(name), stack="shop") for name in ("web", "db")))
    group, stack = add_group(bed, "web"), add_group(bed, engine="docker", stack="shop")
    web, db = bed.service_uuid("web"), bed.service_uuid("db")
    changed = bed.store.change_handler(
        bed.admin,
        "",
        group.uuid,
        lambda old: NewHandler(name="two", selector=replace(old.selector, services=(db, web))),
    )
    assert (changed.name, changed.selector.services) == ("two", (db, web))
    assert names(accepted(bed, changed)) == ["db", "web"]
    rotated = bed.store.rotate_handler(bed.admin, "", group.uuid, bed.clock() + timedelta(minutes=1))
    assert isinstance(send(bed, call_of(group))[0], GroupAccepted)
    bed.clock.move(61)
    assert isinstance(send(bed, call_of(group))[0], NotFoundError)
    assert names(accepted(bed, rotated)) == ["db", "web"]
    accepted(bed, stack)
    limited = replace(bed.admin, access=Access(stack="shop"))
    assert [each.number for each in bed.store.handlers(limited, "", query()).objects] == [stack.number]
    assert bed.store.group_calls(limited, query()).total == 1
    with pytest.raises(ForbiddenError):
        add_group(bed, "web", by=limited)
    for access in (Access(service_uuid=web), Access(stack="other")):
        narrow = replace(bed.admin, access=access)
        assert not bed.store.handlers(narrow, "", query()).objects
        with pytest.raises(ForbiddenError):
            add_group(bed, engine="docker", stack="shop", by=narrow)
    entries = bed.store.audit(bed.admin).entries
    assert [entry.what for entry in entries if entry.handler_number == group.number][:2] == [
        "handler rotated",
        "handler changed",
    ]
