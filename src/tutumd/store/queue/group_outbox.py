"""Notifications of the ends of group calls: one for each target that wants all actions of a call together."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import Any

import sqlalchemy as sa

from tutumd.model import ActionState
from tutumd.model.groups import GroupLine
from tutumd.model.notifications import TargetKind
from tutumd.store.objects.groups import lines_from
from tutumd.store.objects.row_mapping import Row
from tutumd.store.queue import outbox, payloads
from tutumd.store.tables import actions, group_calls, repeats, services, targets

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


def add_group_call(connection: sa.Connection, number: int, now: datetime) -> set[str]:
    """Queue the notifications of a group call whose actions have all ended, and return the topics to publish.

    A target is told of the actions that it covers at this time. Equal failures are suppressed as the target requires.
    """
    call = connection.execute(sa.select(group_calls).where(group_calls.c.seq == number)).one()
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
            data = _describe(call, lines, of_target, now) | {"suppressed": suppressed}
            new.append((target, event, {"payload": payloads.payload_of(event, now, data)}))
    return outbox.add_new(connection, new, now)


def _describe(call: Row, lines: Mapping[str, GroupLine], covered: Sequence[Row], now: datetime) -> dict[str, Any]:
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
