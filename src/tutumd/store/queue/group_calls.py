"""Group calls after their intake: the order of their actions, and their ends with the notifications."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from graphlib import CycleError, TopologicalSorter
from itertools import groupby, pairwise
from operator import attrgetter
from typing import Any, NamedTuple

import sqlalchemy as sa

from tutumd.errors import ConflictError, Reason
from tutumd.model import ActionState
from tutumd.model.groups import GroupLine, OnFailure, Sequence, state_of_call
from tutumd.model.notifications import TargetKind
from tutumd.store.objects.groups import lines_from, read_states
from tutumd.store.objects.row_mapping import Row
from tutumd.store.queue import holds, outbox, payloads
from tutumd.store.queue.snapshots import cancel_pending
from tutumd.store.sql import ENDS
from tutumd.store.tables import action_predecessors, actions, group_calls, repeats, services, targets

_AT_ONCE = 200
"""Followers and calls of groups that one transaction settles."""

OF_ANOTHER = "a service of another user"
"""How an action names a predecessor whose service has another owner."""


class Order(NamedTuple):
    """The order of the services of a call, by their UUIDs.

    Attributes:
        uuids: Each service after its predecessors.
        predecessors: Those of each service that has some.
        notes: Reasons why a dependency of a service has no effect.
    """

    uuids: tuple[str, ...]
    predecessors: Mapping[str, tuple[str, ...]]
    notes: Mapping[str, Reason]


def order_services(members: Iterable[Any], sequence: Sequence) -> Order:
    """Return the order in which a call redeploys services.

    Args:
        members: Rows of the services in the order of the group, whose `stack` is `part_of` or the stack.

    Raises:
        ConflictError: The services depend on each other in a cycle.
    """
    by_uuid = {member.uuid: member for member in members}
    by_name: dict[tuple[str, str, str], list[str]] = {}
    for each in by_uuid.values():
        # On Swarm, the name of the service begins with the stack.
        for name in {each.name, each.name.removeprefix(f"{each.stack}_")}:
            by_name.setdefault((each.engine, each.stack, name), []).append(each.uuid)
    predecessors: dict[str, tuple[str, ...]] = {}
    notes = {}
    if sequence is Sequence.LISTED:
        predecessors = {follower: (before,) for before, follower in pairwise(by_uuid)}
    elif sequence is Sequence.DEPENDS_ON:
        for each in by_uuid.values():
            found = {name: by_name.get((each.engine, each.stack, name), ()) for name in each.after}
            if before := tuple(uuid for uuids in found.values() for uuid in uuids):
                predecessors[each.uuid] = before
            if outside := [name for name, uuids in found.items() if not uuids]:
                notes[each.uuid] = Reason("no-such-member", (", ".join(outside),))
    try:
        order = TopologicalSorter({uuid: predecessors.get(uuid, ()) for uuid in by_uuid}).static_order()
        return Order(tuple(order), predecessors, notes)
    except CycleError as error:
        path = " after ".join(by_uuid[uuid].full_name for uuid in reversed(error.args[1]))
        raise ConflictError(f"the services depend on each other in a cycle: {path}") from None


def hold_followers(
    connection: sa.Connection,
    group_call: int,
    waits: Mapping[int, Mapping[int, str]],
    on_failure: OnFailure,
    now: datetime,
) -> None:
    """Let new actions of a call of a group wait for others.

    Args:
        waits: For each new action the `seq` of its predecessors, which are older, and the names of their services.
    """
    rows = [
        {"action_seq": seq, "predecessor_seq": before, "on_failure": on_failure.value, "group_call": group_call}
        for seq, names in waits.items()
        for before in names
    ]
    connection.execute(sa.insert(action_predecessors), rows)
    reasons = {seq: _reason(names.values(), group_call) for seq, names in waits.items()}
    holds.set_predecessors(connection, reasons, now)


def _reason(names: Iterable[str], group_call: int) -> Reason:
    return Reason("predecessor", (", ".join(names), str(group_call)))


_p, _call = action_predecessors.c, group_calls.c
_before = actions.alias("before")
# Literals, so that PostgreSQL uses the index of live actions.
_live = sa.select(_before.c.seq).where(
    _before.c.state.in_([sa.literal_column("'Pending'"), sa.literal_column("'In progress'")])
)
_HAS_ENDED = ~_live.where(_before.c.seq == _p.predecessor_seq).correlate(action_predecessors).exists()
_OVERDUE: sa.Select[Any] = sa.select(_call.seq, _call.handler_seq, _call.lines).where(
    _call.ended.is_(None), ~_live.where(_before.c.seq == _call.waits_for).correlate(group_calls).exists()
)
_UNSETTLED = sa.select(_p.action_seq).where(_HAS_ENDED)
# By group, so that no two workers deadlock when they record what they tell of its calls.
_SOME_OVERDUE = (
    _OVERDUE.order_by(_call.handler_seq, _call.seq).limit(_AT_ONCE).with_for_update(of=group_calls, skip_locked=True)
)
_SOME_UNSETTLED = _UNSETTLED.limit(_AT_ONCE)
IS_UNSETTLED = sa.or_(_UNSETTLED.correlate(None).exists(), _OVERDUE.correlate(None).exists()).label("is_unsettled")
"""The condition that `settle` has something to do. It is cheap if no action waits for another."""


def settle(connection: sa.Connection, now: datetime) -> set[str]:
    """Release or cancel actions whose predecessors have ended, end calls of groups, and return the topics to publish.

    What another transaction has locked is left for the next time. The caller must not wait for a lock afterwards.
    """
    followers = connection.scalars(_SOME_UNSETTLED).all()
    return (_settle_followers(connection, followers, now) if followers else set()) | _end_calls(connection, now)


_named = services.alias("named")
_follower = services.alias("follower")
_ENDS = {ActionState.FAILED: "{0} failed", ActionState.CANCELED: "{0} was canceled"}
_LIVE_STATES = (ActionState.PENDING, ActionState.IN_PROGRESS)
_NO_FAILURES = (*_LIVE_STATES, ActionState.SUCCESS)
_is_of_owner = _named.c.owner.is_not_distinct_from(_follower.c.owner)
# All predecessors of actions, with their states.
_PREDECESSORS = (
    sa.select(
        action_predecessors,
        actions.c.engine,
        _before.c.state,
        sa.case((_is_of_owner, _named.c.full_name), else_=OF_ANOTHER).label("service_name"),
    )
    .join(actions, actions.c.seq == _p.action_seq)
    .join(_follower, _follower.c.uuid == actions.c.service_uuid)
    .outerjoin(_before, _before.c.seq == _p.predecessor_seq)
    .outerjoin(_named, _named.c.uuid == _before.c.service_uuid)
    .where(_p.action_seq.in_(sa.bindparam("seqs", expanding=True)))
    .order_by(_p.action_seq, _p.predecessor_seq)
)


def _settle_followers(connection: sa.Connection, seqs: Iterable[int], now: datetime) -> set[str]:
    of_services = sa.select(actions.c.seq).join(services, services.c.uuid == actions.c.service_uuid)
    these = of_services.where(actions.c.seq.in_(list(seqs))).order_by(services.c.uuid)
    locked = connection.scalars(these.with_for_update(of=services, key_share=True, skip_locked=True)).all()
    # Read only after locking: a call may have joined a follower, or a person may have overridden its hold.
    rows = connection.execute(_PREDECESSORS, {"seqs": locked}).all()
    waiting = [row for row in rows if row.state in _LIVE_STATES]
    canceled = {
        row.action_seq: _ENDS.get(row.state, "the action of a predecessor was deleted").format(row.service_name)
        for row in rows
        if row.state not in _NO_FAILURES and row.on_failure == OnFailure.CANCEL
    }
    reasons: dict[int, Reason | None] = {row.action_seq: None for row in rows}
    for seq, left in groupby(waiting, key=attrgetter("action_seq")):
        if seq not in canceled:
            of_action = list(left)
            reasons[seq] = _reason([row.service_name for row in of_action], of_action[0].group_call)
    ended = {row.predecessor_seq for row in rows}.difference(row.predecessor_seq for row in waiting)
    is_over = sa.and_(_p.action_seq.in_(reasons), sa.or_(_p.predecessor_seq.in_(ended), _p.action_seq.in_(canceled)))
    connection.execute(sa.delete(action_predecessors).where(is_over))
    holds.set_predecessors(connection, reasons, now)
    if not canceled:
        return {row.engine for row in rows}
    why = sa.case(canceled, value=actions.c.seq)
    topics = cancel_pending(connection, actions.c.seq.in_(canceled), now, why)
    return topics | {ENDS, *(row.engine for row in rows)}


def _end_calls(connection: sa.Connection, now: datetime) -> set[str]:
    called = [
        (row.handler_seq, row.seq, frozenset(line.action_seq for line in lines_from(row) if line.action_seq))
        for row in connection.execute(_SOME_OVERDUE)
    ]
    if not called:
        return set()
    states = read_states(connection, frozenset().union(*(of_call for _, _, of_call in called)))
    ended: defaultdict[tuple[int, frozenset[int]], list[int]] = defaultdict(list)
    for group, seq, of_call in called:
        left = max((each for each in of_call if states.get(each) in _LIVE_STATES), default=None)
        state = state_of_call([states.get(each) for each in of_call])
        update = sa.update(group_calls).where(_call.seq == seq)
        connection.execute(update.values(waits_for=left) if left else update.values(ended=now, state=state.value))
        if left is None:
            ended[group, of_call].append(seq)
    return {ENDS}.union(*(add_group_call(connection, numbers, now) for numbers in ended.values())) if ended else set()


_MAX_REASON_CHARS = 200
_ORDER = (ActionState.FAILED, ActionState.CANCELED, ActionState.SUCCESS)
"""The order of the lines in a message; the state of the first line is that of the call."""

_SELECT_COVERED = outbox.SELECT_COVERING.add_columns(
    actions.c.reason,
    actions.c.engine,
    actions.c.caller,
    services.c.full_name,
    services.c.name.label("service_name"),
    services.c.stack.label("service_stack"),
).where(
    actions.c.uuid.in_(sa.bindparam("action_uuids", expanding=True)),
    targets.c.per_group_call,
    targets.c.kind != TargetKind.FORGE.value,
)


def add_group_call(connection: sa.Connection, numbers: list[int], now: datetime) -> set[str]:
    """Queue the notifications of group calls whose actions have all ended, and return the topics to publish.

    A target is told of the actions that it covers at this time. Equal failures are suppressed as the target requires.

    Args:
        numbers: Calls of one group with the same actions, oldest first: the first call stands for all.
    """
    call = connection.execute(sa.select(group_calls).where(group_calls.c.seq == numbers[0])).one()
    lines = {line.action_uuid: line for line in lines_from(call) if line.action_uuid}
    covered = connection.execute(_SELECT_COVERED, {"action_uuids": list(lines)}).all()
    if not covered:
        return set()
    recovered = outbox.find_recovered(connection, lines)
    place = {uuid: index for index, uuid in enumerate(lines)}
    ordered = sorted(covered, key=lambda row: (row.seq, _ORDER.index(row.state), place[row.action_uuid]))
    new: list[outbox.New] = []
    for _, rows in groupby(ordered, key=attrgetter("seq")):
        of_target = list(rows)
        first = of_target[0]
        key = {"subject": str(call.handler_seq), "verb": "group", "reason_code": first.reason_code}
        has_recovered = any(row.action_uuid in recovered for row in of_target)
        is_target = repeats.c.target_seq == first.seq
        for target, event, suppressed in outbox.choose(
            connection, first.state, key, [first], now, is_target, has_recovered=has_recovered
        ):
            data = _describe(call, lines, of_target, now)
            data |= {"calls": {"count": len(numbers)}, "suppressed": suppressed}
            new.append((target, event, {"payload": payloads.payload_of(event, now, data)}))
    return outbox.add_new(connection, new, now)


def _describe(call: Row, lines: Mapping[str, GroupLine], covered: list[Row], now: datetime) -> dict[str, Any]:
    first = covered[0]
    reason = f"{first.full_name}: {first.reason}" if first.reason else first.full_name
    is_success = first.state == ActionState.SUCCESS
    return {
        "group": {"number": call.handler_seq, "name": call.name},
        "group_call": {
            "number": call.seq,
            "state": first.state,
            "received": payloads.iso(call.received),
            "ended": payloads.iso(now),
            "caller": first.caller,
        },
        "reason": payloads.reason_of("", "") if is_success else payloads.reason_of(first.reason_code, reason),
        "count": len(covered),
        "lines": [
            {
                "service": {
                    "uuid": row.subject,
                    "name": row.service_name,
                    "stack": row.service_stack,
                    "engine": row.engine,
                },
                "action": {"uuid": row.action_uuid, "operation": row.verb, "state": row.state},
                "joined": lines[row.action_uuid].joined,
                "reason": payloads.reason_of(row.reason_code, row.reason[:_MAX_REASON_CHARS]),
            }
            for row in covered
        ],
    }
