"""Snapshots of services, built from their records and the state of their processes."""

from collections.abc import Collection, Mapping

from tutumd.engines.local.launch import container_name
from tutumd.engines.local.records import ContainerRecord, ServiceRecord
from tutumd.engines.local.restart_policy import will_restart
from tutumd.model import ContainerSnapshot, ContainerState, Definition, ServiceSnapshot


def build_snapshot(
    record: ServiceRecord, running: Collection[str], exit_codes: Mapping[str, int | None]
) -> ServiceSnapshot:
    """Return the snapshot of a service.

    Incoming containers are Starting; leaving ones are Stopping until their processes have ended. `image_digest` is
    the digest of the running definition, so that a redeploy shows whether it changed something.

    Args:
        running: IDs of the containers whose first process runs.
        exit_codes: Exit codes of containers whose end is not in the record yet, by ID, as far as they are known.
    """
    snapshots = [_snapshot_of_present(record, c, c.id in running, exit_codes.get(c.id)) for c in record.containers]
    if record.change is not None:
        definition = record.change.definition
        snapshots += [_snapshot(record, c, definition, ContainerState.STARTING) for c in record.incoming]
    snapshots += [
        _snapshot(record, c, record.definition, ContainerState.STOPPING) for c in record.leaving if c.id in running
    ]
    return ServiceSnapshot(
        selector=record.uuid,
        name=record.name,
        target=record.target,
        containers=tuple(snapshots),
        stopped=record.stopped,
        image_name=record.image_name,
        image_digest=record.digest,
        run_command=record.definition.command,
        deployed=max((c.started for c in record.containers if c.started), default=None),
    )


def _snapshot_of_present(
    record: ServiceRecord, container: ContainerRecord, is_running: bool, exit_code: int | None
) -> ContainerSnapshot:
    exit_code = container.exit_code if container.ended else exit_code
    if container.process is None and container.ended is None:
        state = ContainerState.STARTING
    elif is_running:
        state = ContainerState.RUNNING
    elif will_restart(record.definition.autorestart, exit_code):
        state = ContainerState.STARTING
    else:
        state = ContainerState.STOPPED
    return _snapshot(record, container, record.definition, state, exit_code)


def _snapshot(
    record: ServiceRecord,
    container: ContainerRecord,
    definition: Definition,
    state: ContainerState,
    exit_code: int | None = None,
) -> ContainerSnapshot:
    return ContainerSnapshot(
        id=container.id,
        name=container_name(record, container),
        state=state,
        image_name=record.image_name,
        image_digest=record.digest,
        run_command=definition.command,
        exit_code=exit_code,
        started=container.started,
        stopped=container.ended,
    )
