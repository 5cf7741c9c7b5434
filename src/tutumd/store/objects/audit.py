"""The audit log: the acts of users. An entry is written in the transaction of its event, so that both are stored or
neither.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from tutumd.model import Access, AuditEntry, AuditEvent, AuditFilters, AuditPage, Service, User, Via
from tutumd.store.objects.row_mapping import value_from
from tutumd.store.sql import dialect_of
from tutumd.store.tables import audit, storable

SERVER = "the server"
"""Name of the actor if no user acted. No user can have this name, because names contain no spaces."""
COMBINED_FOR = timedelta(hours=1)
MAX_A_DAY = 10_000
_NEAR = 50
"""Number of a user's entries that are searched for an equal entry."""
_APART = frozenset(
    {
        AuditEvent.HANDLER_CREATED,
        AuditEvent.HANDLER_ROTATED,
        AuditEvent.HANDLER_REVOKED,
        AuditEvent.USER_ADDED,
        AuditEvent.USER_REMOVED,
        AuditEvent.KEY_MADE,
        AuditEvent.KEY_REVOKED,
        AuditEvent.LOGIN_LINK_MADE,
    }
)
"""Events that are combined only if equal: `quotas` limits how often they happen."""
_REQUESTS = (AuditEvent.ACTION_SUBMITTED.value, AuditEvent.ACTION_RETRIED.value)
_READ_AT_ONCE = 1_000
_CLOCKS_DIFFER = timedelta(hours=1)
"""Maximum difference between the clocks of replicas."""
_MAX_NUMBER = 2**62


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
    access: Access | None = None,
) -> None:
    """Write an entry.

    Args:
        by: The user who acted; None: the server itself.
        handler: Its number. The handler's UUID is a credential: no argument may contain it, nor a key or token.
        action: Its UUID.
        access: Where an act without a user came from; None: from the server itself.
    """
    access = by.access if by else access
    row = {
        "user_name": by.name[:255] if by else SERVER,
        "via": (access.via if access else Via.COMMAND).value,
        "credential": storable(access.credential)[:64] if access else "tutumd",
        "address": storable(access.address)[:64] if access else "",
        "user_agent": storable(access.user_agent)[:512] if access else "",
        "what": what.value,
        "service_uuid": service and service.uuid,
        "service_name": storable(service.full_name)[:512] if service else "",
        "stack": storable(service.stack)[:255] if service else "",
        "handler_seq": handler,
        "action_uuid": action,
        "details": storable(details),
    }
    alike = _find_alike(connection, row, now)
    if alike is None:
        connection.execute(sa.insert(audit).values(at=now, **row))
    else:
        connection.execute(sa.update(audit).where(audit.c.seq == alike).values(count=audit.c.count + 1, last_at=now))


def describe_changes(before: Mapping[str, Any], after: Mapping[str, Any], *more: str) -> str:
    """Return the names of the fields that differ, without their values: some are secrets."""
    changed = sorted(name for name in {**before, **after} if before.get(name) != after.get(name))
    return "changed: " + (", ".join([*changed, *more]) or "nothing")


def _find_alike(connection: sa.Connection, row: Mapping[str, Any], now: datetime) -> int | None:
    """Return the number of the entry of the last hour with which a new entry is combined; None if the entry is
    separate.

    Entries with the same values are combined. The numbers of sessions are ignored, so that a program that signs in
    repeatedly causes one entry per hour. A user with too many entries in a day gets one entry for all events of a kind,
    and one for all sessions from an address.
    """
    own = sa.select(audit.c.seq).where(audit.c.user_name == row["user_name"]).order_by(audit.c.seq.desc())
    is_session = row["what"] in (AuditEvent.SESSION_STARTED, AuditEvent.SESSION_ENDED)
    same = [audit.c[name] == value for name, value in row.items() if name != "details" or not is_session]
    near = own.limit(1).offset(_NEAR).scalar_subquery()
    recent = own.where(audit.c.at > now - COMBINED_FOR).limit(1)
    alike = connection.scalar(recent.where(audit.c.seq > sa.func.coalesce(near, 0), *same))
    if alike is None and row["what"] not in _APART:
        oldest = connection.execute(own.add_columns(audit.c.at).limit(1).offset(MAX_A_DAY - 1)).first()
        if oldest is not None and oldest.at > now - timedelta(days=1):
            names = ("what", "credential", "address") if is_session else ("what", "credential")
            same = [audit.c[name] == row[name] for name in names]
            alike = connection.scalar(recent.where(audit.c.seq >= oldest.seq, *same))
    return alike


def read_page(
    connection: sa.Connection, viewer: User, filters: AuditFilters, before: int | None, limit: int
) -> AuditPage:
    """Implement `Accounts.audit`.

    The first requested value selects entries by its index. The other values filter the newest of these entries, up to
    the number that is read for a page: no index covers each combination.
    """
    equal, number, bounds = _list_equal(viewer, filters), audit.c.seq, _bounds(filters, before)
    first = None
    if equal:
        (name, value), *equal = equal
        first = audit.c[name], value
    newest_first = dialect_of(connection).newest_first(sa.select(audit), number, bounds, first)
    is_all = viewer.administers and not (equal or filters.since or filters.until)
    read = limit + 1 if is_all else max(limit + 1, _READ_AT_ONCE)
    read_entries = newest_first.limit(read).subquery()
    newest = read_entries.c
    chosen = sa.select(read_entries).where(
        *(newest[name] == value for name, value in equal), *_visible_to(viewer, newest)
    )
    if filters.since is not None:
        chosen = chosen.where(sa.func.coalesce(newest.last_at, newest.at) >= filters.since)
    if filters.until is not None:
        chosen = chosen.where(newest.at < filters.until)
    rows = connection.execute(chosen.order_by(newest.seq.desc()).limit(limit + 1)).all()
    below = rows[limit - 1].seq if len(rows) > limit else None
    if below is None:
        unread = connection.scalar(newest_first.with_only_columns(audit.c.seq).offset(read).limit(1))
        below = None if unread is None else unread + 1
    return AuditPage(
        entries=tuple(
            value_from(row, AuditEntry, number=row.seq, via=Via(row.via), handler_number=row.handler_seq)
            for row in rows[:limit]
        ),
        next=below,
    )


def read_requesters(
    connection: sa.Connection, viewer: User, action_uuids: Sequence[str]
) -> Mapping[str, tuple[str, ...]]:
    """Return the names of the users who requested actions, by UUID, from the entries that the viewer sees."""
    # With the limit, no other condition can choose an index that finds more entries.
    entries = sa.select(audit).where(audit.c.action_uuid.in_(action_uuids)).limit(_READ_AT_ONCE).subquery().c
    requests = (
        sa.select(entries.action_uuid, entries.user_name)
        .where(entries.what.in_(_REQUESTS), *_visible_to(viewer, entries))
        .distinct()
        .order_by(entries.user_name)
    )
    found: dict[str, tuple[str, ...]] = {}
    for uuid, name in connection.execute(requests):
        found[uuid] = (*found.get(uuid, ()), name)
    return found


def describe_requesters(connection: sa.Connection, action_uuid: str) -> list[str]:
    """Return the users who requested an action, for people, with the names of the API keys that they used."""
    entries = sa.select(audit).where(audit.c.action_uuid == action_uuid).limit(_READ_AT_ONCE).subquery().c
    requests = sa.select(entries.user_name, entries.via, entries.credential).where(entries.what.in_(_REQUESTS))
    return [
        f"{name} (key {credential})" if via == Via.API.value and credential else name
        for name, via, credential in connection.execute(requests.distinct().order_by(entries.user_name))
    ]


def _visible_to(viewer: User, entries: Any) -> Iterator[sa.ColumnElement[bool]]:
    """Yield the conditions that a user who does not administer the server sees entries of any service."""
    if not viewer.administers:
        yield entries.user_name == viewer.name
        # A user of the operating system or a removed user may have the same name.
        yield entries.via != Via.COMMAND.value
        yield entries.at >= viewer.created


def _list_equal(viewer: User, filters: AuditFilters) -> list[tuple[str, str]]:
    """Return the columns and their required values: first the viewer's limits, then the values that few entries share.

    Otherwise the start of the next page would reveal entries that the viewer does not see.
    """
    wanted = (
        ("service_uuid", viewer.access.service_uuid),
        ("stack", viewer.access.stack),
        ("user_name", None if viewer.administers else viewer.name),
        ("service_name", filters.service_name),
        ("stack", filters.stack),
        ("user_name", filters.user_name),
        ("what", filters.what),
        ("via", filters.via),
    )
    return [(name, value) for name, value in wanted if value is not None]


def _bounds(filters: AuditFilters, before: int | None) -> tuple[Any, Any]:
    """Return the lowest and the highest number of the selected entries. Times have only nearly the order of numbers."""
    lowest: Any = sa.literal(0)
    highest: Any = sa.literal(_MAX_NUMBER if before is None else before - 1)
    other = audit.alias().c
    if filters.since is not None:
        older = (
            sa.select(other.seq)
            .where(other.at < filters.since - COMBINED_FOR - _CLOCKS_DIFFER)
            .order_by(other.at.desc())
            .limit(1)
        )
        lowest = sa.func.coalesce(older.scalar_subquery(), 0)
    if filters.until is not None:
        newer = sa.select(other.seq).where(other.at >= filters.until + _CLOCKS_DIFFER).order_by(other.at).limit(1)
        found = sa.func.coalesce(newer.scalar_subquery(), _MAX_NUMBER)
        highest = sa.case((found < highest, found), else_=highest)
    return lowest, highest


def select_old(before: datetime, limit: int) -> sa.Select[Any]:
    """Select the numbers of the oldest entries written before a time."""
    oldest = sa.select(audit.c.seq, audit.c.at).order_by(audit.c.seq).limit(limit).subquery()
    return sa.select(oldest.c.seq).where(oldest.c.at < before)
