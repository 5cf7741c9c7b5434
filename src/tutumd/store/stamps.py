"""Stamps: short texts that change when what a page shows does, read for many pages at once."""

import hashlib
from collections.abc import Collection, Mapping
from typing import Any

import sqlalchemy as sa

from tutumd.model import ActionStamp
from tutumd.ports.queue import HEARTBEAT_TIMEOUT
from tutumd.store.action_deliveries import IS_UNFILED
from tutumd.store.database import StorePart
from tutumd.store.tables import LIVE, action_deliveries, action_lines, actions, deliveries, engines, handlers, services

_STAMP_BYTES = 12
_running = actions.alias("running")
_newest = actions.alias("newest")


class SqlStamps(StorePart):
    """The part of Dashboard in tutumd.ports that is about stamps."""

    def service_stamps(self, service_uuids: Collection[str]) -> Mapping[str, str]:
        is_postgres = self._database.is_postgres
        with self._database.read() as connection:
            health = self._read_health(connection)
            of_services = _of_handlers(is_postgres).where(handlers.c.service_uuid.in_(service_uuids))
            by_service = {row.service_uuid: tuple(row) for row in connection.execute(of_services)}
            live: dict[str, list[tuple[object, ...]]] = {}
            for row in connection.execute(_of_live(is_postgres).where(actions.c.service_uuid.in_(service_uuids))):
                live.setdefault(row.service_uuid, []).append(tuple(row))
            rows = connection.execute(_of_services().where(services.c.uuid.in_(service_uuids))).all()
        return {
            row.uuid: _stamp(row, by_service.get(row.uuid), live.get(row.uuid), health.get(row.engine)) for row in rows
        }

    def action_stamps(self, action_uuids: Collection[str]) -> Mapping[str, ActionStamp]:
        with self._database.read() as connection:
            health = self._read_health(connection)
            of_uuids = _of_actions(self._database.is_postgres).where(actions.c.uuid.in_(action_uuids))
            rows = connection.execute(of_uuids).all()
            open_seqs = [] if self._database.is_postgres else [row.seq for row in rows if row.open]
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
            rows = connection.execute(_of_called(is_postgres).where(handlers.c.seq.in_(handler_numbers))).all()
            seqs = [] if is_postgres else list(handler_numbers)
            unfiled = _read_unfiled(connection, deliveries.c.handler_seq, seqs)
        return {row.seq: _stamp(row, unfiled.get(row.seq)) for row in rows}

    def live_stamp(self) -> str:
        c = actions.c
        live = sa.select(
            sa.func.count(),
            sa.func.sum(c.token),
            sa.func.sum(c.attempts),
            *(
                sa.func.sum(sa.case((flag, 1), else_=0))
                for flag in (c.cancel, c.worker.isnot(None), c.started.is_(None))
            ),
            sa.func.max(c.due),
        ).where(LIVE)
        states = sa.select(
            sa.func.count(),
            *(sa.func.sum(column) for column in (services.c.revision, services.c.running, services.c.target)),
        ).where(services.c.bound)
        with self._database.read() as connection:
            health = self._read_health(connection)
            newest = connection.execute(sa.select(sa.func.max(c.seq))).scalar()
            return _stamp(
                newest, sorted(health.items()), connection.execute(live).one(), connection.execute(states).one()
            )

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


def _of_live(is_postgres: bool) -> sa.Select[Any]:
    """Select what changes with actions that have not ended: only these are joined by calls."""
    called = [_newest_of(actions.c.seq, is_postgres)] if is_postgres else []
    return sa.select(actions.c.service_uuid, *_CHANGING, *called).where(LIVE).order_by(actions.c.seq)


def _of_handlers(is_postgres: bool) -> sa.Select[Any]:
    """Select what changes with the handlers of a service. On SQLite, calls are counted within a second."""
    c = handlers.c
    sums = [sa.func.sum(column) for column in (c.version, c.uses, c.calls)]
    newest = [sa.func.max(column) for column in (c.seq, c.old_until, c.old_called)]
    called = [sa.func.max(_newest_apart())] if is_postgres else []
    return sa.select(c.service_uuid, sa.func.count(), *sums, *newest, *called).group_by(c.service_uuid)


def _of_actions(is_postgres: bool) -> sa.Select[Any]:
    is_running = _running.c.state == sa.literal_column("'In progress'")
    busy = sa.select(_running.c.seq).where(_running.c.service_uuid == actions.c.service_uuid, is_running)
    line = sa.select(sa.func.max(action_lines.c.seq)).where(action_lines.c.action_uuid == actions.c.uuid)
    return sa.select(
        actions.c.uuid,
        actions.c.engine,
        actions.c.open,
        *_CHANGING,
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
    newest = sa.select(by, sa.func.max(deliveries.c.seq)).where(IS_UNFILED, by.in_(values)).group_by(by)
    return {row[0]: row[1] for row in connection.execute(newest)}


def _stamp(*facts: object) -> str:
    text = repr([tuple(fact) if isinstance(fact, sa.Row) else fact for fact in facts])
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=_STAMP_BYTES).hexdigest()
