"""Containers that depend on another one, through shared namespaces or legacy links, and so are re-created after it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tutumd.engines.docker.inspect.inspected_container import InspectedContainer
from tutumd.engines.docker.inspect.selectors import ContainerGroup, Slot, base_name, run_of, slot_of

_NAMESPACES = (("NetworkMode", "network"), ("IpcMode", "IPC"), ("PidMode", "process"))
_SHORT_ID = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependent:
    """A container that breaks when another one is replaced. `reason` follows its name in a sentence."""

    container: InspectedContainer
    reason: str


def find_dependents(
    members: Sequence[InspectedContainer], all_containers: Sequence[InspectedContainer]
) -> tuple[Dependent, ...]:
    """Return the containers that depend on `members`, directly or not, each after those that it depends on."""
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
    members = [container for slot in group.slots for container in slot.members]
    # A dependent may also be in a redeploy of its own.
    runs = {run_of(container.name) for container in members} - {""}
    found = [dependent.container.name for dependent in find_dependents(members, all_containers)]
    names = dict.fromkeys(base_name(name) for name in found if run_of(name) in runs)
    return tuple(
        slot_of(name, name, [each for each in all_containers if base_name(each.name) == name]) for name in names
    )


def busy_dependency(container: InspectedContainer, all_containers: Sequence[InspectedContainer]) -> str:
    """Return how a container depends on one that is being replaced, as words after its name; empty if it does not.

    If it were re-created now, it would depend on a container that is about to be removed, or put back.
    """
    swapping = {base_name(other.name) for other in all_containers if base_name(other.name) != other.name}
    for parent in all_containers:
        if base_name(parent.name) in swapping and (reason := _dependence(container, parent)):
            return reason
    return ""


def with_successors(host: dict[str, Any], successors: dict[str, str]) -> dict[str, Any]:
    """Return a HostConfig that depends on the successors of replaced containers.

    Args:
        host: Its links have the form `target:alias`. The target may be parked under another name.
        successors: New IDs by old ones. A namespace that is shared by name needs no change.
    """
    result = dict(host)
    if host.get("Links"):
        links = (link.partition(":") for link in host["Links"])
        result["Links"] = [f"{base_name(target)}:{alias}" for target, _, alias in links]
    for field, _ in _NAMESPACES:
        kind, _, owner = str(host.get(field) or "").partition(":")
        if kind == "container" and owner:
            result[field] = f"container:{next(_successors_of(owner, successors), owner)}"
    return result


def namespace_owners(container: InspectedContainer) -> Iterator[tuple[str, str]]:
    """Return the IDs or names of the containers whose namespaces a container shares, each with the namespace."""
    for field, namespace in _NAMESPACES:
        kind, _, owner = str(container.host_config.get(field) or "").partition(":")
        if kind == "container" and owner:
            yield owner, namespace


def _successors_of(owner: str, successors: dict[str, str]) -> Iterator[str]:
    return (new for old, new in successors.items() if len(owner) >= _SHORT_ID and old.startswith(owner))


def _dependence(container: InspectedContainer, parent: InspectedContainer) -> str:
    host = container.host_config
    # Links refer to either name of a parked container; shared namespaces mostly refer to the ID.
    name = base_name(parent.name)
    targets = {f"container:{reference}" for reference in (parent.id, parent.id[:_SHORT_ID], parent.name, name)}
    for field, namespace in _NAMESPACES:
        if host.get(field) in targets:
            return f"shares the {namespace} namespace of {name}"
    if any(base_name(link.partition(":")[0].removeprefix("/")) == name for link in host.get("Links") or ()):
        return f"has a legacy link to {name}"
    return ""
