"""Retention: deletes old deliveries, ended actions with their parts, gone containers, old audit entries, and
unreferenced rows.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from tutumd.model import NotificationState
from tutumd.store.intake.plain_calls import KEEP_BATCHES
from tutumd.store.intake.sender_keys import REPEAT_WINDOW, select_dead
from tutumd.store.objects.audit import select_old
from tutumd.store.sql import Database
from tutumd.store.tables import (
    LIVE,
    PENDING,
    action_lines,
    action_totals,
    actions,
    api_keys,
    audit,
    containers,
    deliveries,
    discoveries,
    engines,
    group_calls,
    key_counts,
    login_links,
    notifications,
    pulled_images,
    repeats,
    requests,
    sender_keys,
    services,
    sessions,
    stored_batches,
    targets,
    worker_slots,
)
from tutumd.store.upkeep import delivery_log

FORGET_ENGINE_AFTER = timedelta(days=1)
"""An engine instance without a worker for this long is deleted, unless actions wait for it."""

FORGET_WORKER_AFTER = timedelta(minutes=10)
"""The slots of a worker without a heartbeat for this long are deleted."""

MAX_REQUEST_AGE = timedelta(minutes=1)
"""An unread request to a worker, or its response, is deleted after this time."""

KEEP_SENT, KEEP_UNSENT = timedelta(days=7), timedelta(days=30)
"""How long notifications are kept after their end, and what targets were told of failures."""

MAX_GROUP_CALLS = 10_000
"""Ended calls of a group to keep: the newest, and those that a repetition may still get."""

MAX_GONE_CONTAINERS = 100
"""Gone containers of a service to keep: the newest. A crash loop creates 1,440 a day."""

Keys = Mapping[sa.Table, Sequence[Any]]
"""Primary keys of rows, each as a tuple, by table."""


def prune(database: Database, now: datetime, keep: timedelta, limit: int, keep_audit: timedelta) -> bool:
    """Delete a batch of at most `limit` rows of each table, and return whether there may be more.

    Deliveries and actions are numbered in the order of their creation.
    """
    before = now - keep
    with database.read() as connection:
        oldest = sa.select(deliveries.c.seq, deliveries.c.received).order_by(deliveries.c.seq).limit(limit)
        aged = [row.seq for row in connection.execute(oldest) if row.received < before]
        old_deliveries = connection.execute(
            delivery_log.select_deletable(connection).where(deliveries.c.seq.in_(aged))
        ).all()
        # The next run of the service needs the journal of an abandoned action for its cleanup.
        is_over = sa.and_(actions.c.ended.isnot(None), ~actions.c.abandoned)
        ended = sa.select(actions.c.seq, actions.c.uuid, actions.c.ended).where(is_over).order_by(actions.c.seq)
        old_actions = [row for row in connection.execute(ended.limit(limit)) if row.ended < before]
        # Log lines are deleted first: there may be many. Amounts are deleted with the action: a retry reads all or
        # none.
        old_lines = connection.execute(
            sa.select(action_lines.c.seq)
            .where(action_lines.c.action_uuid.in_([row.uuid for row in old_actions]))
            .limit(limit)
        ).all()
        keys: Keys = {
            action_lines: old_lines,
            audit: connection.execute(select_old(now - keep_audit, limit)).all(),
            **({actions: [(row.seq,) for row in old_actions]} if len(old_lines) < limit else {}),
            **_find_unused(connection, now, before, limit),
        }
    is_any = bool(old_deliveries) or any(keys.values())
    if is_any:
        with database.write() as connection:
            delivery_log.delete(connection, old_deliveries)
            delete(connection, keys)
    return is_any


def _find_unused(connection: sa.Connection, now: datetime, before: datetime, limit: int) -> Keys:
    """Return the keys of rows whose order does not matter."""
    is_waited_for = sa.select(actions.c.uuid).where(actions.c.engine == engines.c.name, LIVE).exists()
    has_action = sa.select(actions.c.uuid).where(actions.c.service_uuid == services.c.uuid).exists()
    has_container = sa.select(containers.c.uuid).where(containers.c.service_uuid == services.c.uuid).exists()
    is_gone = sa.not_(containers.c.present)
    statements: dict[sa.Table, sa.Select[Any] | sa.CompoundSelect[Any]] = {
        engines: sa.select(engines.c.name).where(engines.c.last_heartbeat < now - FORGET_ENGINE_AFTER, ~is_waited_for),
        discoveries: sa.select(discoveries.c.engine).where(discoveries.c.engine.not_in(sa.select(engines.c.name))),
        worker_slots: sa.select(worker_slots.c.worker, worker_slots.c.engine).where(
            worker_slots.c.last_heartbeat < now - FORGET_WORKER_AFTER
        ),
        action_totals: sa.select(*action_totals.primary_key.columns).where(
            action_totals.c.engine.not_in(sa.select(engines.c.name))
        ),
        pulled_images: sa.select(pulled_images).where(pulled_images.c.engine.not_in(sa.select(engines.c.name))),
        services: sa.select(services.c.uuid).where(services.c.terminated, ~has_action, ~has_container),
        containers: sa.select(containers.c.uuid).where(is_gone, containers.c.stopped < before),
        requests: sa.select(requests.c.seq).where(requests.c.created < now - MAX_REQUEST_AGE),
        stored_batches: sa.select(stored_batches.c.key).where(stored_batches.c.stored < now - KEEP_BATCHES),
        sessions: sa.select(sessions.c.seq).where(sessions.c.expires <= now),
        api_keys: sa.select(api_keys.c.key_sha256).where(api_keys.c.expires < before),
        login_links: sa.select(login_links.c.token_sha256).where(login_links.c.expires <= now),
        group_calls: sa.select(group_calls.c.seq).where(group_calls.c.ended < before, group_calls.c.received < before),
        notifications: _select_old_notifications(now),
        repeats: sa.select(*repeats.primary_key.columns).where(repeats.c.told < now - KEEP_UNSENT),
        **{table: select_dead(table, now) for table in (sender_keys, key_counts)},
    }
    found = {table: list(connection.execute(select.limit(limit))) for table, select in statements.items()}
    h, c = containers.c, group_calls.c
    is_over = sa.and_(c.ended.isnot(None), sa.or_(c.digest.is_(None), c.received <= now - REPEAT_WINDOW))
    for owner, counted, surplus, most in (
        (h.service_uuid, is_gone, sa.select(h.uuid).where(is_gone).order_by(h.stopped.desc()), MAX_GONE_CONTAINERS),
        (c.handler_seq, sa.true(), sa.select(c.seq).where(is_over).order_by(c.seq.desc()), MAX_GROUP_CALLS),
    ):
        crowded = sa.select(owner).where(counted).group_by(owner).having(sa.func.count() > most).limit(limit)
        for number_or_uuid in connection.scalars(crowded).all():
            room = max(0, limit - len(found[owner.table]))
            of_owner = surplus.where(owner == number_or_uuid).offset(most).limit(room)
            found[owner.table] += connection.execute(of_owner)
    return found


def _select_old_notifications(now: datetime) -> sa.CompoundSelect[Any]:
    """Select old notifications. Only those of disabled targets are pending for longer than the schedule of attempts."""
    c = notifications.c
    is_sent, is_disabled = c.state == NotificationState.SENT.value, sa.not_(targets.c.enabled)
    return sa.union_all(
        sa.select(c.seq).where(is_sent, c.ended < now - KEEP_SENT),
        sa.select(c.seq).where(c.state == NotificationState.DEAD.value, c.ended < now - KEEP_UNSENT),
        # Tests are stored as due long before they are created.
        sa.select(c.seq)
        .join(targets)
        .where(is_disabled, PENDING, c.due < now - KEEP_UNSENT, c.created < now - KEEP_UNSENT),
    )


def delete(connection: sa.Connection, keys: Keys) -> None:
    """Delete rows by their keys, except services and containers that have returned in the meantime."""
    is_gone = {services: services.c.terminated, containers: sa.not_(containers.c.present)}
    for table, values in keys.items():
        if values:
            connection.execute(
                sa.delete(table).where(sa.tuple_(*table.primary_key.columns).in_(values), is_gone.get(table, sa.true()))
            )
