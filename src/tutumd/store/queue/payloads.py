"""What notifications tell: the JSON objects that docs/reference/notifications.md describes."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from tutumd.model import MAX_PAYLOAD_BYTES, DeliveryOutcome, Event, encode
from tutumd.store.objects.action_rows import IS_OF_ACTION
from tutumd.store.objects.row_mapping import Row, caller_from, join_shown_handlers
from tutumd.store.sql import upsert
from tutumd.store.tables import actions, deliveries, handlers, repeats, services, storable

MAX_CALLS = 20
MAX_REVISIONS = 100
_MAX_REASON_CHARS = 2_000

_SELECT_ACTION = (
    sa.select(actions, services.c.name, services.c.stack)
    .join(services, services.c.uuid == actions.c.service_uuid)
    .where(actions.c.uuid == sa.bindparam("uuid"))
)
_SELECT_CALLS = (
    join_shown_handlers(
        sa.select(
            sa.func.coalesce(handlers.c.seq, deliveries.c.handler_seq).label("handler_seq"),
            deliveries.c.received,
            deliveries.c.tag,
            deliveries.c.caller,
            handlers.c.name,
            sa.func.count().over().label("count"),
        )
        .select_from(actions)
        .join(deliveries, IS_OF_ACTION),
        deliveries.c.handler_seq,
    )
    .where(actions.c.seq == sa.bindparam("seq"))
    .where(deliveries.c.outcome.in_([DeliveryOutcome.QUEUED.value, DeliveryOutcome.JOINED.value]))
    .order_by(deliveries.c.seq.desc())
    .limit(MAX_CALLS)
)


def payload_of(event: Event, at: datetime, data: Mapping[str, Any], log_tail: str = "") -> dict[str, Any]:
    """Return a payload of at most `MAX_PAYLOAD_BYTES`: with the end of a log and the newest calls that fit, or the
    first lines of a group call that fit. The others are removed from `data`.
    """
    payload: dict[str, Any] = {"type": event.value, "timestamp": iso(at), "data": dict(data)}
    if log_tail:
        payload["data"]["log_tail"] = log_tail
        excess = max(0, len(encode(payload)) - MAX_PAYLOAD_BYTES)
        payload["data"]["log_tail"] = log_tail.encode()[excess:].decode(errors="ignore")
    for rows in (data.get("lines"), data.get("calls", {}).get("newest")):
        while rows and len(encode(payload)) > MAX_PAYLOAD_BYTES:
            rows.pop()
    return payload


def read_payload(connection: sa.Connection, notification: Row, *, include_log: bool) -> dict[str, Any] | None:
    """Return the payload of a notification about an action; None if the action was deleted."""
    action = connection.execute(_SELECT_ACTION, {"uuid": notification.action_uuid}).first()
    if action is None:
        return None
    calls = connection.execute(_SELECT_CALLS, {"seq": action.seq}).all()
    name = "suppressed" if notification.revision is None else "revision"
    data = {**_describe(action, calls), name: getattr(notification, name)}
    log_tail = action.log_tail if include_log else ""
    return payload_of(Event(notification.event), notification.created, data, log_tail)


def _describe(row: Row, calls: Sequence[Row]) -> dict[str, Any]:
    return {
        "service": {"uuid": row.service_uuid, "name": row.name, "stack": row.stack, "engine": row.engine},
        "action": {
            "uuid": row.uuid,
            "operation": row.verb,
            "state": row.state,
            "created": iso(row.created),
            "started": row.started and iso(row.started),
            "ended": row.ended and iso(row.ended),
            "duration": row.started and row.ended and max(0.0, round((row.ended - row.started).total_seconds(), 3)),
        },
        "reason": reason_of(row.reason_code, row.reason),
        "image": {"before": row.image_before, "after": row.image_after, "tried": row.image_tried},
        "containers": {"before": len(row.containers_before), "after": len(row.containers_after)},
        "calls": {
            "count": calls[0].count if calls else 0,
            "newest": [
                {
                    "handler": {"number": call.handler_seq, "name": call.name},
                    "received": iso(call.received),
                    "tag": call.tag,
                    "caller": str(caller_from(call.caller)) if call.caller else None,
                }
                for call in calls
            ],
        },
    }


def read_revisions(connection: sa.Connection, action_uuid: str) -> list[str]:
    """Return the distinct commits that an action's calls deploy, the newest first."""
    newest = (
        sa.select(deliveries.c.revision)
        .select_from(actions)
        .join(deliveries, IS_OF_ACTION)
        .where(actions.c.uuid == action_uuid, deliveries.c.revision.isnot(None))
        .group_by(deliveries.c.revision)
        .order_by(sa.func.max(deliveries.c.seq).desc())
        .limit(MAX_REVISIONS)
    )
    return list(connection.scalars(newest))


def reason_of(code: str, text: str) -> dict[str, str]:
    """Return the reason in a payload."""
    return {"code": code, "text": storable(text)[:_MAX_REASON_CHARS]}


def iso(at: datetime) -> str:
    """Return a time as payloads show it."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


_OF_VERB = sa.and_(repeats.c.subject == sa.bindparam("subject"), repeats.c.verb == sa.bindparam("verb"))
_CLEAR = sa.delete(repeats).where(_OF_VERB).returning(repeats.c.target_seq, repeats.c.suppressed)
_SELECT = sa.select(repeats).where(_OF_VERB, repeats.c.reason_code == sa.bindparam("reason_code"))

Key = Mapping[str, str]
"""`subject`, `verb` and `reason_code` of a failure."""


def clear(connection: sa.Connection, key: Key, *of_targets: sa.ColumnElement[bool]) -> dict[int, int]:
    """Remove the failures of a subject and verb after a success; return by target how many were not told."""
    suppressed: dict[int, int] = {}
    for row in connection.execute(_CLEAR.where(*of_targets), {name: key[name] for name in ("subject", "verb")}):
        suppressed[row.target_seq] = suppressed.get(row.target_seq, 0) + row.suppressed
    return suppressed


def read(connection: sa.Connection, key: Key) -> dict[int, Row]:
    """Return what targets were told of a failure, by target."""
    return {row.target_seq: row for row in connection.execute(_SELECT, key)}


def record(connection: sa.Connection, key: Key, targets: Sequence[Row], now: datetime) -> list[tuple[Row, int]]:
    """Record a failure; return the targets to tell, each with how many equal ones it was not told of."""
    earlier = read(connection, key) if any(target.repeat_s for target in targets) else {}
    told = []
    for target in targets:
        row = earlier.get(target.seq)
        if not target.repeat_s or tell(connection, key, target, row, now):
            told.append((target, row.suppressed if row else 0))
    return told


def tell(connection: sa.Connection, key: Key, target: Row, earlier: Row | None, now: datetime) -> bool:
    """Record a failure for a target, and return whether the target is told of it now.

    Args:
        earlier: What the target was told of the equal failure before; None if it was told nothing.
    """
    values: dict[str, Any] = {"told": now, "suppressed": 0, "is_over": False}
    if suppresses := earlier is not None and is_equal(earlier, target, now):
        values = {"told": earlier.told, "suppressed": earlier.suppressed + 1, "is_over": earlier.is_over}
    upsert(connection, repeats, [*key, "target_seq"], {**key, "target_seq": target.seq, **values})
    return not suppresses


def is_equal(earlier: Row, target: Row, now: datetime) -> bool:
    """Return whether the time to repeat an equal failure is not over."""
    # A clock that was set back does not suppress failures for long.
    return bool(abs(now - earlier.told) < timedelta(seconds=target.repeat_s))


def end(connection: sa.Connection, key: Key, target: Row) -> None:
    """Record that a failure of an engine is over, as the target knows."""
    c = repeats.c
    this_one = sa.and_(c.subject == key["subject"], c.verb == key["verb"], c.target_seq == target.seq)
    connection.execute(sa.update(repeats).where(this_one).values(is_over=True))
