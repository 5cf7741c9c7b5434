"""Stamps: short texts that change when what a page shows does, read for many pages at once."""

import hashlib
import json
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from tutumd.model import ActionStamp
from tutumd.ports.queue import HEARTBEAT_TIMEOUT
from tutumd.store import call_counts
from tutumd.store.action_deliveries import IS_UNFILED
from tutumd.store.database import StorePart
from tutumd.store.tables import (
    LIVE,
    action_deliveries,
    action_lines,
    actions,
    containers,
    deliveries,
    engines,
    handlers,
    services,
)

_STAMP_BYTES = 12
_MAX_UNCOUNTED = 10_000
_running = actions.alias("running")
_newest = actions.alias("newest")
# On SQLite, the index by service would lead through all actions that have ended.
_UNINDEXED_SERVICE = actions.c.service_uuid + ""


class SqlStamps(StorePart):
    """The part of Dashboard in tutumd.ports that is about stamps."""

    def service_stamps(self, service_uuids: Collection[str]) -> Mapping[str, str]:
        is_postgres = self._database.is_postgres
        parts: dict[str, list[Any]] = {}
        with self._database.read() as connection:
            health = self._read_health(connection)
            for row in connection.execute(_of_services().where(_among(services.c.uuid, service_uuids, is_postgres))):
                parts[row.uuid] = [row, health.get(row.engine)]
            for part in [] if is_postgres else connection.execute(_of_uncounted(connection)):
                if part.service_uuid in parts:
                    parts[part.service_uuid].append(part)
            # While an action changes a service, only its containers tell what its engine shows.
            changing = [uuid for uuid, (row, *_) in parts.items() if not row.fingerprint]
            for statement, column, uuids in (
                (_of_handlers(is_postgres), handlers.c.service_uuid, service_uuids),
                (_of_live(is_postgres, self._clock()), _UNINDEXED_SERVICE, service_uuids),
                (_of_containers(), containers.c.service_uuid, changing),
            ):
                for part in connection.execute(statement.where(_among(column, uuids, is_postgres))):
                    if part.service_uuid in parts:  # else it was deleted in the meantime
                        parts[part.service_uuid].append(part)
        return {uuid: _stamp(*facts) for uuid, facts in parts.items()}

    def action_stamps(self, action_uuids: Collection[str]) -> Mapping[str, ActionStamp]:
        is_postgres = self._database.is_postgres
        with self._database.read() as connection:
            health = self._read_health(connection)
            of_uuids = _of_actions(is_postgres, self._clock()).where(_among(actions.c.uuid, action_uuids, is_postgres))
            rows = connection.execute(of_uuids).all()
            open_seqs = [] if is_postgres else [row.seq for row in rows if row.open]
            unfiled = _read_unfiled(connection, deliveries.c.action_seq, open_seqs)
        return {
            row.uuid: ActionStamp(
                # An engine that is away says so only on the page of an action that has not ended.
                text=_stamp(row[:-1], unfiled.get(row.seq), None if row.ended else health.get(row.engine)),
                newest_line=row.newest_line or 0,
            )
            for row in rows
        }

    def handler_stamps(self, handler_numbers: Collection[int]) -> Mapping[int, str]:
        is_postgres = self._database.is_postgres
        with self._database.read() as connection:
            rows = connection.execute(
                _of_called(is_postgres).where(_among(handlers.c.seq, handler_numbers, is_postgres))
            ).all()
            seqs = [] if is_postgres else list(handler_numbers)
            unfiled = _read_unfiled(connection, deliveries.c.handler_seq, seqs)
        return {row.seq: _stamp(row, unfiled.get(row.seq)) for row in rows}

    def live_stamp(self) -> str:
        c = actions.c
        flags = (c.cancel, c.worker.isnot(None), c.started.is_(None), c.due > self._clock())
        counts = (c.token, c.attempts, *(sa.case((flag, 1), else_=0) for flag in flags))
        live = sa.select(sa.func.count(), sa.func.max(c.due), *(sa.func.sum(count) for count in counts)).where(LIVE)
        texts = (services.c.state, sa.cast(services.c.warnings, sa.Text))
        counts = (services.c.revision, services.c.running, services.c.target, *(sa.func.length(text) for text in texts))
        states = sa.select(sa.func.count(), *(sa.func.sum(count) for count in counts)).where(services.c.bound)
        with self._database.read() as connection:
            health = self._read_health(connection)
            newest = connection.execute(sa.select(sa.func.max(c.seq))).scalar()
            return _stamp(newest, sorted(health.items()), *(connection.execute(sums).one() for sums in (live, states)))

    def _read_health(self, connection: sa.Connection) -> dict[str, tuple[object, ...]]:
        """Return, by engine, what is told of it to those who wait for it."""
        now = self._clock()
        return {
            row.name: (row.away, row.error, abs(now - row.last_heartbeat) > HEARTBEAT_TIMEOUT)
            for row in connection.execute(sa.select(engines))
        }


_CHANGING = [
    getattr(actions.c, name)
    for name in ("seq", "state", "cancel", "due", "started", "ended", "worker", "token", "attempts", "target", "reason")
]


def _newest_of(action_seq: sa.ColumnElement[int], is_postgres: bool) -> sa.ColumnElement[int]:
    """Return the number of the newest delivery of an action, on SQLite of those that are filed."""
    table = deliveries if is_postgres else action_deliveries
    return sa.select(sa.func.max(table.c.seq)).where(table.c.action_seq == action_seq).scalar_subquery()


def _newest_apart() -> sa.ColumnElement[int]:
    """Return the number of the newest delivery without an action of the handler of the surrounding query."""
    is_apart = sa.and_(deliveries.c.handler_seq == handlers.c.seq, deliveries.c.action_seq.is_(None))
    return sa.select(sa.func.max(deliveries.c.seq)).where(is_apart).scalar_subquery()


def _of_services() -> sa.Select[Any]:
    c = services.c
    columns = (c.uuid, c.engine, c.owner, c.revision, c.fingerprint, c.state, c.running, c.target, c.image_name)
    newest = sa.select(sa.func.max(_newest.c.seq)).where(_newest.c.service_uuid == c.uuid).scalar_subquery()
    return sa.select(*columns, c.bound, c.terminated, newest.label("newest_action"))


def _of_live(is_postgres: bool, now: datetime) -> sa.Select[Any]:
    """Select what changes with actions that have not ended: only these are joined by calls."""
    called = [_newest_of(actions.c.seq, is_postgres)] if is_postgres else []
    return (
        sa.select(actions.c.service_uuid, *_CHANGING, actions.c.due > now, *called).where(LIVE).order_by(actions.c.seq)
    )


def _of_containers() -> sa.Select[Any]:
    """Select what changes with present containers."""
    c = containers.c
    return sa.select(c.service_uuid, c.uuid, c.state, c.started).where(c.present).order_by(c.service_uuid, c.position)


def _of_handlers(is_postgres: bool) -> sa.Select[Any]:
    """Select what changes with the handlers of a service."""
    c = handlers.c
    sums = [sa.func.sum(column) for column in (c.version, c.uses, c.calls)]
    newest = [sa.func.max(column) for column in (c.seq, c.old_until, c.old_called)]
    called = [sa.func.max(_newest_apart())] if is_postgres else []
    return sa.select(c.service_uuid, sa.func.count(), *sums, *newest, *called).group_by(c.service_uuid)


def _of_uncounted(connection: sa.Connection) -> sa.Select[Any]:
    """Select services whose handlers were called since calls were counted, which a worker does every few seconds."""
    newest = connection.execute(sa.select(sa.func.max(deliveries.c.seq))).scalar() or 0
    start = max(call_counts.read_position(connection), newest - _MAX_UNCOUNTED)
    called = sa.select(handlers.c.service_uuid, sa.func.max(deliveries.c.seq)).join(
        handlers, handlers.c.seq == deliveries.c.handler_seq
    )
    return called.where(deliveries.c.seq > start).group_by(handlers.c.service_uuid)


def _of_actions(is_postgres: bool, now: datetime) -> sa.Select[Any]:
    is_running = _running.c.state == sa.literal_column("'In progress'")
    busy = sa.select(_running.c.seq).where(_running.c.service_uuid == actions.c.service_uuid, is_running)
    line = sa.select(sa.func.max(action_lines.c.seq)).where(action_lines.c.action_uuid == actions.c.uuid)
    return sa.select(
        actions.c.uuid,
        actions.c.engine,
        actions.c.open,
        *_CHANGING,
        actions.c.due > now,
        busy.limit(1).scalar_subquery().label("running"),
        _newest_of(actions.c.seq, is_postgres).label("newest_delivery"),
        line.scalar_subquery().label("newest_line"),
    )


def _of_called(is_postgres: bool) -> sa.Select[Any]:
    of_verb = sa.select(_newest.c.seq).where(
        _newest.c.service_uuid == handlers.c.service_uuid, _newest.c.verb == handlers.c.operation
    )
    newest = of_verb.order_by(_newest.c.seq.desc()).limit(1).correlate(handlers).scalar_subquery()
    return sa.select(handlers.c.seq, newest, _newest_of(newest, is_postgres), _newest_apart())


def _read_unfiled(connection: sa.Connection, by: sa.ColumnElement[Any], values: Collection[int]) -> dict[int, int]:
    """Return the newest of the deliveries that are not filed yet, by a column with one of these values."""
    if not values:
        return {}
    newest = sa.select(by, sa.func.max(deliveries.c.seq)).where(IS_UNFILED, _among(by, values, False)).group_by(by)
    return {row[0]: row[1] for row in connection.execute(newest)}


def _among(column: sa.ColumnElement[Any], values: Collection[Any], is_postgres: bool) -> sa.ColumnElement[bool]:
    """Return the condition that a column has one of many values: one parameter, which is quicker than many."""
    if is_postgres:
        return column == sa.any_(sa.literal(list(values), postgresql.ARRAY(column.type)))
    given = sa.func.json_each(json.dumps(list(values))).table_valued("value")
    return column.in_(sa.select(given.c.value))


def _stamp(*facts: object) -> str:
    return hashlib.blake2b(
        repr([tuple(fact) if isinstance(fact, sa.Row) else fact for fact in facts]).encode("utf-8", "replace"),
        digest_size=_STAMP_BYTES,
    ).hexdigest()
