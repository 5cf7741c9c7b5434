"""The audit log: who did what. An entry is written in the transaction of what it tells, so there is both or neither."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from tutumd.model import AuditEntry, AuditEvent, Service, User, Via
from tutumd.store.row_mapping import Row, value_from
from tutumd.store.tables.accounts import audit
from tutumd.store.tables.columns import storable
from tutumd.store.tables.services import services

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
    statement = sa.select(audit).where(_is_visible(viewer, audit), _is_below(audit, before))
    if viewer.access.stack is None and viewer.access.service_uuid is not None:
        statement = statement.where(audit.c.service_uuid == viewer.access.service_uuid)
    elif viewer.access.stack is not None:
        numbers = _select_of_stack(viewer, before, limit, has_lateral=connection.dialect.name == "postgresql")
        statement = statement.where(audit.c.seq.in_(numbers))
    newest = statement.order_by(audit.c.seq.desc()).limit(limit)
    return tuple(map(_entry_from, connection.execute(newest)))


def _is_visible(viewer: User, table: Any) -> sa.ColumnElement[bool]:
    """Return the condition on an entry, but for that on its service."""
    if viewer.administers:
        return sa.true()
    # Narrow credentials find entries by services: by the index of users, all that the user ever did would be read.
    name = table.c.user_name + "" if viewer.access.is_narrow else table.c.user_name
    # A user of the operating system may have the same name, and so may a user that was removed.
    return sa.and_(name == viewer.name, table.c.via != Via.COMMAND.value, table.c.at >= viewer.created)


def _is_below(table: Any, before: int | None) -> sa.ColumnElement[bool]:
    return sa.true() if before is None else table.c.seq < before


def _select_of_stack(viewer: User, before: int | None, limit: int, *, has_lateral: bool) -> sa.Select[Any]:
    """Select the numbers of the newest entries of the viewer's stack, reading of each service no more than `limit`."""
    nth = audit.alias("nth")
    of_service = (
        sa.select(nth.c.seq)
        .where(nth.c.service_uuid == services.c.uuid, _is_visible(viewer, nth), _is_below(nth, before))
        .order_by(nth.c.seq.desc())
        .correlate(services)
    )
    number: sa.ColumnElement[int] = audit.c.seq
    if has_lateral:
        newest = of_service.limit(limit).lateral()
        number = newest.c.seq
        numbers = sa.select(number).select_from(services.join(newest, sa.true()))
    else:
        start = of_service.limit(1).offset(limit - 1).scalar_subquery()
        numbers = (
            sa.select(number)
            .join(services, services.c.uuid == audit.c.service_uuid)
            .where(_is_visible(viewer, audit), _is_below(audit, before), number >= sa.func.coalesce(start, 0))
        )
    given = ((services.c.stack, viewer.access.stack), (services.c.uuid, viewer.access.service_uuid))
    numbers = numbers.where(*(column == value for column, value in given if value is not None))
    # Not by the number itself: SQLite would read the whole log in that order, to look each entry's service up.
    newest_first = numbers.order_by((number + 0).desc())
    return sa.select(newest_first.limit(limit).subquery().c.seq)


def _entry_from(row: Row) -> AuditEntry:
    return value_from(row, AuditEntry, number=row.seq, via=Via(row.via), handler_number=row.handler_seq)


def select_old(before: datetime, limit: int) -> sa.Select[Any]:
    """Select the numbers of the oldest entries, of those that were written before a time."""
    oldest = sa.select(audit.c.seq, audit.c.at).order_by(audit.c.seq).limit(limit).subquery()
    return sa.select(oldest.c.seq).where(oldest.c.at < before)
