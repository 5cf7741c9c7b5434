"""Engine snapshots as rows of services and containers."""

import hashlib
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from tutumd.model import ActionState, ContainerSnapshot, ContainerState, ServiceSnapshot, ServiceState
from tutumd.store.row_mapping import Row
from tutumd.store.tables import LIVE, actions, containers, new_uuid, services


def fingerprint(snapshot: ServiceSnapshot) -> str:
    """Return a hash of a snapshot, for a cheap comparison."""
    return hashlib.sha256(repr(snapshot).encode()).hexdigest()


def store_snapshot(
    connection: sa.Connection, uuid: str, snapshot: ServiceSnapshot, *, now: datetime, final: bool
) -> None:
    """Update the row of a service, and its containers.

    Args:
        final: The action in progress ends with this snapshot, so the service's target is the snapshot's.
    """
    values: dict[str, Any] = {
        "bound": True,
        "unbound": None,
        "stack": snapshot.stack,
        "state": snapshot.state.value,
        "running": snapshot.running,
        "stopped": sum(container.state is ContainerState.STOPPED for container in snapshot.containers),
        "image_digest": snapshot.image_digest,
        "warnings": list(snapshot.warnings),
        "deployed": snapshot.deployed,
        "target": snapshot.target,
        "fingerprint": fingerprint(snapshot),
        "name": snapshot.name,
        "owner": snapshot.owner,
        "image_name": snapshot.image_name,
        "run_command": snapshot.run_command,
    }
    row = connection.execute(sa.select(services.c.definition).where(services.c.uuid == uuid)).one()
    if row.definition is not None:
        # A service created through tutumd: its owner sets these, and they hold even before the next redeploy.
        kept = {"name", "owner", "image_name", "run_command"} | ({"target"} if snapshot.stopped else set())
        values = {key: value for key, value in values.items() if key not in kept}
    if not final and _is_being_changed(connection, uuid):
        values.update(fingerprint="")
        values.pop("target", None)
    connection.execute(sa.update(services).where(services.c.uuid == uuid).values(**values))
    _store_containers(connection, uuid, snapshot.containers, now)


def container_uuids(connection: sa.Connection, uuid: str, object_ids: Sequence[str], now: datetime) -> list[str]:
    """Return our UUIDs of containers. Containers without a row get one, as terminated."""
    stored = _containers_by_object_id(connection, uuid, object_ids)
    unknown = [ContainerSnapshot(id=id_, name="", state=ContainerState.TERMINATED, stopped=now) for id_ in object_ids]
    new = [_container_values(uuid, item, 0) for item in unknown if item.id not in stored]
    if new:
        connection.execute(sa.insert(containers), [{**values, "present": False} for values in new])
    by_id = {**{row.object_id: row.uuid for row in stored.values()}, **{v["object_id"]: v["uuid"] for v in new}}
    return [by_id[id_] for id_ in object_ids]


def unbind(connection: sa.Connection, uuids: Sequence[str], now: datetime) -> None:
    """Mark services as no longer shown by their engine."""
    connection.execute(
        sa.update(services)
        .where(services.c.uuid.in_(uuids))
        .values(
            bound=services.c.definition.isnot(None),
            unbound=now,
            state=ServiceState.NOT_RUNNING.value,
            running=0,
            stopped=0,
            fingerprint="",
        )
    )
    for uuid in uuids:
        _store_containers(connection, uuid, (), now)


def insert_service(connection: sa.Connection, **values: object) -> None:
    """Insert the row of a new service. `values` are its columns without a default here."""
    defaults = {"bound": True, "terminated": False, "running": 0, "stopped": 0, "warnings": [], "fingerprint": ""}
    connection.execute(sa.insert(services).values({**defaults, **values}))


def _is_being_changed(connection: sa.Connection, uuid: str) -> bool:
    statement = sa.select(actions.c.uuid).where(
        actions.c.service_uuid == uuid,
        LIVE,
        sa.or_(actions.c.state == ActionState.IN_PROGRESS.value, actions.c.verb == "SCALE"),
    )
    return connection.execute(statement.limit(1)).first() is not None


def _containers_by_object_id(connection: sa.Connection, uuid: str, object_ids: Collection[str]) -> dict[str, Row]:
    """Return the present containers of a service, and those with these IDs."""
    is_wanted = sa.or_(containers.c.present, containers.c.object_id.in_(list(object_ids)))
    rows = connection.execute(sa.select(containers).where(containers.c.service_uuid == uuid, is_wanted))
    return {row.object_id: row for row in rows}


def _store_containers(
    connection: sa.Connection, uuid: str, snapshots: Sequence[ContainerSnapshot], now: datetime
) -> None:
    shown = {snapshot.id: _container_values(uuid, snapshot, index) for index, snapshot in enumerate(snapshots)}
    stored = _containers_by_object_id(connection, uuid, shown.keys())
    new = [values for object_id, values in shown.items() if object_id not in stored]
    if new:
        connection.execute(sa.insert(containers), new)
    for object_id in shown.keys() & stored.keys():
        row, values = stored[object_id], shown[object_id]
        changed = {key: value for key, value in values.items() if key != "uuid" and getattr(row, key) != value}
        if changed:
            connection.execute(sa.update(containers).where(containers.c.uuid == row.uuid).values(**changed))
    gone = [row.uuid for row in stored.values() if row.present and row.object_id not in shown]
    if gone:
        connection.execute(
            sa.update(containers)
            .where(containers.c.uuid.in_(gone))
            .values(
                present=False,
                state=ContainerState.TERMINATED.value,
                stopped=sa.func.coalesce(containers.c.stopped, sa.literal(now, containers.c.stopped.type)),
            )
        )


def _container_values(uuid: str, snapshot: ContainerSnapshot, position: int) -> dict[str, Any]:
    return {
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
    }
