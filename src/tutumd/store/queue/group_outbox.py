"""Notifications of the ends of group calls: one for each target that wants all actions of a call together."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import Any

import sqlalchemy as sa

from tutumd.model import ActionState
from tutumd.model.notifications import Event, TargetKind
from tutumd.store.objects.groups import StoredLine, lines_from
from tutumd.store.objects.row_mapping import Row
from tutumd.store.queue import outbox, payloads
from tutumd.store.tables.actions import actions, group_calls
from tutumd.store.tables.notifications import repeats, targets
from tutumd.store.tables.services import services

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
_before = actions.alias("before")
_state_before = (
    sa.select(_before.c.state)
    .where(_before.c.service_uuid == actions.c.service_uuid, _before.c.verb == actions.c.verb)
    .where(_before.c.state.in_((ActionState.SUCCESS.value, ActionState.FAILED.value)))
    .where(_before.c.seq != actions.c.seq, _before.c.ended <= actions.c.ended)
    .order_by(_before.c.seq.desc())
    .limit(1)
    .scalar_subquery()
)


def add_group_call(connection: sa.Connection, number: int, now: datetime) -> set[str]:
    """Queue the notifications of a group call whose actions have all ended, and return the topics to publish.

    A target is told of the actions that it covers at this time. Equal failures are suppressed as the target requires.
    """
    call = connection.execute(sa.select(group_calls).where(group_calls.c.seq == number)).one()
    lines = {line.action_uuid: line for line in lines_from(call) if line.action_uuid}
    covered = connection.execute(_SELECT_COVERED, {"action_uuids": list(lines)}).all()
    if not covered:
        return set()
    recovered = _find_recovered(connection, lines)
    place = {uuid: index for index, uuid in enumerate(lines)}
    ordered = sorted(covered, key=lambda row: (row.seq, _ORDER.index(row.state), place[row.action_uuid]))
    new: list[outbox.New] = []
    for _, rows in groupby(ordered, key=attrgetter("seq")):
        of_target = list(rows)
        event, suppressed = _choose(connection, call, of_target, recovered, now)
        if event is not None:
            data = _describe(call, lines, of_target, now) | {"suppressed": suppressed}
            new.append((of_target[0], event, {"payload": payloads.payload_of(event, now, data)}))
    return outbox.add_new(connection, new, now)


def _find_recovered(connection: sa.Connection, action_uuids: Collection[str]) -> set[str]:
    """Return the actions that are the first success of their verb and service after a failure."""
    succeeded = sa.and_(actions.c.uuid.in_(action_uuids), actions.c.state == ActionState.SUCCESS.value)
    first = sa.and_(succeeded, _state_before == ActionState.FAILED.value)
    return set(connection.scalars(sa.select(actions.c.uuid).where(first)))


def _choose(
    connection: sa.Connection, call: Row, covered: Sequence[Row], recovered: Collection[str], now: datetime
) -> tuple[Event | None, int]:
    """Return the event of which a target is told, and how many equal failures it was not told of."""
    target = covered[0]
    key = {"subject": str(call.handler_seq), "verb": "group", "reason_code": target.reason_code}
    match target.state:
        case ActionState.CANCELED:
            return _wanted(target, Event.ACTION_CANCELED), 0
        case ActionState.FAILED:
            earlier = payloads.read(connection, key).get(target.seq)
            event = _wanted(target, Event.ACTION_FAILED)
            if event and target.repeat_s and not payloads.tell(connection, key, target, earlier, now):
                event = None
            return event, earlier.suppressed if earlier else 0
        case _:
            cleared = payloads.clear(connection, key, repeats.c.target_seq == target.seq)
            has_recovered = any(row.action_uuid in recovered for row in covered)
            if has_recovered and (event := _wanted(target, Event.ACTION_RECOVERED)):
                return event, cleared.get(target.seq, 0)
            return _wanted(target, Event.ACTION_SUCCEEDED), 0


def _wanted(target: Row, event: Event) -> Event | None:
    return event if event.value in target.events else None


def _describe(call: Row, lines: Mapping[str, StoredLine], covered: Sequence[Row], now: datetime) -> dict[str, Any]:
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
