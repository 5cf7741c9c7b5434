"""What may not be replaced or removed, because it could not be put back or would break a neighbour."""

from collections.abc import Sequence

from tutumd.engines.docker.dependents import Dependent, dependents
from tutumd.engines.docker.inspect.inspected_container import InspectedContainer
from tutumd.engines.docker.inspect.selectors import base_name
from tutumd.engines.images.reference import names_image_by_id
from tutumd.errors import EngineRefusedError, EngineUnavailableError


class DependencyBusyError(EngineUnavailableError):
    """What a service depends on, or what depends on it, is being redeployed, or changed: to be tried again."""


def check_replaceable(old: InspectedContainer, *, fetches_again: bool = False) -> None:
    """Check that a container can be replaced.

    Args:
        fetches_again: Its image will be fetched where it is gone.

    Raises:
        EngineRefusedError: why not, and what to do.
    """
    if old.status in ("removing", "dead"):
        raise EngineRefusedError(f"the container {old.name} is {old.status}: remove it, then create it again")
    if names_image_by_id(old.image_name, old.image_id):
        raise EngineRefusedError(
            f"the container {old.name} was created from an image ID ({old.image_name}), which belongs to no "
            "repository: there is nothing to pull; create it from a name such as repository:tag"
        )
    if old.image is None and not fetches_again:
        raise EngineRefusedError(
            f"the image {old.image_id} that the container {old.name} was made from is gone from the engine, so "
            "that its settings cannot be told from the container's own; create the container anew"
        )


def check_can_follow(one: InspectedContainer, reason: str, own_id: str | None) -> None:
    """Check that a container can be made anew after the one that it depends on.

    Args:
        reason: How it depends, as words that follow its name.
        own_id: The container that this process runs in.

    Raises:
        EngineRefusedError: why not, and what to do.
        DependencyBusyError: It is being redeployed itself.
    """
    if base_name(one.name) != one.name:
        name = base_name(one.name)
        raise DependencyBusyError(
            f"the container {name} {reason} and is being redeployed itself; if that was cut off, redeploy {name}"
        )
    sentence = f"the container {one.name} {reason} and must be made anew with it, which cannot be done: "
    if own_id and one.id.startswith(own_id):
        raise EngineRefusedError(f"{sentence}tutumd itself runs in it; replace both with what created them")
    if (one.raw.get("HostConfig") or {}).get("AutoRemove"):
        raise EngineRefusedError(f"{sentence}it was started with --rm; start it without")
    try:
        check_replaceable(one)
    except EngineRefusedError as error:
        raise EngineRefusedError(f"{sentence}{error}") from error


def check_can_be_followed(deleted: Sequence[str], following: Sequence[Dependent]) -> None:
    """Check that what depends on the service could be put back.

    Args:
        deleted: Names of its containers that their stop deletes.

    Raises:
        EngineRefusedError: why not, and what to do.
    """
    if deleted and following:
        raise EngineRefusedError(
            f"the container {deleted[0]} was started with --rm, so that its stop deletes it, and "
            f"{following[0].container.name} {following[0].reason}: if the new one failed, that could not be put back, "
            "as it depends on the very container that is deleted; start it without --rm"
        )


def check_no_dependents(old: InspectedContainer, everybody: Sequence[InspectedContainer]) -> None:
    """Check that no other container lives in this one's namespaces or is linked to it."""
    for other in dependents([old], everybody):
        raise EngineRefusedError(
            f"the container {other.container.name} {other.reason} and would break when that is removed; remove it first"
        )
