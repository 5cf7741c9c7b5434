"""What is to be done about containers of a swap that nobody remembers, for example because the database was lost."""

from collections.abc import Iterator

from tutumd.engines.docker.inspect.inspected_container import InspectedContainer
from tutumd.engines.docker.inspect.selectors import Slot
from tutumd.engines.docker.recreate.networks import endpoints
from tutumd.engines.docker.swap.steps import SwapStep, auto_restarts, reconnections


def heal(place: Slot) -> tuple[SwapStep, ...]:
    """Return the steps after which only one container is left in a place, under its own name.

    The old container is preferred, unless its replacement runs well already. What the old one was like is told by
    its replacement, which was made from the same configuration before the old one was touched: the restart policy
    by the replacement's, and whether it ran by whether it ended after the replacement was made.
    """
    if not place.swapping:
        return ()
    return tuple(_steps(place))


def _steps(place: Slot) -> Iterator[SwapStep]:
    current, previous, upcoming = place.current, place.previous, place.upcoming
    old = previous[0] if previous else current
    if upcoming and old is not None and (current is None or not previous) and _took_over(upcoming[0], old):
        # Killed while the old one was leaving: clients know the new one only.
        yield SwapStep(verb="stop", container=old.id)
        yield from _remove(old, *previous[1:])
        yield SwapStep(verb="rename", container=upcoming[0].id, name=place.name)
        yield from _remove(*upcoming[1:])
    elif previous and (current is None or _is_failed_replacement(current, previous[0])):
        witness = current or (upcoming[0] if upcoming else None)
        if current is not None:
            yield SwapStep(verb="stop", container=current.id)
            yield SwapStep(verb="remove", container=current.id)
        yield SwapStep(verb="rename", container=previous[0].id, name=place.name)
        yield from _revive(previous[0], witness)
        yield from _remove(*previous[1:], *upcoming)
    elif current is not None:
        if upcoming and not previous:
            yield from _revive(current, upcoming[0])
        yield from _remove(*previous, *upcoming)
    else:
        yield SwapStep(verb="rename", container=upcoming[0].id, name=place.name)
        yield from _remove(*upcoming[1:])


def _took_over(new: InspectedContainer, old: InspectedContainer) -> bool:
    """Tell whether a container that was started beside `old` has replaced it in a network."""
    return _is_well(new) and any(reconnections(old, endpoints(new.raw)))


def _is_failed_replacement(current: InspectedContainer, previous: InspectedContainer) -> bool:
    """Tell whether `current` was made to replace `previous`, and does not do what that did."""
    if current.created is not None and previous.created is not None and current.created < previous.created:
        # It is the original, and `previous` a copy made for the case that its stop deletes it.
        return False
    if previous.runs:
        # Started beside it: as long as the old one is in all its networks, clients may not know the new one yet.
        return not _took_over(current, previous)
    return not _is_well(current) and _ran_when_replaced(previous, current)


def _is_well(one: InspectedContainer) -> bool:
    return one.status == "running" and not one.restart_count and one.health in ("", "healthy")


def _ran_when_replaced(old: InspectedContainer, new: InspectedContainer) -> bool:
    is_spare = old.started is None and bool((old.raw.get("HostConfig") or {}).get("AutoRemove"))
    if old.runs or is_spare:
        # A copy of a --rm container that ran is never started before it is needed.
        return True
    return old.finished is not None and new.created is not None and old.finished > new.created


def _revive(old: InspectedContainer, witness: InspectedContainer | None) -> Iterator[SwapStep]:
    if witness is not None:
        yield from reconnections(old, endpoints(witness.raw))
    untouched = auto_restarts(old.policy)
    if witness is not None and auto_restarts(witness.policy) and not untouched:
        yield SwapStep(verb="policy", container=old.id, policy=witness.policy)
    # Where the policy still stands it was not the swap that stopped the container, but a person.
    if not old.runs and not untouched and (witness is None or _ran_when_replaced(old, witness)):
        yield SwapStep(verb="start", container=old.id)


def _remove(*containers: InspectedContainer) -> Iterator[SwapStep]:
    for one in containers:
        yield SwapStep(verb="remove", container=one.id)
