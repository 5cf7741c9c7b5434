"""Recovery of a slot whose swap has no journal any more, for example because the database was lost."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from tutumd.engines.docker.inspect.inspected_container import InspectedContainer
from tutumd.engines.docker.inspect.selectors import Slot, base_name
from tutumd.engines.docker.recreate.networks import endpoint_settings
from tutumd.engines.docker.swap.steps import SwapStep, auto_restarts, reconnect_steps


def all_recovery_steps(own: Sequence[Slot], dependents: Sequence[Slot]) -> tuple[SwapStep, ...]:
    """Return the steps that leave one container in each slot of a service, and of those that depend on it.

    The new ones stay only if they are complete: a dependent that was only stopped needs the container that it was
    created for, and so does each other one.
    """
    returns = not all(slot.current is not None and _is_healthy(slot.current) for slot in dependents)
    new = [container.created for slot in own for container in slot.upcoming or (slot.current,) if container is not None]
    began = min(filter(None, new), default=None)
    return (
        *(step for slot in own for step in recovery_steps(slot, returns=returns)),
        *(step for slot in dependents for step in recovery_steps(slot, returns=returns, began=began)),
    )


def recovery_steps(slot: Slot, *, returns: bool = False, began: datetime | None = None) -> tuple[SwapStep, ...]:
    """Return the steps that leave one container in a slot, under its own name.

    The old container is preferred unless its replacement already runs well. The replacement was created with the old
    container's configuration before that was changed, so it shows what the old one was like: its restart policy, and
    by the time of its creation whether the old one ran then.

    Args:
        returns: The old container is put back even if its replacement runs.
        began: When the run changed the first container, if that was before this replacement was created.
    """
    return tuple(_steps(slot, returns, began)) if slot.is_swapping else ()


def _steps(slot: Slot, returns: bool, began: datetime | None) -> Iterator[SwapStep]:
    current, previous, upcoming = slot.current, slot.previous, slot.upcoming
    old = previous[0] if previous else current
    if upcoming and old is not None and (current is None or not previous) and _has_taken_over(upcoming[0], old):
        # Killed while the old one was detached: clients know only the new one.
        yield SwapStep(verb="stop", container=old.id)
        yield from _remove(old, *previous[1:])
        yield SwapStep(verb="rename", container=upcoming[0].id, name=slot.name)
        yield from _remove(*upcoming[1:])
    elif previous and (returns or current is None or _is_failed_replacement(current, previous[0])):
        replacement = current or (upcoming[0] if upcoming else None)
        if current is not None:
            yield SwapStep(verb="stop", container=current.id)
            yield from _remove(current)
        yield SwapStep(verb="rename", container=previous[0].id, name=slot.name)
        yield from _restore(previous[0], replacement, began)
        yield from _remove(*previous[1:], *upcoming)
    elif current is not None:
        if upcoming and not previous:
            yield from _restore(current, upcoming[0], began)
        yield from _remove(*previous, *upcoming)
    else:
        yield SwapStep(verb="rename", container=upcoming[0].id, name=slot.name)
        yield from _remove(*upcoming[1:])


def _has_taken_over(new: InspectedContainer, old: InspectedContainer) -> bool:
    """Return True if a container that was started beside `old` has replaced it in a network."""
    return _is_healthy(new) and any(reconnect_steps(old, _endpoints(new)))


def _endpoints(replacement: InspectedContainer) -> dict[str, dict[str, Any]]:
    """Return the endpoint settings of a replacement without its own name, which it has as an alias, too."""
    settings, name = endpoint_settings(replacement.raw), base_name(replacement.name)
    return {
        network: {**endpoint, "Aliases": [alias for alias in endpoint.get("Aliases") or () if alias != name]}
        for network, endpoint in settings.items()
    }


def _is_failed_replacement(current: InspectedContainer, previous: InspectedContainer) -> bool:
    if current.created is not None and previous.created is not None and current.created < previous.created:
        # `current` is the original, and `previous` a spare that was created in case the stop deletes it.
        return False
    if previous.is_active:
        # While the old one is in all of its networks, clients may not know the new one yet.
        return not _has_taken_over(current, previous)
    return not _is_healthy(current) and _ran_when_replaced(previous, current.created)


def _is_healthy(container: InspectedContainer) -> bool:
    return container.status == "running" and not container.restart_count and container.health in ("", "healthy")


def _ran_when_replaced(old: InspectedContainer, replaced: datetime | None) -> bool:
    if old.is_active or (old.started is None and old.auto_remove):
        # The latter is a spare. Only containers that run have one, and it is not started before it is needed.
        return True
    return old.finished is not None and replaced is not None and old.finished > replaced


def _restore(
    old: InspectedContainer, replacement: InspectedContainer | None, began: datetime | None
) -> Iterator[SwapStep]:
    """Return the steps that restore networks, policy and state of an old container.

    Args:
        replacement: Was created with the same configuration.
    """
    if replacement is not None:
        yield from reconnect_steps(old, _endpoints(replacement))
    if auto_restarts(old.policy) and began is None and replacement is not None:
        # The swap would have switched the policy off, so if the container does not run, a person stopped it.
        return
    if replacement is not None and auto_restarts(replacement.policy) and not auto_restarts(old.policy):
        yield SwapStep(verb="policy", container=old.id, policy=replacement.policy)
    if not old.is_active and (replacement is None or _ran_when_replaced(old, began or replacement.created)):
        yield SwapStep(verb="start", container=old.id)


def _remove(*containers: InspectedContainer) -> Iterator[SwapStep]:
    for container in containers:
        yield SwapStep(verb="remove", container=container.id)
