"""Holds: why pending actions may not start yet.

`actions.due` is the latest end of the holds of an action, so the end of a hold needs no write.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from itertools import chain, groupby
from operator import attrgetter
from typing import Any

import sqlalchemy as sa

from tutumd.errors import Reason, decode_reasons, encode_reasons
from tutumd.model import ActionState, Hold, HoldKind, Verb
from tutumd.model.freeze import FreezeWindow, find_freeze
from tutumd.store.objects.row_mapping import value_from
from tutumd.store.sql import upsert
from tutumd.store.tables import (
    UtcTime,
    action_holds,
    action_predecessors,
    actions,
    freeze_windows,
    service_holds,
    services,
    storable,
    users,
)

NEVER = datetime(3000, 1, 1, tzinfo=UTC)
"""Due time of an action with an open-ended hold. Database sums of thousands of such times are below 2^63."""

ANY_WINDOW = "EXISTS (SELECT 1 FROM freeze_windows)"
"""The condition, in the SQL of both databases, that there is a window, active or not."""
IS_SERVERWIDE = sa.and_(freeze_windows.c.service_uuid.is_(None), freeze_windows.c.stack.is_(None))
ACTS_ON = sa.and_(
    sa.or_(freeze_windows.c.service_uuid == services.c.uuid, freeze_windows.c.stack == services.c.stack, IS_SERVERWIDE),
    sa.or_(users.c.is_admin, users.c.name == services.c.owner),
)
"""The condition that a window of a user acts on a service."""

_named = services.alias("named")
_ORDER = tuple(HoldKind)
_Row = tuple[datetime | None, str, str]
"""End, reason and author of a hold, as `action_holds` stores them."""


def hold_service(
    connection: sa.Connection,
    service_uuid: str,
    *,
    until: datetime | None,
    reason: str,
    by: str,
    is_of_rollback: bool,
    now: datetime,
) -> None:
    """Hold the redeploys of a locked service, instead of its earlier hold. The hold of a rollback stays one."""
    before = connection.execute(_select_holds([service_uuid], now)).first()
    upsert(
        connection,
        service_holds,
        ["service_uuid"],
        {
            "service_uuid": service_uuid,
            "until": until,
            "reason": storable(reason),
            "by": by[:255],
            "since": now,
            "is_of_rollback": is_of_rollback or bool(before and before.is_of_rollback),
        },
    )
    refresh(connection, [service_uuid], now)


def resume_service(connection: sa.Connection, service_uuid: str, now: datetime) -> bool:
    """Remove the hold of a locked service; return whether it had a valid one."""
    was_held = connection.execute(_select_holds([service_uuid], now)).first() is not None
    connection.execute(sa.delete(service_holds).where(service_holds.c.service_uuid == service_uuid))
    refresh(connection, [service_uuid], now)
    return was_held


def refresh(connection: sa.Connection, service_uuids: Collection[str], now: datetime) -> bool:
    """Let holds and freeze windows of locked services apply to their pending redeploys as they are now; return whether
    that changed anything.

    Call it after a change of these holds and windows. `insert_actions` calls it for new redeploys.
    """
    wanted = _read_wanted(connection, service_uuids, now)
    gone: dict[HoldKind, list[int]] = {}
    new = []
    rows = connection.execute(_PENDING, {"service_uuids": list(service_uuids)})
    for action_seq, of_action in groupby(rows, key=attrgetter("seq")):
        held = list(of_action)
        after = wanted.get(held[0].service_uuid, {})
        before = {row.kind: (row.until, row.reason, row.by) for row in held if row.kind}
        for kind in (HoldKind.HOLD, HoldKind.FREEZE):
            if before.get(kind) != after.get(kind):
                gone.setdefault(kind, []).append(action_seq)
                new += [_row(action_seq, kind, *after[kind])] if kind in after else []
    if gone:
        _replace(connection, gone, new, now)
    return bool(gone)


def set_debounces(connection: sa.Connection, ends: Mapping[int, datetime | None], now: datetime) -> None:
    """Set the ends of the debounces of pending actions, by their `seq`; None: no debounce holds it."""
    reason = encode_reasons([Reason("debounce")])
    new = [_row(seq, HoldKind.DEBOUNCE, end, reason) for seq, end in ends.items() if end]
    _replace(connection, {HoldKind.DEBOUNCE: list(ends)}, new, now)


def set_predecessors(connection: sa.Connection, reasons: Mapping[int, Reason | None], now: datetime) -> None:
    """Set why pending actions wait for others, by their `seq`; None: they no longer do."""
    new = [_row(seq, HoldKind.PREDECESSOR, None, encode_reasons([why])) for seq, why in reasons.items() if why]
    _replace(connection, {HoldKind.PREDECESSOR: list(reasons)}, new, now)


def override(connection: sa.Connection, action_seq: int, now: datetime) -> None:
    """Make a pending action due: holds and freeze windows do not apply to it any longer, and it waits for no other."""
    connection.execute(sa.update(actions).where(actions.c.seq == action_seq).values(overrides=True))
    connection.execute(sa.delete(action_predecessors).where(action_predecessors.c.action_seq == action_seq))
    _replace(connection, {kind: [action_seq] for kind in HoldKind}, [], now)


def _row(action_seq: int, kind: HoldKind, until: datetime | None, reason: str, by: str = "") -> dict[str, Any]:
    return {"action_seq": action_seq, "kind": kind.value, "until": until, "reason": reason, "by": by}


def _replace(
    connection: sa.Connection, gone: Mapping[HoldKind, Sequence[int]], new: Sequence[Mapping[str, Any]], now: datetime
) -> None:
    """Replace holds of pending actions, which are given by their `seq`, and set the due times.

    Without a hold that lasts, an action that was held is due now; other actions have been due for some time.
    """
    # By kind: PostgreSQL refuses thousands of pairs in one statement, and is slow with thousands of statements.
    for kind, seqs in gone.items():
        is_gone = sa.and_(action_holds.c.kind == kind.value, action_holds.c.action_seq.in_(seqs))
        connection.execute(sa.delete(action_holds).where(is_gone))
    if new:
        connection.execute(sa.insert(action_holds), new)
    at = sa.literal(now, UtcTime)
    latest = (
        sa.select(sa.func.max(sa.func.coalesce(action_holds.c.until, sa.literal(NEVER, UtcTime))))
        .where(action_holds.c.action_seq == actions.c.seq)
        .scalar_subquery()
    )
    due = sa.case((latest > at, latest), (actions.c.due > at, at), else_=actions.c.due)
    connection.execute(sa.update(actions).where(actions.c.seq.in_({*chain(*gone.values())})).values(due=due))


def _read_wanted(
    connection: sa.Connection, service_uuids: Collection[str], now: datetime
) -> dict[str, dict[HoldKind, _Row]]:
    """Return the holds and freeze windows that apply now, by service."""
    wanted: dict[str, dict[HoldKind, _Row]] = {}
    for row in connection.execute(_select_holds(service_uuids, now)):
        reason = encode_reasons([Reason("held-because", (row.reason,)) if row.reason else Reason("held")])
        wanted.setdefault(row.service_uuid, {})[HoldKind.HOLD] = (row.until, reason, row.by)
    for uuid, freeze in read_freezes(connection, service_uuids, now).items():
        wanted.setdefault(uuid, {})[HoldKind.FREEZE] = (freeze.until, encode_reasons([freeze.reason]), freeze.by)
    return wanted


def _select_holds(service_uuids: Collection[str], now: datetime) -> sa.Select[Any]:
    of_services = service_holds.c.service_uuid.in_(list(service_uuids))
    return sa.select(service_holds).where(of_services, lasts(service_holds, now))


# As text: SQLAlchemy omits the names of tables after RETURNING.
MAY_BE_HELD = sa.literal_column(
    f"(actions.verb = '{Verb.REDEPLOY}' AND actions.state = '{ActionState.PENDING}' AND NOT actions.overrides"  # noqa: S608 (constants)
    f" AND ({ANY_WINDOW} OR EXISTS"
    " (SELECT 1 FROM service_holds WHERE service_holds.service_uuid = actions.service_uuid)))",
    sa.Boolean,
).label("may_be_held")
"""The condition that an action must be given to `refresh` before it begins."""


def lasting_holds(now: Any) -> sa.Select[Any]:
    """Select the holds and freeze windows that still hold an action of the surrounding query, without its debounce."""
    of_action = sa.and_(action_holds.c.action_seq == actions.c.seq, action_holds.c.kind != HoldKind.DEBOUNCE.value)
    return sa.select(action_holds.c.action_seq).where(of_action, lasts(action_holds, now)).correlate(actions)


def read(connection: sa.Connection, action_seqs: Collection[int], now: datetime) -> dict[int, tuple[Hold, ...]]:
    """Return what still holds each of these actions, by their `seq`; the order is that of `HoldKind`."""
    of_actions = action_holds.c.action_seq.in_(list(action_seqs))
    rows = connection.execute(sa.select(action_holds).where(of_actions, lasts(action_holds, now))).all()
    found: dict[int, tuple[Hold, ...]] = {}
    for row in sorted(rows, key=lambda row: _ORDER.index(row.kind)):
        (reason,) = decode_reasons(row.reason)
        hold = Hold(kind=HoldKind(row.kind), until=row.until, reason=reason, by=row.by)
        found[row.action_seq] = (*found.get(row.action_seq, ()), hold)
    return found


def lasts(table: sa.Table, now: Any) -> sa.ColumnElement[bool]:
    """Return the condition that a row of a table of holds has an effect now."""
    return sa.or_(table.c.until.is_(None), table.c.until > now)


# The pending redeploys to which holds apply, each with its holds.
_PENDING = (
    sa.select(
        actions.c.seq, actions.c.service_uuid, *(action_holds.c[name] for name in ("kind", "until", "reason", "by"))
    )
    .outerjoin(action_holds, action_holds.c.action_seq == actions.c.seq)
    .where(
        actions.c.service_uuid.in_(sa.bindparam("service_uuids", expanding=True)),
        actions.c.state == ActionState.PENDING.value,
        actions.c.verb == Verb.REDEPLOY.value,
        sa.not_(actions.c.overrides),
    )
    .order_by(actions.c.seq)
)


def read_freezes(connection: sa.Connection, service_uuids: Collection[str], now: datetime) -> Mapping[str, Hold]:
    """Return the freezes that hold services now, by service. One query, which is cheap if there are no windows."""
    rows = connection.execute(_ACTING, {"service_uuids": list(service_uuids)}).all()
    if not rows:
        return {}
    # Not with the rows, which are many: a window may act on all services.
    these = select_windows().where(freeze_windows.c.seq.in_({row.seq for row in rows}))
    windows = {row.seq: window_from(row) for row in connection.execute(these)}
    find = cache(lambda seqs: find_freeze([windows[seq] for seq in seqs], now))
    acting = groupby(rows, key=attrgetter("uuid"))
    found = {service_uuid: find(tuple(row.seq for row in of_service)) for service_uuid, of_service in acting}
    return {service_uuid: freeze for service_uuid, freeze in found.items() if freeze}


def select_windows() -> sa.Select[Any]:
    """Select windows with their owners, and the names of their services as the owners see them."""
    is_seen = sa.and_(
        _named.c.uuid == freeze_windows.c.service_uuid, sa.or_(users.c.is_admin, users.c.name == _named.c.owner)
    )
    return (
        sa.select(freeze_windows, users.c.name.label("owner"), _named.c.full_name.label("service_name"))
        .join(users, users.c.uuid == freeze_windows.c.user_uuid)
        .outerjoin(_named, is_seen)
    )


def window_from(row: Any) -> FreezeWindow:
    """Return the window of a row of `select_windows`."""
    return value_from(row, FreezeWindow, active_until=None)


# The windows that act on services.
_ACTING = (
    sa.select(services.c.uuid, freeze_windows.c.seq)
    .select_from(freeze_windows)
    .join(users, users.c.uuid == freeze_windows.c.user_uuid)
    .join(services, ACTS_ON)
    .where(services.c.uuid.in_(sa.bindparam("service_uuids", expanding=True)))
    .order_by(services.c.uuid, freeze_windows.c.seq)
)
