"""Holds: why pending actions may not start yet.

`actions.due` is the latest end of the holds of an action, so the end of a hold needs no write.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from itertools import groupby
from operator import attrgetter
from typing import Any

import sqlalchemy as sa

from tutumd.errors import Reason, encode_reasons
from tutumd.model import ActionState, HoldKind, Verb
from tutumd.store.queue import freezes
from tutumd.store.sql.dialect import upsert
from tutumd.store.tables.actions import action_holds, actions
from tutumd.store.tables.schema import storable
from tutumd.store.tables.services import service_holds

NEVER = datetime(3000, 1, 1, tzinfo=UTC)
"""Due time of an action with an open-ended hold. Database sums of thousands of such times are below 2^63."""

_COLUMNS = ("until", "reason", "by")
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
    of_rollback = sa.select(service_holds.c.is_of_rollback).where(_of_services([service_uuid]), _is_valid(now))
    values = {
        "service_uuid": service_uuid,
        "until": until,
        "reason": storable(reason),
        "by": by[:255],
        "since": now,
        "is_of_rollback": is_of_rollback or bool(connection.scalar(of_rollback)),
    }
    upsert(connection, service_holds, "service_uuid", values)
    refresh(connection, [service_uuid], now)


def resume_service(connection: sa.Connection, service_uuid: str, now: datetime) -> bool:
    """Remove the hold of a locked service; return whether it had a valid one."""
    removed = sa.delete(service_holds).where(_of_services([service_uuid])).returning(_is_valid(now))
    was_held = bool(connection.scalar(removed))
    refresh(connection, [service_uuid], now)
    return was_held


def refresh(connection: sa.Connection, service_uuids: Sequence[str], now: datetime) -> None:
    """Let holds and freeze windows of locked services apply to their pending redeploys as they are now.

    Call it after a change of these holds, windows or redeploys.
    """
    wanted = _read_wanted(connection, service_uuids, now)
    rows = connection.execute(_select_pending(), {"service_uuids": list(service_uuids)}).all()
    for _, of_action in groupby(rows, key=attrgetter("seq")):
        held = list(of_action)
        stored = {HoldKind(row.kind): (row.until, row.reason, row.by) for row in held if row.kind}
        _store(connection, held[0], stored, wanted.get(held[0].service_uuid, {}), now)


def end_of(ends: Iterable[datetime | None], due: datetime, now: datetime) -> datetime:
    """Return the due time of an action whose holds have these ends. `due` is the time before.

    Without a hold that lasts, an action that was held is due now; other actions have been due since `due`.
    """
    latest = max((end or NEVER for end in ends), default=now)
    return latest if latest > now else min(due, now)


def _store(
    connection: sa.Connection,
    action: Any,
    stored: Mapping[HoldKind, _Row],
    wanted: Mapping[HoldKind, _Row],
    now: datetime,
) -> None:
    kept = {HoldKind.DEBOUNCE: stored[HoldKind.DEBOUNCE]} if HoldKind.DEBOUNCE in stored else {}
    after = {**kept, **wanted}
    changed = [kind for kind in HoldKind if stored.get(kind) != after.get(kind)]
    if changed:
        of_action = action_holds.c.action_seq == action.seq
        connection.execute(sa.delete(action_holds).where(of_action, action_holds.c.kind.in_(changed)))
        new = [
            {"action_seq": action.seq, "kind": kind.value, **dict(zip(_COLUMNS, after[kind], strict=True))}
            for kind in changed
            if kind in after
        ]
        if new:
            connection.execute(sa.insert(action_holds), new)
    due = end_of((until for until, *_ in after.values()), action.due, now)
    if due != action.due:
        connection.execute(sa.update(actions).where(actions.c.seq == action.seq).values(due=due))


def _read_wanted(
    connection: sa.Connection, service_uuids: Sequence[str], now: datetime
) -> dict[str, dict[HoldKind, _Row]]:
    """Return the holds and freeze windows that apply now, by service."""
    wanted: dict[str, dict[HoldKind, _Row]] = {}
    for row in connection.execute(sa.select(service_holds).where(_of_services(service_uuids), _is_valid(now))):
        reason = encode_reasons([Reason("held", (row.reason,))])
        wanted.setdefault(row.service_uuid, {})[HoldKind.HOLD] = (row.until, reason, row.by)
    for uuid, freeze in freezes.read_active(connection, service_uuids, now).items():
        wanted.setdefault(uuid, {})[HoldKind.FREEZE] = (freeze.until, encode_reasons([freeze.reason]), freeze.by)
    return wanted


def _of_services(service_uuids: Sequence[str]) -> sa.ColumnElement[bool]:
    return service_holds.c.service_uuid.in_(list(service_uuids))


def _is_valid(now: datetime) -> sa.ColumnElement[bool]:
    return sa.or_(service_holds.c.until.is_(None), service_holds.c.until > now)


@cache
def _select_pending() -> sa.Select[Any]:
    """Select the pending redeploys to which holds apply, each with its holds."""
    h = action_holds.c
    return (
        sa.select(actions.c.seq, actions.c.service_uuid, actions.c.due, h.kind, h.until, h.reason, h.by)
        .outerjoin(action_holds, h.action_seq == actions.c.seq)
        .where(
            actions.c.service_uuid.in_(sa.bindparam("service_uuids", expanding=True)),
            actions.c.state == ActionState.PENDING.value,
            actions.c.verb == Verb.REDEPLOY.value,
            sa.not_(actions.c.overrides),
        )
        .order_by(actions.c.seq)
    )
