"""Revisions: short texts that change when the content of a page changes, so that an open page costs almost nothing.

Each revision is read by indexes alone, for all pages of a process together. Revisions derive from stored values, so
that all replicas compute the same. One change appears late: a call that joined a pending action. It is counted with the
next heartbeat (on PostgreSQL after `delivery_log.LAG`), or when the action begins.
"""

import hashlib
from collections.abc import Collection, Mapping
from datetime import datetime

import sqlalchemy as sa

from tutumd.ports.queue import HEARTBEAT_TIMEOUT
from tutumd.store.queue.holds import lasts
from tutumd.store.sql import StorePart
from tutumd.store.tables import (
    LIVE,
    action_lines,
    actions,
    deliveries,
    engines,
    group_calls,
    handlers,
    service_holds,
    services,
)


class SqlRevisions(StorePart):
    """The revisions part of Store in tutumd.ports."""

    def revisions(self, uuids: Collection[str]) -> Mapping[str, str]:
        now, found = self._clock(), dict[str, list[tuple[object, ...]]]()
        statements = [
            _with_engine(_with_service_hold(_SERVICES, now), services.c.engine, now).where(services.c.uuid.in_(uuids)),
            _with_hold(_LIVE_ACTIONS, now).where(_UNINDEXED_SERVICE.in_(uuids)),
            _HANDLERS.where(handlers.c.service_uuid.in_(uuids)),
            _with_engine(_with_hold(_ACTIONS, now), actions.c.engine, now).where(actions.c.uuid.in_(uuids)),
        ]
        if "" in uuids:
            held = sa.func.sum(sa.case((actions.c.due > now, 1), else_=0))
            lasting = sa.func.sum(sa.cast(lasts(service_holds, now), sa.Integer))
            statements += [
                _ALL_HOLDS.add_columns(lasting),
                _ENGINES.add_columns(_has_worker(now)),
                _ALL_SERVICES,
                _ALL_LIVE_ACTIONS.add_columns(held),
                _ALL_GROUPS,
                _ALL_GROUP_CALLS,
            ]
        with self._database.read() as connection:
            for statement in statements:
                for uuid, *values in connection.execute(statement):
                    # The `repr` of a row is slow, and truncates long texts.
                    found.setdefault(uuid, []).append(tuple(values))
        texts = {uuid: repr(rows).encode("utf-8", "surrogatepass") for uuid, rows in found.items()}
        return {uuid: hashlib.blake2b(text, digest_size=9).hexdigest() for uuid, text in texts.items()}


def _with_engine(
    statement: sa.Select[tuple[object, ...]], name: sa.ColumnElement[str], now: datetime
) -> sa.Select[tuple[object, ...]]:
    """Add the state of an engine."""
    return statement.add_columns(_has_worker(now), engines.c.away, engines.c.error).outerjoin(
        engines, engines.c.name == name
    )


def _has_worker(now: datetime) -> sa.ColumnElement[bool]:
    return engines.c.last_heartbeat.between(now - HEARTBEAT_TIMEOUT, now + HEARTBEAT_TIMEOUT)


def _with_hold(statement: sa.Select[tuple[object, ...]], now: datetime) -> sa.Select[tuple[object, ...]]:
    """Add whether an action is held by a debounce or a retry delay, which ends without a change of its row."""
    return statement.add_columns(sa.and_(LIVE, actions.c.due > now))


def _with_service_hold(statement: sa.Select[tuple[object, ...]], now: datetime) -> sa.Select[tuple[object, ...]]:
    """Add the hold of a service, which ends without a change of its row."""
    of_service = service_holds.c.service_uuid == services.c.uuid
    return statement.add_columns(service_holds.c.since, lasts(service_holds, now)).outerjoin(service_holds, of_service)


_ALL = sa.literal("")
"""Replaces the UUID in the revision of all objects."""

_SERVICES = sa.select(
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
)

_LIVE_ACTIONS = (
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
    )
    .where(LIVE)
    .order_by(actions.c.seq)
)
# With its index, SQLite would read all ended actions of a service.
_UNINDEXED_SERVICE = actions.c.service_uuid + ""

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
_HANDLERS = sa.select(handlers.c.service_uuid, *_OF_HANDLERS).group_by(handlers.c.service_uuid)
_ALL_GROUPS = sa.select(_ALL, *_OF_HANDLERS).where(handlers.c.service_uuid.is_(None))

_ACTIONS = sa.select(
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
    sa.select(sa.func.max(action_lines.c.seq)).where(action_lines.c.action_uuid == actions.c.uuid).scalar_subquery(),
).join(services, services.c.uuid == actions.c.service_uuid)


# In milliseconds: the sum of many values would be too large.
_ALL_HOLDS = sa.select(
    _ALL, sa.func.count(), sa.func.sum(sa.type_coerce(service_holds.c.since, sa.BigInteger) // 1_000)
).select_from(service_holds)

_ENGINES = sa.select(_ALL, engines.c.name, engines.c.away, engines.c.error).order_by(engines.c.name)

_ALL_SERVICES = (
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
    .order_by(services.c.owner, services.c.stack)
)

_ALL_GROUP_CALLS = sa.select(_ALL, sa.func.count(), sa.func.max(group_calls.c.seq)).where(group_calls.c.ended.is_(None))

_ALL_LIVE_ACTIONS = sa.select(
    _ALL,
    sa.func.count(),
    sa.func.max(actions.c.seq),
    sa.func.sum(sa.cast(actions.c.cancel, sa.Integer)),
    sa.func.sum(actions.c.attempts),
    # In milliseconds: the sum of many values would be too large.
    sa.func.sum(sa.type_coerce(actions.c.due, sa.BigInteger) // 1_000),
).where(LIVE)
