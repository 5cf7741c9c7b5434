"""Calls in the audit log: those whose caller is known by an identity token."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa

from tutumd.model import Accepted, AuditEvent, Call
from tutumd.model.groups import GroupAccepted
from tutumd.ports.intake import CallResult
from tutumd.store.objects import audit
from tutumd.store.objects.row_mapping import read_service
from tutumd.store.tables.accounts import audit as audit_entries

_ALIKE = (
    sa.select(sa.func.max(audit_entries.c.seq))
    .where(
        audit_entries.c.action_uuid == sa.bindparam("of_action"),
        audit_entries.c.handler_seq == sa.bindparam("of_handler"),
        audit_entries.c.what == AuditEvent.CALL_ACCEPTED.value,
        audit_entries.c.details == sa.bindparam("of_details"),
        audit_entries.c.at > sa.bindparam("since"),
    )
    .scalar_subquery()
)
_COUNT_AGAIN = (
    sa.update(audit_entries)
    .where(audit_entries.c.seq == _ALIKE)
    .values(count=audit_entries.c.count + sa.bindparam("more"), last_at=sa.bindparam("now"))
)
"""Combines calls with the entry of their action. It takes a tenth of the time of `audit.record`."""


def record(connection: sa.Connection, calls: Sequence[Call], results: Sequence[CallResult], now: datetime) -> None:
    """Write the accepted calls with identity tokens into the audit log: one entry for equal calls."""
    accepted = Counter(
        (call.service_uuid, result.handler_seq, getattr(result, "action_uuid", None), str(call.evaluation.caller))
        for call, result in zip(calls, results, strict=True)
        if isinstance(result, Accepted | GroupAccepted)
        and call.evaluation is not None
        and call.evaluation.caller is not None
    )
    for (service_uuid, handler_seq, action_uuid, details), count in accepted.items():
        alike = {"of_action": action_uuid, "of_handler": handler_seq, "of_details": details}
        again = {**alike, "since": now - audit.COMBINED_FOR, "more": count, "now": now}
        if action_uuid and connection.execute(_COUNT_AGAIN, again).rowcount:
            continue
        audit.record(
            connection,
            None,
            AuditEvent.CALL_ACCEPTED,
            now,
            service=read_service(connection, None, service_uuid) if service_uuid else None,
            handler=handler_seq,
            action=action_uuid,
            details=details,
            count=count,
        )
