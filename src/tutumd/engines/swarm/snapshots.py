"""What the rest of tutumd sees of a Swarm service."""

import shlex
from collections.abc import Iterable

from tutumd.engines.labels import IGNORE, Json, is_true, owner_of
from tutumd.engines.swarm import spec as specs
from tutumd.engines.swarm.planning import wanted_of
from tutumd.engines.swarm.tasks import Phase, Task
from tutumd.engines.swarm.verdict import View
from tutumd.model import ContainerSnapshot, ContainerState, Port, ServiceSnapshot

_STATES = {
    Phase.COMING: ContainerState.STARTING,
    Phase.RUNNING: ContainerState.RUNNING,
    Phase.LOST: ContainerState.STOPPED,
    Phase.LEAVING: ContainerState.STOPPING,
    Phase.ENDED: ContainerState.STOPPED,
}
_STUCK = ("paused", "rollback_paused", "rollback_completed")


def is_shown(spec: Json) -> bool:
    """Tell whether a service is one of ours to show: made of containers, and not labelled to be ignored."""
    if not (spec.get("TaskTemplate") or {}).get("ContainerSpec"):
        return False
    return not any(is_true(labels.get(IGNORE)) for labels in _labels(spec))


def snapshot(view: View) -> ServiceSnapshot:
    """Make the snapshot of a service. Its containers are the tasks that have not ended."""
    spec = view.spec
    image, digest = image_parts(specs.version(spec).image)
    owner, warnings = owner_of(_labels(spec))
    wanted = wanted_of(spec)
    shown = [task for task in view.tasks if task.phase is not Phase.ENDED]
    stopped = specs.is_stopped(spec)
    created = [task.created for task in shown if task.created and task.phase is not Phase.LEAVING]
    return ServiceSnapshot(
        selector=spec["Name"],
        name=spec["Name"],
        target=specs.stopped_replicas(spec) if stopped else _target(view),
        containers=tuple(_container(view, task) for task in shown),
        stack=(spec.get("Labels") or {}).get(specs.STACK, ""),
        owner=owner,
        stopped=stopped,
        image_name=image,
        image_digest=digest,
        run_command=run_command(spec),
        deployed=max(created, default=None),
        service_cap=wanted.service_cap,
        warnings=(*warnings, *wanted.problems, *_warnings(view)),
    )


def image_parts(image: str) -> tuple[str, str | None]:
    """Take the digest off an image's name."""
    name, _, digest = image.partition("@")
    return name, digest or None


def run_command(spec: Json) -> str:
    """Write the command that the service gives; empty where it is the image's own."""
    container: Json = (spec.get("TaskTemplate") or {}).get("ContainerSpec") or {}
    return shlex.join([*(container.get("Command") or ()), *(container.get("Args") or ())])


def _target(view: View) -> int:
    if specs.mode_of(view.spec) is specs.Mode.REPLICATED:
        return specs.replicas_of(view.spec)
    return len({task.place for task in view.wanted})


def _container(view: View, task: Task) -> ContainerSnapshot:
    image, digest = image_parts(task.version.image)
    return ContainerSnapshot(
        id=task.id,
        name=f"{view.spec['Name']}.{task.place}",
        state=_STATES[task.phase],
        image_name=image,
        image_digest=digest,
        run_command=run_command(view.spec),
        exit_code=task.exit_code,
        started=task.started,
        ports=_ports(view.service),
    )


def _ports(service: Json) -> tuple[Port, ...]:
    ports: Iterable[Json] = (service.get("Endpoint") or {}).get("Ports") or ()
    return tuple(
        Port(inner=port["TargetPort"], outer=port.get("PublishedPort") or None, protocol=port.get("Protocol", "tcp"))
        for port in ports
    )


def _labels(spec: Json) -> tuple[dict[str, str], dict[str, str]]:
    return specs.service_labels(spec), specs.container_labels(spec)


def _warnings(view: View) -> tuple[str, ...]:
    found = []
    lost = sorted({task.place for task in view.tasks if task.phase is Phase.LOST})
    if lost:
        found.append(f"the nodes of these containers do not answer: {', '.join(lost)}")
    if view.update_state in _STUCK:
        state = view.update_state.replace("_", " ")
        found.append(f"the last update of the service ended as {state}: {view.status.get('Message', '')}")
    return tuple(found)
