"""Revisions: short texts that change when the content of a page changes, so that an open page costs almost nothing.

Each revision is read by indexes alone, for all pages of a process together. Revisions derive from stored values, so
that all replicas compute the same. One change appears late: a call that joined a pending action. It is counted with the
next heartbeat (on PostgreSQL after `delivery_log.LAG`), or when the action begins.
"""

import hashlib
from collections.abc import Collection, Mapping
from typing import Any

import sqlalchemy as sa

from tutumd.ports import HEARTBEAT_TIMEOUT
from tutumd.store.queue.holds import lasts
from tutumd.store.sql import StorePart
from tutumd.store.tables import (
    LIVE,
    UtcTime,
    action_lines,
    actions,
    deliveries,
    engines,
    group_calls,
    handlers,
    service_holds,
    services,
)

_UUIDS: sa.BindParameter[Any] = sa.bindparam("uuids", expanding=True)
_NOW: sa.BindParameter[Any] = sa.bindparam("now", type_=UtcTime())
# What ends without a change of its row: a debounce or a retry delay, the hold of a service, and the life of a worker.
_IS_DELAYED = sa.and_(LIVE, actions.c.due > _NOW)
_IS_HELD = lasts(service_holds, _NOW)
_HAS_WORKER = engines.c.last_heartbeat.between(
    sa.bindparam("alive_from", type_=UtcTime()), sa.bindparam("alive_to", type_=UtcTime())
)

# The newest skipped or refused delivery of a handler: such a delivery is shown immediately.
_NEWEST_APART = (
    sa.select(sa.func.max(deliveries.c.seq))
    .where(deliveries.c.handler_seq == handlers.c.seq, deliveries.c.action_seq.is_(None))
    .scalar_subquery()
)
# One row per service: in Python, rows of handlers would take most of the time.
_OF_HANDLERS = (
    sa.func.count(),
    sa.func.max(handlers.c.seq),
    sa.func.sum(handlers.c.version),
    sa.func.sum(handlers.c.uses),
    sa.func.sum(handlers.c.calls),
    sa.func.max(handlers.c.last_called),
    # In seconds: the sum of many values would be too large.
    sa.func.sum(sa.type_coerce(handlers.c.old_until, sa.BigInteger) // 1_000_000),
    sa.func.max(handlers.c.old_called),
    sa.func.max(_NEWEST_APART),
)

_OF_OBJECTS: tuple[sa.Executable, ...] = (
    sa.select(
        services.c.uuid,
        # Viewers with access: a page ends for viewers who lose it.
        services.c.owner,
        services.c.stack,
        services.c.terminated,
        services.c.engine,
        services.c.name,
        services.c.revision,
        services.c.fingerprint,
        services.c.state,
        services.c.target,
        services.c.running,
        services.c.stopped,
        services.c.bound,
        services.c.deployed,
        sa.select(sa.func.max(actions.c.seq)).where(actions.c.service_uuid == services.c.uuid).scalar_subquery(),
        service_holds.c.since,
        _IS_HELD,
        _HAS_WORKER,
        engines.c.away,
        engines.c.error,
    )
    .outerjoin(service_holds, service_holds.c.service_uuid == services.c.uuid)
    .outerjoin(engines, engines.c.name == services.c.engine)
    .where(services.c.uuid.in_(_UUIDS)),
    sa.select(
        actions.c.service_uuid,
        actions.c.uuid,
        actions.c.state,
        actions.c.cancel,
        actions.c.due,
        actions.c.attempts,
        actions.c.reason,
        actions.c.target,
        actions.c.worker.is_(None),
        _IS_DELAYED,
    )
    # An expression: with the index of the column, SQLite would read all ended actions of a service.
    .where(LIVE, (actions.c.service_uuid + "").in_(_UUIDS))
    .order_by(actions.c.seq),
    sa.select(handlers.c.service_uuid, *_OF_HANDLERS)
    .where(handlers.c.service_uuid.in_(_UUIDS))
    .group_by(handlers.c.service_uuid),
    sa.select(
        actions.c.uuid,
        services.c.owner,
        services.c.stack,
        services.c.terminated,
        services.c.name,
        actions.c.engine,
        actions.c.state,
        actions.c.open,
        actions.c.cancel,
        actions.c.due,
        actions.c.started,
        actions.c.ended,
        actions.c.attempts,
        actions.c.reason,
        actions.c.target,
        actions.c.worker.is_(None),
        sa.select(sa.func.max(action_lines.c.seq))
        .where(action_lines.c.action_uuid == actions.c.uuid)
        .scalar_subquery(),
        _IS_DELAYED,
        _HAS_WORKER,
        engines.c.away,
        engines.c.error,
    )
    .join(services, services.c.uuid == actions.c.service_uuid)
    .outerjoin(engines, engines.c.name == actions.c.engine)
    .where(actions.c.uuid.in_(_UUIDS)),
)
"""Each selects UUIDs, and values that change when the content of the object's page changes."""

_ALL = sa.literal("")
"""Replaces the UUID in the revision of all objects."""

_OF_ALL: tuple[sa.Executable, ...] = (
    sa.select(
        _ALL,
        sa.func.count(),
        # In milliseconds, here and below: the sum of many values would be too large.
        sa.func.sum(sa.type_coerce(service_holds.c.since, sa.BigInteger) // 1_000),
        sa.func.sum(sa.cast(_IS_HELD, sa.Integer)),
    ).select_from(service_holds),
    sa.select(_ALL, engines.c.name, engines.c.away, engines.c.error, _HAS_WORKER).order_by(engines.c.name),
    sa.select(
        _ALL,
        # Viewers with access: the objects then appear in other users' lists.
        services.c.owner,
        services.c.stack,
        sa.func.count(),
        sa.func.sum(services.c.revision),
        sa.func.sum(services.c.running),
        sa.func.sum(services.c.target),
        sa.func.sum(services.c.stopped),
        sa.func.sum(sa.cast(services.c.bound, sa.Integer)),
        sa.func.sum(sa.cast(services.c.terminated, sa.Integer)),
        sa.func.max(services.c.deployed),
        sa.func.max(services.c.unbound),
    )
    .group_by(services.c.owner, services.c.stack)
    .order_by(services.c.owner, services.c.stack),
    sa.select(
        _ALL,
        sa.func.count(),
        sa.func.max(actions.c.seq),
        sa.func.sum(sa.cast(actions.c.cancel, sa.Integer)),
        sa.func.sum(actions.c.attempts),
        sa.func.sum(sa.type_coerce(actions.c.due, sa.BigInteger) // 1_000),
        sa.func.sum(sa.case((actions.c.due > _NOW, 1), else_=0)),
    ).where(LIVE),
    sa.select(_ALL, *_OF_HANDLERS).where(handlers.c.service_uuid.is_(None)),
    sa.select(_ALL, sa.func.count(), sa.func.max(group_calls.c.seq)).where(group_calls.c.ended.is_(None)),
)


class SqlRevisions(StorePart):
    """The revisions part of Store in tutumd.ports."""

    def revisions(self, uuids: Collection[str]) -> Mapping[str, str]:
        now, found = self._clock(), dict[str, list[tuple[object, ...]]]()
        parameters = {
            "uuids": list(uuids),
            "now": now,
            "alive_from": now - HEARTBEAT_TIMEOUT,
            "alive_to": now + HEARTBEAT_TIMEOUT,
        }
        with self._database.read() as connection:
            for statement in (*_OF_OBJECTS, *(_OF_ALL if "" in uuids else ())):
                for uuid, *values in connection.execute(statement, parameters):
                    # The `repr` of a row is slow, and truncates long texts.
                    found.setdefault(uuid, []).append(tuple(values))
        texts = {uuid: repr(rows).encode("utf-8", "surrogatepass") for uuid, rows in found.items()}
        return {uuid: hashlib.blake2b(text, digest_size=9).hexdigest() for uuid, text in texts.items()}
