"""Stamps: short texts that change when what a page shows has changed, so that an open page costs next to nothing.

Each is read by indexes alone, for all pages of a process at once. They are made of what is stored, so that all replicas
make the same one. Two things come late: a call that joined a pending action, which is counted with the next heartbeat
(on PostgreSQL after `call_counts.LAG`), or shown when that action begins.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from tutumd.model import User
from tutumd.ports.queue import HEARTBEAT_TIMEOUT
from tutumd.store.objects.row_mapping import Row
from tutumd.store.sql.database import StorePart
from tutumd.store.tables.actions import LIVE, action_lines, actions, deliveries
from tutumd.store.tables.services import engines, handlers, services

AT_ONCE = 500
"""Objects of one statement: PostgreSQL and SQLite limit how many values it may have."""

Values = tuple[object, ...]
"""Of a row, whose own `repr` is slow and cuts long texts."""


class SqlStamps(StorePart):
    """The part of Store in tutumd.ports that is about stamps."""

    def service_stamps(self, uuids: Sequence[str]) -> Mapping[str, str]:
        engine_states = self._read_engines()
        rows, live, of_handlers = dict[str, Row](), dict[str, list[Values]](), dict[str, Values]()
        for some in _slices(uuids):
            rows |= {row.uuid: row for row in self._read(_SERVICES.where(services.c.uuid.in_(some)))}
            for row in self._read(self._with_hold(_LIVE_ACTIONS).where(_UNINDEXED_SERVICE.in_(some))):
                live.setdefault(row.service_uuid, []).append(tuple(row))
            of_some = self._read(_HANDLERS.where(handlers.c.service_uuid.in_(some)))
            of_handlers |= {row.service_uuid: tuple(row) for row in of_some}
        return {
            uuid: _hash(tuple(row), engine_states.get(row.engine), live.get(uuid), of_handlers.get(uuid))
            for uuid, row in rows.items()
        }

    def action_stamps(self, uuids: Sequence[str]) -> Mapping[str, str]:
        engine_states, stamps = self._read_engines(), {}
        for some in _slices(uuids):
            for row in self._read(self._with_hold(_ACTIONS).where(actions.c.uuid.in_(some))):
                # Its engine is no longer of interest once it has ended.
                stamps[row.uuid] = _hash(tuple(row), None if row.ended else engine_states.get(row.engine))
        return stamps

    def overview_stamps(self, viewers: Sequence[User]) -> tuple[str, ...]:
        if not viewers:
            return ()
        engine_states = sorted(self._read_engines().items())
        held = sa.func.sum(sa.case((_is_held(self._clock()), 1), else_=0))
        groups, live = self._read(_GROUPS), self._read(_LIVE_GROUPS.add_columns(held))
        narrow = self.service_stamps([viewer.access.service_uuid for viewer in viewers if viewer.access.service_uuid])

        def sees(viewer: User, group: Row) -> bool:
            stack = viewer.access.stack
            return (viewer.is_admin or group.owner == viewer.name) and (stack is None or group.stack == stack)

        return tuple(
            narrow.get(viewer.access.service_uuid, "")
            if viewer.access.service_uuid
            else _hash(engine_states, [tuple(group) for group in (*groups, *live) if sees(viewer, group)])
            for viewer in viewers
        )

    def _read(self, statement: sa.Select[Any]) -> Sequence[Row]:
        with self._database.read() as connection:
            return connection.execute(statement).all()

    def _with_hold(self, statement: sa.Select[Any]) -> sa.Select[Any]:
        """Add whether an action is held, by a debounce or until another try, which ends without a change of its row."""
        return statement.add_columns(_is_held(self._clock()))

    def _read_engines(self) -> dict[str, tuple[bool, bool, str]]:
        now = self._clock()
        return {
            row.name: (abs(now - row.last_heartbeat) <= HEARTBEAT_TIMEOUT, row.away, row.error)
            for row in self._read(sa.select(engines).order_by(engines.c.name))
        }


_SERVICES = sa.select(
    services.c.uuid,
    # Who may see it: a page ends for those who may not any more.
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
# By its index, SQLite would read all actions of a service that have ended.
_UNINDEXED_SERVICE = actions.c.service_uuid + ""

# The newest delivery of a handler that was skipped or refused: such a one is shown at once.
_NEWEST_APART = (
    sa.select(sa.func.max(deliveries.c.seq))
    .where(deliveries.c.handler_seq == handlers.c.seq, deliveries.c.action_seq.is_(None))
    .scalar_subquery()
)

# One row a service: in Python, rows of handlers take most of the time.
_HANDLERS = sa.select(
    handlers.c.service_uuid,
    sa.func.count(),
    sa.func.max(handlers.c.seq),
    sa.func.sum(handlers.c.version),
    sa.func.sum(handlers.c.uses),
    sa.func.sum(handlers.c.calls),
    sa.func.max(handlers.c.last_called),
    # In seconds: the sum of many would be too large.
    sa.func.sum(sa.type_coerce(handlers.c.old_until, sa.BigInteger) // 1_000_000),
    sa.func.max(handlers.c.old_called),
    sa.func.max(_NEWEST_APART),
).group_by(handlers.c.service_uuid)

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

_GROUPS = (
    sa.select(
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

_LIVE_GROUPS = (
    sa.select(
        services.c.owner,
        services.c.stack,
        sa.func.count(),
        sa.func.max(actions.c.seq),
        sa.func.sum(sa.cast(actions.c.cancel, sa.Integer)),
        sa.func.sum(actions.c.attempts),
        # In milliseconds: the sum of many would be too large.
        sa.func.sum(sa.type_coerce(actions.c.due, sa.BigInteger) // 1_000),
    )
    .select_from(actions)
    .join(services, services.c.uuid == actions.c.service_uuid)
    .where(LIVE)
    .group_by(services.c.owner, services.c.stack)
    .order_by(services.c.owner, services.c.stack)
)


def _is_held(now: datetime) -> sa.ColumnElement[bool]:
    return sa.and_(LIVE, actions.c.due > now)


def _hash(*parts: object) -> str:
    return hashlib.blake2b(repr(parts).encode("utf-8", "surrogatepass"), digest_size=9).hexdigest()


def _slices(values: Iterable[str]) -> Iterable[list[str]]:
    unique = sorted(set(values))
    return (unique[start : start + AT_ONCE] for start in range(0, len(unique), AT_ONCE))
