"""The audit log: who did what. An entry is written in the transaction of what it tells, so there is both or neither."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from tutumd.model import AuditEntry, AuditEvent, Service, User, Via
from tutumd.store.row_mapping import Row, value_from
from tutumd.store.tables import audit, services, storable

SERVER = "the server"
"""Name of who did what no user did. No user can have it, because names contain no spaces."""


def record(
    connection: sa.Connection,
    by: User | None,
    what: AuditEvent,
    now: datetime,
    *,
    service: Service | None = None,
    handler: int | None = None,
    action: str | None = None,
    details: str = "",
) -> None:
    """Write an entry.

    Args:
        by: Who did it; None: the server itself.
        handler: Its number. Its UUID is a credential, and must be in no argument, as must no key or token.
        action: Its UUID.
    """
    access = by.access if by else None
    connection.execute(
        sa.insert(audit).values(
            at=now,
            user_name=by.name[:255] if by else SERVER,
            via=(access.via if access else Via.COMMAND).value,
            credential=storable(access.credential)[:64] if access else "tutumd",
            address=storable(access.address)[:64] if access else "",
            user_agent=storable(access.user_agent)[:512] if access else "",
            what=what.value,
            service_uuid=service and service.uuid,
            service_name=storable(service.full_name)[:512] if service else "",
            handler_seq=handler,
            action_uuid=action,
            details=storable(details),
        )
    )


def read_entries(connection: sa.Connection, viewer: User, before: int | None, limit: int) -> tuple[AuditEntry, ...]:
    """Implement `Accounts.audit`."""
    statement = sa.select(audit).where(_is_visible(viewer)).order_by(audit.c.seq.desc()).limit(limit)
    if before is not None:
        statement = statement.where(audit.c.seq < before)
    return tuple(map(_entry_from, connection.execute(statement)))


def _is_visible(viewer: User) -> sa.ColumnElement[bool]:
    if viewer.administers:
        return sa.true()
    conditions = [
        audit.c.user_name == viewer.name,
        # A user of the operating system may have the same name, and so may a user that was removed.
        audit.c.via != Via.COMMAND.value,
        audit.c.at >= viewer.created,
    ]
    if viewer.access.service_uuid is not None:
        conditions.append(audit.c.service_uuid == viewer.access.service_uuid)
    if viewer.access.stack is not None:
        of_stack = sa.select(services.c.uuid).where(services.c.stack == viewer.access.stack)
        conditions.append(audit.c.service_uuid.in_(of_stack))
    return sa.and_(*conditions)


def _entry_from(row: Row) -> AuditEntry:
    return value_from(row, AuditEntry, number=row.seq, via=Via(row.via), handler_number=row.handler_seq)


def select_old(before: datetime, limit: int) -> sa.Select[Any]:
    """Select the numbers of the oldest entries, of those that were written before a time."""
    oldest = sa.select(audit.c.seq, audit.c.at).order_by(audit.c.seq).limit(limit).subquery()
    return sa.select(oldest.c.seq).where(oldest.c.at < before)
