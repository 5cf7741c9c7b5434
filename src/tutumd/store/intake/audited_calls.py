"""Calls in the audit log: those that created an action, if their caller is known by an identity token."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

import sqlalchemy as sa

from tutumd.model import Accepted, Access, AuditEvent, Call
from tutumd.model.groups import GroupAccepted
from tutumd.ports.intake import CallResult
from tutumd.store.objects import audit
from tutumd.store.objects.row_mapping import read_service


def record(
    connection: sa.Connection,
    calls: Sequence[Call],
    results: Sequence[CallResult],
    new_actions: Mapping[str, int],
    now: datetime,
) -> None:
    """Write into the audit log who made the actions of `new_actions`, by UUID."""
    left = set(new_actions)
    for call, result in zip(calls, results, strict=True):
        for service_uuid, action_uuid in _actions_of(call, result) if left else ():
            caller = call.evaluation.caller if call.evaluation else None
            is_first = action_uuid in left
            left.discard(action_uuid)
            if is_first and caller:
                service = read_service(connection, None, service_uuid)
                audit.record(
                    connection,
                    None,
                    AuditEvent.ACTION_CALLED,
                    now,
                    service=service,
                    action=action_uuid,
                    details=str(caller),
                    access=Access(
                        credential="identity token", address=call.origin.address, user_agent=call.origin.user_agent
                    ),
                )


def _actions_of(call: Call, result: CallResult) -> Iterator[tuple[str, str]]:
    """Yield service and action of a call, or of each line of a group's call."""
    if isinstance(result, Accepted):
        yield call.service_uuid, result.action_uuid
    elif isinstance(result, GroupAccepted):
        yield from ((line.service_uuid, line.action_uuid) for line in result.lines)
