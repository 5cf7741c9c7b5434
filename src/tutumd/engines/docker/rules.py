"""What may not be replaced, because it could not be put back or would break a neighbour."""

from collections.abc import Iterable, Sequence

from tutumd.engines.docker.seen import Seen
from tutumd.engines.dockerapi import names_image_by_id
from tutumd.errors import EngineRefusedError

_SHARED = (("NetworkMode", "network"), ("IpcMode", "IPC"), ("PidMode", "process"))


def check_replaceable(old: Seen, everybody: Sequence[Seen]) -> None:
    """Check that a container can be replaced, and put back should that fail.

    Args:
        everybody: All containers of the engine, for those that depend on `old`.

    Raises:
        EngineRefusedError: why not, and what to do.
    """
    if (old.raw.get("HostConfig") or {}).get("AutoRemove"):
        raise EngineRefusedError(
            f"the container {old.name} was started with --rm: stopping it would delete it, so that it could not be put "
            "back if its replacement fails; start it without --rm"
        )
    if old.status in ("removing", "dead"):
        raise EngineRefusedError(f"the container {old.name} is {old.status}: remove it, then create it again")
    if names_image_by_id(old.image_name, old.image_id):
        raise EngineRefusedError(
            f"the container {old.name} was created from an image ID ({old.image_name}), which belongs to no "
            "repository: there is nothing to pull; create it from a name such as repository:tag"
        )
    if old.image is None:
        raise EngineRefusedError(
            f"the image {old.image_id} that the container {old.name} was made from is gone from the engine, so "
            "that its settings cannot be told from the container's own; create the container anew"
        )
    check_no_dependents(old, everybody)


def check_no_dependents(old: Seen, everybody: Iterable[Seen]) -> None:
    """Check that no other container lives in this one's namespaces or is linked to it."""
    for other in everybody:
        reason = _dependence(other, old)
        if other.id != old.id and reason:
            raise EngineRefusedError(
                f"the container {other.name} {reason} {old.name} and would break when that is replaced or removed; "
                "re-create both together with what created them"
            )


def _dependence(other: Seen, old: Seen) -> str:
    host = other.raw.get("HostConfig") or {}
    targets = {f"container:{name}" for name in (old.id, old.id[:12], old.name)}
    for field, word in _SHARED:
        if host.get(field) in targets:
            return f"shares the {word} namespace of"
    if any(link.partition(":")[0].removeprefix("/") == old.name for link in host.get("Links") or ()):
        return "has a legacy link to"
    return ""
