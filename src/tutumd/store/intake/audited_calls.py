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
