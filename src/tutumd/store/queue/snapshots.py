"""Row locks on services, taken before an action of the service is queued, claimed or ended, changes that need such a
lock, and engine snapshots as rows of services and containers.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

import sqlalchemy as sa

from tutumd.model import ActionState, ContainerSnapshot, ContainerState, ReasonCode, ServiceSnapshot, ServiceState
from tutumd.store.objects import action_totals
from tutumd.store.queue import holds
from tutumd.store.sql import dialect_of, insert_missing
from tutumd.store.tables import (
    LIVE,
    actions,
    containers,
    freeze_windows,
    handlers,
    new_uuid,
    service_holds,
    service_images,
    services,
    storable,
)

_LOCK_SERVICES = sa.text("SELECT FROM services WHERE uuid = ANY(:uuids) ORDER BY uuid FOR NO KEY UPDATE")
_RAISE_REVISION = sa.text("UPDATE services SET revision = revision + 1 WHERE uuid = :uuid")


def lock_services(connection: sa.Connection, uuids: Iterable[str]) -> None:
    """Lock services until the transaction ends, in the order of their UUIDs, so that no two transactions deadlock.

    The rows are locked when the next statement is executed. On SQLite a writing transaction is alone anyway.
    """
    if not dialect_of(connection).single_writer:
        dialect_of(connection).execute_later(connection, _LOCK_SERVICES, {"uuids": list(set(uuids))})


def raise_revision(connection: sa.Connection, service_uuid: str) -> None:
    """Record the begin or end of a run of a locked service: earlier looks at the engine are then out of date."""
    dialect_of(connection).execute_later(connection, _RAISE_REVISION, {"uuid": service_uuid})


def lock_unlocked_services(connection: sa.Connection, uuids: Iterable[str]) -> set[str]:
    """Lock the services that no other transaction has locked, and return the others. For PostgreSQL only."""
    requested = sa.select(services.c.uuid).where(services.c.uuid.in_(list(uuids))).order_by(services.c.uuid)
    locked_now = connection.scalars(requested.with_for_update(key_share=True, skip_locked=True)).all()
    return set(connection.scalars(requested)).difference(locked_now)


_TARGETS = sa.select(actions.c.service_uuid, actions.c.target, actions.c.target_before).where(
    actions.c.uuid == sa.bindparam("action_uuid")
)


def settle_target(connection: sa.Connection, action_uuid: str, *, success: bool) -> None:
    """Set the target of a created service after an action: the action's target, or the target before it."""
    action = connection.execute(_TARGETS, {"action_uuid": action_uuid}).one()
    if action.target is None:
        return
    created = sa.update(services).where(services.c.uuid == action.service_uuid, services.c.definition.isnot(None))
    if success:
        connection.execute(created.values(target=action.target))
    elif action.target_before is not None:
        connection.execute(created.where(services.c.target == action.target).values(target=action.target_before))
        # A later SCALE would otherwise restore the number that was not reached.
        connection.execute(
            sa.update(actions)
            .where(actions.c.service_uuid == action.service_uuid, actions.c.target_before == action.target, LIVE)
            .values(target_before=action.target_before)
        )


def fingerprint(snapshot: ServiceSnapshot, *, is_changing: bool = False) -> str:
    """Return a hash of a snapshot, for a cheap comparison.

    Args:
        is_changing: An action is changing the service, so that only a part of the snapshot is stored.
    """
    return hashlib.sha256(f"{is_changing} {snapshot}".encode()).hexdigest()


def store_snapshot(
    connection: sa.Connection, uuid: str, snapshot: ServiceSnapshot, *, now: datetime, final: bool
) -> None:
    """Update the row of a service, and its containers.

    Args:
        final: The action in progress ends with this snapshot, so that the target of a discovered service is the
            snapshot's.
    """
    values: dict[str, Any] = {
        "bound": True,
        "unbound": None,
        "stack": snapshot.stack,
        "full_name": snapshot.full_name or "/".join(filter(None, (snapshot.stack, snapshot.name))),
        "alias": snapshot.alias,
        "state": snapshot.state.value,
        "running": snapshot.running,
        "stopped": sum(container.state is ContainerState.STOPPED for container in snapshot.containers),
        "image_digest": snapshot.image_digest,
        "warnings": list(snapshot.warnings),
        "notes": "\n".join(snapshot.notes),
        "left_tags": "\n".join(snapshot.left_tags),
        "settings": [[name, storable(value)] for name, value in snapshot.settings],
        "rollback_refusal": snapshot.rollback_refusal,
        "part_of": snapshot.part_of[:255],
        "after": [storable(name) for name in snapshot.after],
        "autorestart": snapshot.autorestart.value,
        "variables": list(snapshot.variables),
        "deployed": snapshot.deployed,
        "target": snapshot.target,
        "fingerprint": fingerprint(snapshot),
        "name": snapshot.name,
        "owner": snapshot.owner,
        "image_name": snapshot.image_name,
        "run_command": snapshot.run_command,
    }
    before = connection.execute(_BEFORE, {"service_uuid": uuid}).one()
    if before.definition is not None:
        # A service created through tutumd: its owner sets these columns, which apply even before the next redeploy. Its
        # target is the requested target, whatever the engine reports.
        kept = {"name", "full_name", "owner", "image_name", "run_command", "target"}
        values = {key: value for key, value in values.items() if key not in kept}
    if not final and connection.scalar(_IS_CHANGING, {"of_service": uuid}):
        values.update(fingerprint=fingerprint(snapshot, is_changing=True))
        # A redeploy runs old and new containers side by side.
        values = {key: value for key, value in values.items() if key not in ("target", "warnings")}
    connection.execute(
        _update_service(tuple(values)),
        {"service_uuid": uuid, **{f"new_{name}": value for name, value in fit(services, values).items()}},
    )
    _store_containers(connection, uuid, snapshot.containers, now)
    if (before.owner, before.stack) != (values.get("owner", before.owner), snapshot.stack):
        holds.refresh(connection, [uuid], now)  # other freeze windows act on it


# The statements for a snapshot are built once: calls wait while SQLite's write lock is held.
_BEFORE = sa.select(services.c.definition, services.c.owner, services.c.stack).where(
    services.c.uuid == sa.bindparam("service_uuid")
)
_NAMED_CONTAINERS = sa.select(containers).where(
    containers.c.service_uuid == sa.bindparam("of_service"),
    containers.c.object_id.in_(sa.bindparam("object_ids", expanding=True)),
)
# Not all containers that the service ever had: a crash loop leaves thousands.
_SHOWN_CONTAINERS = sa.union_all(
    sa.select(containers).where(containers.c.service_uuid == sa.bindparam("of_service"), containers.c.present),
    _NAMED_CONTAINERS.where(sa.not_(containers.c.present)),
)


def is_changing(service_uuid: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
    """Return the condition that an action is changing a service, or will scale it."""
    changes = sa.or_(actions.c.state == ActionState.IN_PROGRESS.value, actions.c.verb == "SCALE")
    return sa.select(actions.c.uuid).where(actions.c.service_uuid == service_uuid, LIVE, changes).exists()


_IS_CHANGING = sa.select(is_changing(sa.bindparam("of_service")))


@cache
def _update_service(names: tuple[str, ...]) -> sa.Update:
    return (
        sa.update(services)
        .where(services.c.uuid == sa.bindparam("service_uuid"))
        .values({name: sa.bindparam(f"new_{name}", type_=services.c[name].type) for name in names})
    )


def container_uuids(connection: sa.Connection, uuid: str, object_ids: Sequence[str], now: datetime) -> list[str]:
    """Return tutumd's UUIDs of containers. Containers without a row get a row, as terminated."""
    named = connection.execute(_NAMED_CONTAINERS, {"of_service": uuid, "object_ids": list(object_ids)})
    by_id = {row.object_id: row.uuid for row in named}
    unknown = [
        ContainerSnapshot(id=id_, name="", state=ContainerState.TERMINATED, stopped=now)
        for id_ in dict.fromkeys(object_ids)
        if id_ not in by_id
    ]
    if unknown:
        new = [{**_container_values(uuid, item, 0), "present": False} for item in unknown]
        connection.execute(sa.insert(containers), new)
        by_id |= {values["object_id"]: values["uuid"] for values in new}
    return [by_id[id_] for id_ in object_ids]


def unbind(connection: sa.Connection, uuid: str | None, now: datetime) -> None:
    """Mark a service as no longer reported by its engine."""
    connection.execute(
        sa.update(services)
        .where(services.c.uuid == uuid)
        .values(
            bound=services.c.definition.isnot(None),
            unbound=now,
            state=ServiceState.NOT_RUNNING.value,
            running=0,
            stopped=0,
            fingerprint="",
        )
    )
    mark_gone(connection, sa.and_(containers.c.service_uuid == uuid, containers.c.present), now)


def mark_gone(connection: sa.Connection, which: sa.ColumnElement[bool], now: datetime) -> None:
    """Mark containers as no longer reported by their engine."""
    stopped = sa.func.coalesce(containers.c.stopped, sa.literal(now, containers.c.stopped.type))
    connection.execute(
        sa.update(containers).where(which).values(present=False, state=ContainerState.TERMINATED.value, stopped=stopped)
    )


def end_service(connection: sa.Connection, uuid: str, now: datetime, reason: str) -> set[str]:
    """Mark a locked service as terminated; delete its handlers and freeze windows, and cancel its pending actions.

    The row stays until its last action is deleted.

    Args:
        reason: Reason of the canceled actions.

    Returns:
        The topics to publish.
    """
    connection.execute(
        sa.update(services)
        .where(services.c.uuid == uuid)
        .values(terminated=True, bound=False, running=0, stopped=0, target=0, state="Terminated")
    )
    connection.execute(sa.delete(handlers).where(handlers.c.service_uuid == uuid))
    mark_gone(connection, sa.and_(containers.c.service_uuid == uuid, containers.c.present), now)
    for table in (freeze_windows, service_images, service_holds):
        connection.execute(sa.delete(table).where(table.c.service_uuid == uuid))
    return cancel_pending(connection, actions.c.service_uuid == uuid, now, reason)


def cancel_pending(
    connection: sa.Connection, which: sa.ColumnElement[bool], now: datetime, reason: str | sa.ColumnElement[str]
) -> set[str]:
    """Cancel the pending ones of the actions of locked services, and return the topics to publish."""
    canceled = connection.scalars(
        sa.update(actions)
        .where(which, actions.c.state == ActionState.PENDING.value)
        .values(
            state=ActionState.CANCELED.value,
            open=False,
            ended=now,
            reason=reason,
            reason_code=ReasonCode.CANCELED.value,
        )
        .returning(actions.c.uuid)
    )
    return action_totals.count_ended(connection, canceled.all())


def insert_service(connection: sa.Connection, **values: object) -> bool:
    """Insert the row of a new service, and return False if its selector already has a row.

    Args:
        values: Columns that have no default here.
    """
    defaults = {"bound": True, "terminated": False, "running": 0, "stopped": 0, "warnings": [], "fingerprint": ""}
    return insert_missing(connection, services, **fit(services, {**defaults, **values}))


def fit(table: sa.Table, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return column values with texts that every database can store: the transaction also contains other services."""
    return {
        key: storable(value)[: getattr(table.c[key].type, "length", None)] if isinstance(value, str) else value
        for key, value in values.items()
    }


def _store_containers(
    connection: sa.Connection, uuid: str, snapshots: Sequence[ContainerSnapshot], now: datetime
) -> None:
    shown = {snapshot.id: _container_values(uuid, snapshot, index) for index, snapshot in enumerate(snapshots)}
    rows = connection.execute(_SHOWN_CONTAINERS, {"of_service": uuid, "object_ids": list(shown)}).all()
    stored = {row.object_id: row for row in rows}
    new = [values for object_id, values in shown.items() if object_id not in stored]
    if new:
        connection.execute(sa.insert(containers), new)
    for object_id in shown.keys() & stored.keys():
        row, values = stored[object_id], shown[object_id]
        changed = {key: value for key, value in values.items() if key != "uuid" and getattr(row, key) != value}
        if changed:
            connection.execute(sa.update(containers).where(containers.c.uuid == row.uuid).values(**changed))
    gone = [row.uuid for row in rows if row.object_id not in shown]
    if gone:
        mark_gone(connection, containers.c.uuid.in_(gone), now)


def _container_values(uuid: str, snapshot: ContainerSnapshot, position: int) -> dict[str, Any]:
    return fit(
        containers,
        {
            "uuid": new_uuid(),
            "service_uuid": uuid,
            "object_id": snapshot.id,
            "present": True,
            "position": position,
            "name": snapshot.name,
            "state": snapshot.state.value,
            "image_name": snapshot.image_name,
            "image_digest": snapshot.image_digest,
            "run_command": snapshot.run_command,
            "exit_code": snapshot.exit_code,
            "started": snapshot.started,
            "stopped": snapshot.stopped,
            "ports": [[port.inner, port.outer, port.protocol] for port in snapshot.ports],
        },
    )
