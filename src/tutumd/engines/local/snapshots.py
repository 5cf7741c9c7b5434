"""From a record and what is seen of its processes to what the rest of tutumd is shown."""

from collections.abc import Mapping
from dataclasses import dataclass

from tutumd.engines.local.launch import container_name
from tutumd.engines.local.records import ContainerRecord, ServiceRecord
from tutumd.engines.local.restarts import will_restart
from tutumd.model import ContainerSnapshot, ContainerState, Definition, ServiceSnapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What is seen of a container's first process; `exit_code` is None while it runs, or where it is unknown."""

    is_running: bool
    exit_code: int | None = None


def build_snapshot(record: ServiceRecord, sights: Mapping[str, Sight]) -> ServiceSnapshot:
    """Show a service. `sights` has an entry for every container of the record, by ID.

    Containers that come in are Starting, those that leave are Stopping until they are gone. `image_digest` is the
    digest of the definition that runs, so that a redeploy tells whether it changed something.
    """
    shown = [_present(record, c, sights[c.id]) for c in record.containers]
    if record.change is not None:
        coming = record.change
        shown += [_show(record, c, coming.definition, ContainerState.STARTING) for c in coming.incoming]
    shown += [
        _show(record, c, record.definition, ContainerState.STOPPING) for c in record.leaving if sights[c.id].is_running
    ]
    return ServiceSnapshot(
        selector=record.uuid,
        name=record.name,
        target=record.target,
        containers=tuple(shown),
        stopped=record.stopped,
        image_name=record.image_name,
        image_digest=record.digest,
        run_command=record.definition.command,
        deployed=max((c.started for c in record.containers if c.started), default=None),
    )


def _present(record: ServiceRecord, container: ContainerRecord, sight: Sight) -> ContainerSnapshot:
    code = container.exit_code if container.ended else sight.exit_code
    if container.process is None and container.ended is None:
        state = ContainerState.STARTING
    elif sight.is_running:
        state = ContainerState.RUNNING
    elif will_restart(record.definition.autorestart, code):
        state = ContainerState.STARTING
    else:
        state = ContainerState.STOPPED
    return _show(record, container, record.definition, state, code)


def _show(
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
