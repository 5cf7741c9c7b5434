"""Snapshots of services for the store, and the tags that calls named."""

import shlex
from collections.abc import Iterable, Sequence

from tutumd.engines.docker.look.containers import InspectedContainer, repository_digest
from tutumd.engines.docker.look.services import ContainerGroup, base_name
from tutumd.engines.labels import IMAGE_BASE, IMAGE_TAGGED, Json, found_settings, group_facts, owner_of, parse_labels
from tutumd.model import Autorestart, ContainerSnapshot, ContainerState, ImageFacts, Port, ServiceSnapshot

# Container states by Docker's; all others are STOPPED.
_STATES = {
    "running": ContainerState.RUNNING,
    "restarting": ContainerState.STARTING,
    "removing": ContainerState.TERMINATING,
}
# By the name of the restart policy; without a policy, a container is not restarted.
_AUTORESTART = {
    "always": Autorestart.ALWAYS,
    "unless-stopped": Autorestart.ALWAYS,
    "on-failure": Autorestart.ON_FAILURE,
}


def service_snapshot(group: ContainerGroup) -> ServiceSnapshot:
    """Return the snapshot of a service; image, command, restarts and variables are those of its newest container."""
    containers = group.containers
    newest = max(containers, key=lambda container: (container.created is not None, container.created))
    label_sets = [container.labels for container in containers]
    labels = parse_labels(label_sets)
    owner, owner_warnings = owner_of(label_sets)
    extras = [
        f"the container {extra.name} runs beside {base_name(extra.name)}: if no redeploy is under way, an interrupted "
        "one left it, and the next one removes it"
        for extra in group.extras
    ]
    return ServiceSnapshot(
        selector=group.selector,
        name=group.name,
        stack=group.stack,
        owner=owner,
        target=len(containers),
        containers=(
            *(_container_snapshot(slot.name, slot.container) for slot in group.slots),
            *(_container_snapshot(extra.name, extra) for extra in group.extras),
        ),
        stopped=all(container.stopped_on_purpose for container in containers),
        image_name=newest.image_name,
        image_digest=newest.image_digest,
        run_command=_command(newest),
        image=image_facts(newest),
        deployed=newest.created,
        service_cap=labels.service_cap,
        autorestart=_AUTORESTART.get(newest.policy.get("Name") or "", Autorestart.OFF),
        variables=_own_variables(newest),
        warnings=(*owner_warnings, *labels.problems, *_state_warnings(containers), *extras),
        notes=describe_file(containers),
        left_tags=describe_left_tags(containers, map(base_image, containers)),
        settings=found_settings(label_sets),
        rollback_refusal=rollback_refusal(containers),
        **group_facts(newest.labels),
    )


def _container_snapshot(name: str, container: InspectedContainer) -> ContainerSnapshot:
    state = _STATES.get(container.status, ContainerState.STOPPED)
    if state is ContainerState.RUNNING and container.health == "starting":
        state = ContainerState.STARTING
    return ContainerSnapshot(
        id=container.id,
        name=name,
        state=state,
        image_name=container.image_name,
        image_digest=container.image_digest,
        run_command=_command(container),
        exit_code=container.exit_code if container.status in ("exited", "dead") else None,
        started=container.started,
        stopped=None if container.is_active else container.finished,
        ports=_ports(container),
    )


def _command(container: InspectedContainer) -> str:
    return shlex.join([part for part in (container.raw.get("Path"), *(container.raw.get("Args") or ())) if part])


def _own_variables(container: InspectedContainer) -> tuple[str, ...]:
    """Return the names of the variables of a container, without the variables of its image."""
    given = set((container.raw.get("Config") or {}).get("Env") or ()) - set(
        ((container.image or {}).get("Config") or {}).get("Env") or ()
    )
    return tuple(sorted({variable.partition("=")[0] for variable in given}))


def _ports(container: InspectedContainer) -> tuple[Port, ...]:
    ports = set()
    for inner, bindings in ((container.raw.get("NetworkSettings") or {}).get("Ports") or {}).items():
        number, _, protocol = inner.partition("/")
        for outer in {binding["HostPort"] for binding in bindings or ()} or {""}:
            ports.add((int(number), int(outer) if outer else None, protocol or "tcp"))
    return tuple(Port(inner=inner, outer=outer, protocol=protocol) for inner, outer, protocol in sorted(ports, key=str))


def _state_warnings(containers: Iterable[InspectedContainer]) -> Iterable[str]:
    for container in containers:
        if container.fault:
            yield f"the container {container.name} cannot be inspected: {container.fault}"
        if container.status == "paused":
            yield f"the container {container.name} is paused"
        elif container.health == "unhealthy":  # a paused container fails its checks
            yield f"the container {container.name} is unhealthy"


def base_image(container: InspectedContainer) -> str:
    """Return the image name that a person or Compose gave a container, regardless of the tags of later calls."""
    # Podman shows a name of an image that was chosen by its ID.
    if container.labels.get(IMAGE_TAGGED) not in (container.image_name, container.image_id):
        return container.image_name  # also if it was created from a container with the labels, but another image
    # Not from `container.labels`: an image that was committed from a container of this service has the same base.
    return str(container.raw["Config"]["Labels"].get(IMAGE_BASE) or container.image_name)


def with_base(labels: Json, base: str, image: str) -> dict[str, str]:
    """Return the labels of a new container of `image`, for a service whose base image is `base`."""
    kept = {name: value for name, value in labels.items() if name not in (IMAGE_BASE, IMAGE_TAGGED)}
    return kept if image == base else {**kept, IMAGE_BASE: base, IMAGE_TAGGED: image}


def describe_left_tags(containers: Sequence[InspectedContainer], images: Iterable[str]) -> tuple[str, ...]:
    """Return a description of the images, chosen by the tag of a call or a rollback, that a redeploy replaces."""
    known = {
        (old.image_name, base_image(old), "a rollback" if _is_rolled_back(old) else "the tag of an earlier call", new)
        for old, new in zip(containers, images, strict=True)
    }
    return tuple(
        f"without a tag, it goes back from {old}, which {chooser} chose, to {base}"
        for old, base, chooser, new in sorted(known)
        if new == base != old
    )


def _is_rolled_back(container: InspectedContainer) -> bool:
    """Return whether a rollback chose the image: a digest or an ID names it, which no tag of a call does."""
    chosen = container.labels.get(IMAGE_TAGGED, "")
    return "@" in chosen or chosen.startswith("sha256:")


def rollback_refusal(containers: Iterable[InspectedContainer]) -> str:
    """Return why a service cannot be rolled back: its containers run different images; empty if it can."""
    names = sorted({base_image(each).partition("@")[0] for each in containers})
    listed = ", ".join(names)
    return f"a rollback would give its containers one image, and they have several: {listed}" if len(names) > 1 else ""


def image_facts(container: InspectedContainer) -> ImageFacts | None:
    """Return the image that a container runs; None if it is unknown. After a rollback, its name is that of before."""
    if not container.image_id:
        return None
    labels = ((container.image or {}).get("Config") or {}).get("Labels") or {}
    return ImageFacts(
        reference=base_image(container).partition("@")[0] if _is_rolled_back(container) else container.image_name,
        digest=repository_digest(container.image_name, container.image),
        image_id=container.image_id,
        platform=container.platform,
        version=labels.get("org.opencontainers.image.version") or "",
        revision=labels.get("org.opencontainers.image.revision") or "",
    )


def describe_file(containers: Iterable[InspectedContainer]) -> tuple[str, ...]:
    """Return a note that the Compose file is not read, if Compose created one of the containers."""
    is_from_file = any(
        each.compose and each.labels.get("com.docker.compose.project.config_files") for each in containers
    )
    return (
        ("the compose file was not read: changes in it or in an env_file take effect with docker compose up -d",)
        if is_from_file
        else ()
    )
