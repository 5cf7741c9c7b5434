"""The store's newest actions: of each service, of all services, and those that failed; and who requested them."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

import sqlalchemy as sa

from tutumd.model import Action, ActionState, Requester, User
from tutumd.store.objects import audit
from tutumd.store.objects.action_deliveries import first_handler
from tutumd.store.objects.action_rows import action_from, select_actions
from tutumd.store.objects.row_mapping import visible_to
from tutumd.store.sql.database import StorePart
from tutumd.store.tables.actions import FAILED, actions
from tutumd.store.tables.services import handlers, services

MAX_FAILURE_AGE = timedelta(days=7)
"""Older failures are not listed."""

_MAX_FAILED = 10


class SqlRecentActions(StorePart):
    """The part of Store in tutumd.ports that lists the newest actions."""

    def newest_actions(self, viewer: User, service_uuids: Sequence[str]) -> Mapping[str, Action]:
        of_service = sa.select(sa.func.max(actions.c.seq)).where(actions.c.service_uuid == services.c.uuid)
        newest = sa.select(of_service.scalar_subquery()).where(services.c.uuid.in_(service_uuids), visible_to(viewer))
        found = select_actions(counts_deliveries=False).where(actions.c.seq.in_(newest))
        with self._database.read() as connection:
            return {row.service_uuid: action_from(row, self._clock()) for row in connection.execute(found)}

    def failed_actions(self, viewer: User) -> tuple[Action, ...]:
        now = self._clock()
        later = actions.alias("later")
        has_later = sa.select(later.c.seq).where(
            later.c.service_uuid == actions.c.service_uuid, later.c.seq > actions.c.seq
        )
        ended = later.c.state.in_([ActionState.SUCCESS.value, ActionState.FAILED.value])
        failed = select_actions(counts_deliveries=False).where(FAILED, actions.c.created > now - MAX_FAILURE_AGE)
        is_newest = sa.and_(~has_later.where(ended).exists(), visible_to(viewer), sa.not_(services.c.terminated))
        with self._database.read() as connection:
            return tuple(
                action_from(row, now)
                for row in connection.execute(failed.where(is_newest).order_by(actions.c.seq.desc()).limit(_MAX_FAILED))
            )

    def recent_actions(self, viewer: User, limit: int, *, failed: bool = False) -> tuple[Action, ...]:
        found = select_actions(counts_deliveries=False).where(visible_to(viewer), sa.not_(services.c.terminated))
        with self._database.read() as connection:
            chosen = FAILED if failed else actions.c.seq.in_(_read_newest(connection, viewer, limit))
            return tuple(
                action_from(row, self._clock())
                for row in connection.execute(found.where(chosen).order_by(actions.c.seq.desc()).limit(limit))
            )

    def requesters(self, viewer: User, action_uuids: Sequence[str]) -> Mapping[str, Requester]:
        called = (
            sa.select(actions.c.uuid, first_handler().label("handler"))
            .join(services, services.c.uuid == actions.c.service_uuid)
            .where(actions.c.uuid.in_(action_uuids), visible_to(viewer))
            .subquery()
        )
        named = sa.select(called, handlers.c.seq, handlers.c.name).outerjoin(
            handlers, handlers.c.seq == called.c.handler
        )
        with self._database.read() as connection:
            users = audit.read_requesters(connection, viewer, action_uuids)
            return {
                row.uuid: Requester(
                    users=users.get(row.uuid, ()),
                    handler=row.seq,
                    handler_name=row.name,
                    is_call=row.handler is not None,
                )
                for row in connection.execute(named)
            }


def _read_newest(connection: sa.Connection, viewer: User, limit: int) -> list[int]:
    """Return the numbers of the newest actions of all services that the viewer sees.

    For a viewer who does not see all services, the newest actions belong to at most as many services: those whose
    newest actions are the newest. So the database reads one index entry for each service, and no action of another
    viewer's service.
    """
    numbers = sa.select(actions.c.seq).order_by(actions.c.seq.desc())
    if viewer.is_admin and not viewer.access.is_narrow:
        # By the primary key, from its end.
        return list(
            connection.scalars(
                numbers.join(services, services.c.uuid == actions.c.service_uuid)
                .where(sa.not_(services.c.terminated), actions.c.seq > 0)
                .limit(limit)
            )
        )
    newest = numbers.where(actions.c.service_uuid == services.c.uuid).limit(1).scalar_subquery()
    chosen = connection.scalars(
        sa.select(services.c.uuid)
        .where(visible_to(viewer), sa.not_(services.c.terminated))
        .order_by(sa.func.coalesce(newest, 0).desc())
        .limit(limit)
    ).all()
    each = [numbers.where(actions.c.service_uuid == uuid).limit(limit).subquery() for uuid in chosen]
    found = connection.scalars(sa.union_all(*(sa.select(part.c.seq) for part in each))).all() if each else []
    return sorted(found, reverse=True)[:limit]
