"""Snapshots of services: what the rest of tutumd knows of them."""

import shlex
from collections.abc import Iterable

from tutumd.engines.labels import Json, describe_lasting_tag, found_settings, owner_of
from tutumd.engines.swarm import spec as specs
from tutumd.engines.swarm.messages import desired_count
from tutumd.engines.swarm.view import Phase, ServiceView, Task
from tutumd.model import ContainerSnapshot, ContainerState, Port, ServiceSnapshot

_STATES = {
    Phase.STARTING: ContainerState.STARTING,
    Phase.RUNNING: ContainerState.RUNNING,
    Phase.LOST: ContainerState.STOPPED,
    Phase.STOPPING: ContainerState.STOPPING,
    Phase.ENDED: ContainerState.STOPPED,
}
_STUCK = ("paused", "rollback_paused", "rollback_completed")


def take_snapshot(view: ServiceView) -> ServiceSnapshot:
    """Return the snapshot of a service. Its containers are the tasks that have not ended."""
    spec = view.spec
    image, digest = split_digest(view.version.image)
    of_service, of_containers = specs.label_sets(spec)
    owner, warnings = owner_of((of_service, of_containers))
    labels = specs.read_labels(spec)
    shown = [task for task in view.tasks if task.phase is not Phase.ENDED]
    stopped = specs.is_stopped(spec)
    created = [task.created for task in shown if task.created and task.phase is not Phase.STOPPING]
    return ServiceSnapshot(
        selector=spec["Name"],
        name=spec["Name"],
        target=specs.replicas_before_stop(spec) if stopped else desired_count(view),
        containers=tuple(_container(view, task) for task in shown),
        stack=(spec.get("Labels") or {}).get(specs.STACK, ""),
        owner=owner,
        stopped=stopped,
        image_name=image,
        image_digest=digest,
        run_command=_run_command(spec),
        deployed=max(created, default=None),
        service_cap=labels.service_cap,
        warnings=(*warnings, *labels.problems, *_warnings(view)),
        notes=describe_lasting_tag(of_service, image),
        settings=found_settings([{**of_containers, **of_service}]),
    )


def split_digest(image: str) -> tuple[str, str | None]:
    """Return the name and the digest of an image."""
    name, _, digest = image.partition("@")
    return name, digest or None


def _run_command(spec: Json) -> str:
    """Return the command in the specification; empty if it is the image's own."""
    container = specs.container_spec(spec)
    return shlex.join([*(container.get("Command") or ()), *(container.get("Args") or ())])


def _container(view: ServiceView, task: Task) -> ContainerSnapshot:
    image, digest = split_digest(task.version.image)
    ports: Iterable[Json] = (view.service.get("Endpoint") or {}).get("Ports") or ()
    return ContainerSnapshot(
        id=task.id,
        name=f"{view.spec['Name']}.{task.slot}",
        state=_STATES[task.phase],
        image_name=image,
        image_digest=digest,
        run_command=_run_command(view.spec),
        exit_code=task.exit_code,
        started=task.started,
        ports=tuple(
            Port(
                inner=port["TargetPort"],
                outer=port.get("PublishedPort") or None,
                protocol=port.get("Protocol", "tcp"),
            )
            for port in ports
        ),
    )


def _warnings(view: ServiceView) -> tuple[str, ...]:
    warnings = []
    lost = sorted({task.slot for task in view.tasks if task.phase is Phase.LOST})
    if lost:
        warnings.append(f"the nodes of these containers do not respond: {', '.join(lost)}")
    if view.update_state in _STUCK:
        state = view.update_state.replace("_", " ")
        warnings.append(f"the last update of the service ended as {state}: {view.status.get('Message', '')}")
    return tuple(warnings)
