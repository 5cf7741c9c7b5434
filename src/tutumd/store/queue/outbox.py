"""The outbox: notifications are inserted in the transaction of their event."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from tutumd.model import MAX_PENDING, ActionState, EngineInfo, Event, NotificationState, ReasonCode, TargetKind, Verb
from tutumd.store.objects.action_rows import add_line, first_handler
from tutumd.store.objects.row_mapping import Row
from tutumd.store.queue import payloads
from tutumd.store.queue.payloads import payload_of, read_revisions, reason_of
from tutumd.store.sql import NOTIFICATIONS, insert
from tutumd.store.tables import (
    PENDING,
    actions,
    handlers,
    new_uuid,
    notification_totals,
    notifications,
    services,
    targets,
    users,
)

OVERFLOW = "overflow: too many notifications of the target were pending, and this was one of the oldest"
NO_REVISION = (
    "no commit status is sent: neither a verified payload nor the image's label org.opencontainers.image.revision"
    " names a commit (40 or 64 hexadecimal digits)"
)
# Failed attempts in a row after which a target is tried once per second at most, and new notifications do not wake the
# notifier: on a busy server, the attempts to reach a dead target would slow down calls and actions.
PATIENCE = 5
_BLOCK = 500
"""The pending notifications of a target are counted once per so many numbers."""
_ENGINE = "engine"
_EVENTS = {
    ActionState.SUCCESS.value: Event.ACTION_SUCCEEDED,
    ActionState.FAILED.value: Event.ACTION_FAILED,
    ActionState.CANCELED.value: Event.ACTION_CANCELED,
}

New = tuple[Row, Event, dict[str, Any]]
"""A target to tell, the event, and columns of the notification."""

_newest = sa.select(sa.func.max(notifications.c.seq)).where(notifications.c.target_seq == targets.c.seq)


def _select_targets(*covers: sa.ColumnElement[bool]) -> sa.Select[Any]:
    """Select enabled targets. A target that is being deleted is skipped, so that no transaction waits for that."""
    owned = sa.select(targets, users.c.is_admin.label("owner_is_admin"), _newest.scalar_subquery().label("newest"))
    # An expression, so that SQLite finds the targets of users rather than the user of each target.
    joined = owned.join(users, sa.func.coalesce(users.c.uuid, "") == targets.c.user_uuid)
    joined = joined.where(targets.c.enabled, *covers)
    return joined.with_for_update(read=True, key_share=True, skip_locked=True, of=targets)


IN_SCOPE = sa.and_(
    sa.or_(targets.c.service_uuid.is_(None), targets.c.service_uuid == services.c.uuid),
    sa.or_(targets.c.stack.is_(None), targets.c.stack == services.c.stack),
)
SELECT_COVERING = (
    _select_targets(sa.or_(users.c.is_admin, users.c.name == services.c.owner), IN_SCOPE)
    .add_columns(
        actions.c.uuid.label("action_uuid"),
        actions.c.service_uuid.label("subject"),
        *(actions.c[name] for name in ("verb", "state", "reason_code", "started", "ended", "image_revision")),
    )
    .join(services, sa.true())
    .join(actions, actions.c.service_uuid == services.c.uuid)
)
_SELECT_ENDED = SELECT_COVERING.where(actions.c.uuid.in_(sa.bindparam("action_uuids", expanding=True)))


_before = actions.alias("before")
# State of the last action of the same verb and service that succeeded or failed. The clock may have been set back.
_state_before = (
    sa.select(_before.c.state)
    .where(_before.c.service_uuid == actions.c.service_uuid, _before.c.verb == actions.c.verb)
    .where(_before.c.state.in_((ActionState.SUCCESS.value, ActionState.FAILED.value)))
    .where(sa.or_(_before.c.seq < actions.c.seq, _before.c.ended <= actions.c.ended), _before.c.seq != actions.c.seq)
    .order_by(_before.c.seq.desc())
    .limit(1)
    .scalar_subquery()
)
# The group whose call created an action.
_GROUP = (
    sa.select(handlers.c.group_seq)
    .select_from(actions)
    .join(handlers, handlers.c.seq == first_handler())
    .where(actions.c.uuid == sa.bindparam("uuid"))
)
_FORGE = targets.c.kind == sa.literal_column(f"'{TargetKind.FORGE}'")
HAS_FORGES = sa.select(targets.c.seq).where(targets.c.enabled, _FORGE).exists()
"""Whether there is a target that is told of starts."""


def add_ended(connection: sa.Connection, action_uuids: Sequence[str]) -> set[str]:
    """Queue the notifications of actions that have ended in this transaction, and return the topics to publish.

    The rights of the targets' owners at this time decide. Equal failures are suppressed as the targets require.
    """
    told: set[str] = set()
    covering = connection.execute(_SELECT_ENDED, {"action_uuids": list(action_uuids)}).all()
    for uuid in sorted({row.action_uuid for row in covering}):
        told |= _add_end(connection, [row for row in covering if row.action_uuid == uuid])
    return told


def _add_end(connection: sa.Connection, covering: Sequence[Row]) -> set[str]:
    ended = covering[0]
    singles = [target for target in covering if target.kind != TargetKind.FORGE]
    if any(target.per_group_call for target in singles) and connection.scalar(_GROUP, {"uuid": ended.action_uuid}):
        singles = [target for target in singles if not target.per_group_call]
    may_recover = ended.state == ActionState.SUCCESS and _wanting(singles, Event.ACTION_RECOVERED)
    recovered = find_recovered(connection, [ended.action_uuid]) if may_recover else ()
    key = {name: getattr(ended, name) for name in ("subject", "verb", "reason_code")}
    told = choose(connection, ended.state, key, singles, ended.ended, has_recovered=bool(recovered))
    forges = [target for target in covering if target.kind == TargetKind.FORGE]
    forges = forges if ended.verb == Verb.REDEPLOY and ended.started is not None else []
    new: list[New] = [(target, event, {"suppressed": suppressed}) for target, event, suppressed in told]
    if forges:
        revisions = read_revisions(connection, ended.action_uuid) or list(filter(None, [ended.image_revision]))
        if not revisions:
            add_line(connection, ended.action_uuid, ended.ended, NO_REVISION)
        new += _list_statuses(connection, forges, _EVENTS[ended.state], revisions)
    return add_new(connection, new, ended.ended, action_uuid=ended.action_uuid, service_uuid=ended.subject)


def find_recovered(connection: sa.Connection, action_uuids: Collection[str]) -> set[str]:
    """Return the actions that are the first success of their verb and service after a failure."""
    succeeded = sa.and_(actions.c.uuid.in_(action_uuids), actions.c.state == ActionState.SUCCESS.value)
    first = sa.and_(succeeded, _state_before == ActionState.FAILED.value)
    return set(connection.scalars(sa.select(actions.c.uuid).where(first)))


def choose(
    connection: sa.Connection,
    state: str,
    key: payloads.Key,
    covering: Sequence[Row],
    now: datetime,
    *of_targets: sa.ColumnElement[bool],
    has_recovered: bool,
) -> list[tuple[Row, Event, int]]:
    """Return the targets to tell of an end, the event for each, and how many equal failures it was not told of.

    Args:
        key: What the failures of equal ends have in common.
        of_targets: The targets whose failures are over after a success; none: all.
        has_recovered: Whether a success is the first one after a failure.
    """
    match state:
        case ActionState.CANCELED:
            return [(target, Event.ACTION_CANCELED, 0) for target in _wanting(covering, Event.ACTION_CANCELED)]
        case ActionState.FAILED:
            failed = payloads.record(connection, key, _wanting(covering, Event.ACTION_FAILED), now)
            return [(target, Event.ACTION_FAILED, number) for target, number in failed]
    suppressed = payloads.clear(connection, key, *of_targets)
    recovered = _wanting(covering, Event.ACTION_RECOVERED) if has_recovered else []
    others = [each for each in _wanting(covering, Event.ACTION_SUCCEEDED) if each not in recovered]
    return [
        *((target, Event.ACTION_RECOVERED, suppressed.get(target.seq, 0)) for target in recovered),
        *((target, Event.ACTION_SUCCEEDED, 0) for target in others),
    ]


def _wanting(covering: Sequence[Row], event: Event) -> list[Row]:
    return [target for target in covering if event in target.events]


def add_started(connection: sa.Connection, action_uuid: str, now: datetime) -> set[str]:
    """Queue a commit status for each commit of a redeploy that begins, and return the topics to publish."""
    is_redeploy = sa.and_(actions.c.uuid == action_uuid, actions.c.verb == Verb.REDEPLOY.value)
    covering = connection.execute(SELECT_COVERING.where(is_redeploy, _FORGE)).all()
    if not covering:
        return set()
    new = _list_statuses(connection, covering, Event.ACTION_STARTED, read_revisions(connection, action_uuid))
    return add_new(connection, new, now, action_uuid=action_uuid, service_uuid=covering[0].subject)


def _list_statuses(
    connection: sa.Connection, forges: Sequence[Row], event: Event, revisions: Sequence[str]
) -> list[New]:
    """Return commit statuses, and remove the older ones of the same commits that nobody has sent."""
    c = notifications.c
    older = sa.and_(
        c.revision.in_(revisions),
        c.target_seq.in_([target.seq for target in forges]),
        c.service_uuid == forges[0].subject,
        PENDING,
    )
    # A notifier that stores a result has locked the row: wait for the result, and read it.
    connection.execute(sa.select(c.seq).where(older).with_for_update()).all()
    connection.execute(sa.delete(notifications).where(older, c.lease_until.is_(None)))
    return [(target, event, {"revision": revision}) for revision in revisions for target in forges]


def add_engine(connection: sa.Connection, info: EngineInfo, *, was_away: bool | None, now: datetime) -> set[str]:
    """Queue the notifications of an engine's health, and return the topics to publish.

    Args:
        was_away: As it was reported before; None: there was no report.
    """
    if not info.away and was_away is False:
        return set()
    of_engine = {"subject": info.name, "verb": _ENGINE, "reason_code": ReasonCode.ENGINE_UNAVAILABLE.value}
    earlier = payloads.read(connection, of_engine)
    is_change = info.away and not was_away
    if not is_change and not earlier:
        return set()
    event = Event.ENGINE_DOWN if info.away else Event.ENGINE_UP
    runs_there = sa.select(services.c.uuid).where(services.c.engine == info.name, IN_SCOPE).exists()
    covers = sa.or_(sa.and_(targets.c.service_uuid.is_(None), targets.c.stack.is_(None)), runs_there)
    new: list[New] = []
    for target in connection.execute(_select_targets(users.c.is_admin, covers)):
        row = earlier.get(target.seq)
        if target.kind == TargetKind.FORGE or not {Event.ENGINE_DOWN, Event.ENGINE_UP} & set(target.events):
            continue
        if info.away:
            # A suppressed change is told if it still lasts when the time to repeat is over.
            lasts = row is not None and row.suppressed > 0 and not payloads.is_equal(row, target, now)
            is_told = row is not None and not row.is_over
            tells = (is_change or lasts) and not is_told and payloads.tell(connection, of_engine, target, row, now)
        else:
            tells = row is not None and not row.is_over
            payloads.end(connection, of_engine, target)
        if tells and event in target.events:
            data = {
                "engine": {"name": info.name, "kind": info.kind},
                "reason": reason_of(of_engine["reason_code"], info.error) if info.away else reason_of("", ""),
                "suppressed": row.suppressed if row else 0,
            }
            new.append((target, event, {"payload": payload_of(event, now, data)}))
    return add_new(connection, new, now)


def add_disabled(connection: sa.Connection, disabled: Row, code: str, text: str, now: datetime) -> set[str]:
    """Tell the owner's other targets that a target was disabled, and return the topics to publish."""
    others = _select_targets(targets.c.user_uuid == disabled.user_uuid, targets.c.seq != disabled.seq)
    event, data = Event.TARGET_DISABLED, {**about_target(disabled), "reason": reason_of(code, text)}
    new: list[New] = [
        (target, event, {"payload": payload_of(event, now, data)})
        for target in connection.execute(others)
        if event in target.events and target.kind != TargetKind.FORGE
    ]
    return add_new(connection, new, now)


def about_target(target: Row) -> dict[str, Any]:
    """Return the part of a payload that is about a target."""
    return {"target": {"uuid": target.uuid, "name": target.name, "kind": target.kind}}


def new_row(target_seq: int, event: Event, now: datetime, **values: Any) -> dict[str, Any]:
    """Return the row of a new notification. `values` are further columns."""
    return {
        "uuid": new_uuid(),
        "target_seq": target_seq,
        "event": event.value,
        "state": NotificationState.PENDING.value,
        "created": now,
        "due": now,
        # All rows of one statement have the same columns.
        "payload": None,
        "suppressed": 0,
        "revision": None,
        **values,
    }


def add_new(connection: sa.Connection, new: Sequence[New], now: datetime, **values: str) -> set[str]:
    """Insert notifications, and return the topics to publish. `values` are columns of all of them."""
    if not new:
        return set()
    newest = {target.seq: target.newest or 0 for target, _, _ in new}
    rows = [new_row(target.seq, event, now, **own, **values) for target, event, own in new]
    inserted = sa.insert(notifications).returning(notifications.c.target_seq, notifications.c.seq)
    for row in connection.execute(inserted, rows).all():
        if row.seq // _BLOCK != newest[row.target_seq] // _BLOCK:
            _trim(connection, row.target_seq, now)
    return {NOTIFICATIONS} if any(target.failures < PATIENCE for target, _, _ in new) else set()


def _trim(connection: sa.Connection, target_seq: int, now: datetime) -> None:
    """Keep a target's pending notifications below `MAX_PENDING` until the next trim: the oldest become dead."""
    c = notifications.c
    pending = sa.select(c.seq).where(c.target_seq == target_seq, PENDING)
    newest_first = pending.order_by(c.seq.desc()).limit(1).offset(MAX_PENDING - _BLOCK)
    surplus = pending.where(c.seq <= newest_first.scalar_subquery(), c.lease_until.is_(None))
    dead = sa.update(notifications).where(c.seq.in_(surplus.with_for_update(skip_locked=True)))
    done = connection.execute(dead.values(state=NotificationState.DEAD.value, ended=now, error=OVERFLOW))
    kind = sa.select(targets.c.kind).where(targets.c.seq == target_seq).scalar_subquery()
    count(connection, kind, NotificationState.DEAD, done.rowcount)


def count(connection: sa.Connection, kind: object, state: NotificationState, number: int = 1) -> None:
    """Count notifications that were sent or died. Two transactions may update the same row, so each updates it late."""
    if number:
        connection.execute(
            insert(connection, notification_totals)
            .values(kind=kind, state=state.value, number=number)
            .on_conflict_do_update(
                index_elements=["kind", "state"], set_={"number": notification_totals.c.number + number}
            )
        )
