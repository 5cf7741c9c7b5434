"""Who lives by another container, and so must be made anew after it: shared namespaces and legacy links."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tutumd.engines.docker.inspect.inspected_container import InspectedContainer
from tutumd.engines.docker.inspect.selectors import base_name

_SHARED = (("NetworkMode", "network"), ("IpcMode", "IPC"), ("PidMode", "process"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependent:
    """A container that breaks when another one is replaced; `reason` follows its name in a sentence."""

    container: InspectedContainer
    reason: str


def dependents(members: Sequence[InspectedContainer], everybody: Sequence[InspectedContainer]) -> tuple[Dependent, ...]:
    """Return who depends on `members`, directly or through another one, each after what it depends on."""
    found: list[Dependent] = []
    reached = list(members)
    known = {one.id for one in members}
    for parent in reached:
        for other in everybody:
            reason = _dependence(other, parent)
            if reason and other.id not in known:
                known.add(other.id)
                reached.append(other)
                found.append(Dependent(container=other, reason=reason))
    return tuple(found)


def swapping_parent(one: InspectedContainer, everybody: Sequence[InspectedContainer]) -> str:
    """Return how a container depends on one that is being replaced, as words after its name; empty if it does not.

    Made anew now, it would depend on what is removed, or is put back, a moment later.
    """
    swapping = {base_name(other.name) for other in everybody if base_name(other.name) != other.name}
    for parent in everybody:
        name = base_name(parent.name)
        # A link may have either name; shared namespaces mostly have the ID.
        for known in (replace(parent, name=name), parent) if name in swapping else ():
            if reason := _dependence(one, known):
                return reason
    return ""


def moved(host: dict[str, Any], successors: dict[str, str]) -> dict[str, Any]:
    """Return a HostConfig that depends on the successors of replaced containers.

    Args:
        host: With links as they are given, `target:alias`; they follow a target that is parked under another name.
        successors: New IDs by old ones. What is shared by name needs no change.
    """
    result = dict(host)
    if host.get("Links"):
        result["Links"] = [
            f"{base_name(target)}:{alias}" for target, _, alias in (link.partition(":") for link in host["Links"])
        ]
    for field, _ in _SHARED:
        kind, _, owner = str(host.get(field) or "").partition(":")
        if kind == "container" and owner:
            result[field] = f"container:{next((new for old, new in _matches(successors, owner)), owner)}"
    return result


def _matches(successors: dict[str, str], owner: str) -> Iterator[tuple[str, str]]:
    return ((old, new) for old, new in successors.items() if len(owner) >= 12 and old.startswith(owner))


def _dependence(other: InspectedContainer, parent: InspectedContainer) -> str:
    host = other.raw.get("HostConfig") or {}
    targets = {f"container:{name}" for name in (parent.id, parent.id[:12], parent.name)}
    for field, word in _SHARED:
        if host.get(field) in targets:
            return f"shares the {word} namespace of {parent.name}"
    if any(link.partition(":")[0].removeprefix("/") == parent.name for link in host.get("Links") or ()):
        return f"has a legacy link to {parent.name}"
    return ""
