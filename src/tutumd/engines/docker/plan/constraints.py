"""Containers that depend on each other, and constraints on replacement and removal."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from tutumd.engines.docker.look.containers import InspectedContainer
from tutumd.engines.docker.look.services import ContainerGroup, Slot, base_name, run_of, slot_of
from tutumd.engines.docker.look.snapshot import base_image
from tutumd.engines.labels import IGNORE, Json, is_true, names_image_by_id
from tutumd.errors import EngineBusyError, EngineRefusedError

_NAMESPACES = (("NetworkMode", "network"), ("IpcMode", "IPC"), ("PidMode", "process"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependent:
    """A container that breaks when another container is replaced. `reason` is a phrase that follows its name."""

    container: InspectedContainer
    reason: str


def find_dependents(
    members: Sequence[InspectedContainer], all_containers: Sequence[InspectedContainer]
) -> tuple[Dependent, ...]:
    """Return the containers that depend on `members`, directly or not, each after its dependencies."""
    dependents: list[Dependent] = []
    reached = list(members)
    for parent in reached:
        known = {container.id for container in reached}
        for container in all_containers:
            reason = _dependence(container, parent)
            if reason and container.id not in known:
                reached.append(container)
                dependents.append(Dependent(container=container, reason=reason))
    return tuple(dependents)


def parked_dependents(group: ContainerGroup, all_containers: Sequence[InspectedContainer]) -> tuple[Slot, ...]:
    """Return the slots of dependents that an interrupted redeploy of a service has parked, each after its parents."""
    # A dependent may also be part of a separate redeploy.
    runs = {run_of(container.name) for container in group.all_containers} - {""}
    found = [dependent.container.name for dependent in find_dependents(group.all_containers, all_containers)]
    names = dict.fromkeys(base_name(name) for name in found if run_of(name) in runs)
    return tuple(
        slot_of(name, name, [each for each in all_containers if base_name(each.name) == name]) for name in names
    )


def check_no_busy_dependency(group: ContainerGroup, all_containers: Sequence[InspectedContainer]) -> None:
    """Raise EngineBusyError if a container of a service depends on a container that is being replaced.

    If it were re-created now, it would depend on a container that is about to be removed or restored.
    """
    names = {slot.name for slot in group.slots}
    others = [other for other in all_containers if base_name(other.name) not in names]
    swapping = {base_name(other.name) for other in others if base_name(other.name) != other.name}
    for container, parent in product(group.containers, others):
        if base_name(parent.name) in swapping and (reason := _dependence(container, parent)):
            raise EngineBusyError(
                f"{container.name} {reason}, which is being redeployed at present; if that was interrupted, redeploy it"
            )


def with_successors(host: dict[str, Any], successors: dict[str, str]) -> dict[str, Any]:
    """Return a HostConfig that depends on the successors of replaced containers.

    Args:
        host: Its links have the form `target:alias`. The target may be parked under another name.
        successors: New IDs by old IDs. A namespace that is shared by name needs no change.
    """
    result = dict(host)
    if host.get("Links"):
        links = (link.partition(":") for link in host["Links"])
        result["Links"] = [f"{base_name(target)}:{alias}" for target, _, alias in links]
    for field, _, owner in _shared_namespaces(host):
        followers = (new for old, new in successors.items() if len(owner) >= 12 and old.startswith(owner))
        result[field] = f"container:{next(followers, owner)}"
    return result


def _shared_namespaces(host: Json) -> Iterator[tuple[str, str, str]]:
    """Yield field, name and owner of each namespace that belongs to another container; the owner as an ID or a name."""
    for field, namespace in _NAMESPACES:
        kind, _, owner = str(host.get(field) or "").partition(":")
        if kind == "container" and owner:
            yield field, namespace, owner


def _dependence(container: InspectedContainer, parent: InspectedContainer) -> str:
    host = container.host_config
    # Links refer to either name of a parked container; shared namespaces mostly refer to the ID.
    name = base_name(parent.name)
    for _, namespace, owner in _shared_namespaces(host):
        if owner in (parent.id, parent.id[:12], parent.name, name):
            return f"shares the {namespace} namespace of {name}"
    if any(base_name(link.partition(":")[0].removeprefix("/")) == name for link in host.get("Links") or ()):
        return f"has a legacy link to {name}"
    return ""


def check_replaceable(old: InspectedContainer, *, is_refetched: bool = False) -> None:
    """Check that a container can be replaced.

    Args:
        is_refetched: A missing image will be pulled again.

    Raises:
        EngineRefusedError: It cannot.
    """
    if old.status in ("removing", "dead"):
        raise EngineRefusedError(f"the container {old.name} is {old.status}: remove it, then create it again")
    if names_image_by_id(base_image(old), old.image_id):
        raise EngineRefusedError(
            f"the container {old.name} was created from an image ID ({old.image_name}), which belongs to no "
            "repository, so there is nothing to pull: create it from a name such as repository:tag"
        )
    if old.image is None and not is_refetched:
        raise EngineRefusedError(
            f"the image {old.image_id} of the container {old.name} is gone from the engine, so its settings cannot be "
            "told apart from the container's own: re-create the container"
        )


def check_readable(containers: Iterable[InspectedContainer]) -> None:
    """Raise EngineRefusedError if a container cannot be inspected: nothing is known that an action needs."""
    for container in containers:
        if container.fault:
            raise EngineRefusedError(
                f"the container {container.name} cannot be inspected, so it was left as it is: remove it, then create "
                f"it again ({container.fault})"
            )


def check_owners(container: InspectedContainer, all_containers: Sequence[InspectedContainer]) -> None:
    """Check that the owners of the namespaces that a running container shares also run.

    Raises:
        EngineRefusedError: An owner does not run. After a stop, neither the container nor a new container could be
            started.
    """
    for _, namespace, reference in _shared_namespaces(container.host_config) if container.is_active else ():
        owners = [each for each in all_containers if each.name == reference or each.id.startswith(reference)]
        if not any(owner.is_active for owner in owners):
            raise EngineRefusedError(
                f"the container {container.name} shares the {namespace} namespace of "
                f"{owners[0].name if owners else reference[:12]}, which does not run, so no new container could be "
                "started in it: start the other one, or re-create both"
            )


def check_can_follow(container: InspectedContainer, reason: str, self_id: str | None) -> None:
    """Check that a container can be re-created after its dependency.

    Args:
        reason: How it depends, as a phrase that follows its name.
        self_id: ID of the container of this process.

    Raises:
        EngineRefusedError: It cannot.
        EngineBusyError: It is itself being redeployed.
    """
    name = base_name(container.name)
    if name != container.name:
        raise EngineBusyError(
            f"the container {name} {reason} and is being redeployed itself; if that was interrupted, redeploy {name}"
        )
    prefix = f"the container {name} {reason} and must be re-created with it, which is impossible: "
    if self_id and container.id.startswith(self_id):
        raise EngineRefusedError(f"{prefix}tutumd itself runs in it; replace both with what created them")
    if is_true(container.labels.get(IGNORE)):
        raise EngineRefusedError(f"{prefix}it has the label {IGNORE}; replace both with what created them")
    if container.auto_remove:
        raise EngineRefusedError(f"{prefix}it was started with --rm; start it without")
    try:
        check_readable([container])
        check_replaceable(container)
    except EngineRefusedError as error:
        raise EngineRefusedError(f"{prefix}{error}") from error


def check_can_be_followed(deleted: Sequence[str], dependents: Sequence[Dependent]) -> None:
    """Check that the dependents of a service could be restored.

    Args:
        deleted: Names of the service's containers that are deleted by their stop.

    Raises:
        EngineRefusedError: They could not.
    """
    if deleted and dependents:
        dependent = f"{dependents[0].container.name} {dependents[0].reason}"
        raise EngineRefusedError(
            f"the container {deleted[0]} was started with --rm, so its stop deletes it, and {dependent}: if the new "
            "container failed, the old one could not be restored; start it without --rm"
        )


def check_no_dependents(old: InspectedContainer, all_containers: Sequence[InspectedContainer]) -> None:
    """Check that no other container shares the namespaces of this container or is linked to it."""
    for dependent in find_dependents([old], all_containers):
        raise EngineRefusedError(
            f"the container {dependent.container.name} {dependent.reason} and would break if that is removed: "
            "remove it first"
        )
