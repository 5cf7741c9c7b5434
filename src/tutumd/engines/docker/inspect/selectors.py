"""Which containers are one service, and by what that service is known for as long as it is the same one."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from tutumd.engines.docker.inspect.inspected_container import InspectedContainer
from tutumd.engines.labels import IGNORE, SERVICE, is_true

_SWAPPED = re.compile(r"(?P<name>.+)-tutum-(?P<role>next|prev)-(?P<run>[0-9a-f]{8})")
_NO_NUMBER = 10**9
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


def next_name(name: str, run: str) -> str:
    """Name a replacement before it takes the place of `name`; `run` are 8 characters of the action."""
    return f"{name}-tutum-next-{run}"


def prev_name(name: str, run: str) -> str:
    """Name the old container of `name` while its replacement is on trial."""
    return f"{name}-tutum-prev-{run}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """One container's place in a service: who holds its name, and who is parked or waits beside it.

    Attributes:
        number: The compose container-number, or N of `NAME-N`; 1 for `NAME` itself.
    """

    name: str
    number: int
    current: InspectedContainer | None = None
    previous: tuple[InspectedContainer, ...] = ()
    upcoming: tuple[InspectedContainer, ...] = ()

    @property
    def holder(self) -> InspectedContainer:
        """The container that stands for this place: in the middle of a swap the old one, until it is replaced."""
        candidates = [one for one in (self.current, *self.previous, *self.upcoming) if one is not None]
        return candidates[0]

    @property
    def swapping(self) -> bool:
        """True while anything has a name of the swap."""
        return bool(self.previous or self.upcoming)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerGroup:
    """The containers of one service, in order of their numbers."""

    selector: str
    name: str
    stack: str
    places: tuple[Slot, ...]

    @property
    def holders(self) -> tuple[InspectedContainer, ...]:
        """One container for each place."""
        return tuple(place.holder for place in self.places)


def group(containers: Sequence[InspectedContainer], own_id: str | None) -> tuple[ContainerGroup, ...]:
    """Sort an engine's containers into services, by selector.

    A container named NAME and those labelled `tutum.service=NAME` are one service, so that the first one, whose
    labels cannot be changed, and the copies made of it stay together, and its selector stays what it was.

    Args:
        own_id: The container that this process runs in, which is no service of ours.
    """
    members: dict[tuple[str, str, str], list[InspectedContainer]] = {}
    for one in containers:
        if _belongs(one, own_id):
            members.setdefault(_identity(one), []).append(one)
    groups = [
        ContainerGroup(selector=selector, name=name, stack=stack, places=_places(name, found))
        for (selector, name, stack), found in members.items()
    ]
    return tuple(sorted(groups, key=lambda one: one.selector))


def base_name(name: str) -> str:
    """Return the name a container has when no swap is under way."""
    swapped = _SWAPPED.fullmatch(name)
    return swapped["name"] if swapped else name


def _belongs(one: InspectedContainer, own_id: str | None) -> bool:
    swarm = any(label.startswith("com.docker.swarm.") for label in one.labels)
    one_off = is_true(one.labels.get("com.docker.compose.oneoff"))
    return not (swarm or one_off or is_true(one.labels.get(IGNORE)) or (own_id and one.id.startswith(own_id)))


def _identity(one: InspectedContainer) -> tuple[str, str, str]:
    if one.compose is not None:
        return f"compose:{one.compose.project}/{one.compose.service}", one.compose.service, one.compose.project
    name = one.labels.get(SERVICE) or base_name(one.name)
    return f"name:{name}", name, ""


def _places(service: str, members: Sequence[InspectedContainer]) -> tuple[Slot, ...]:
    names: dict[str, list[InspectedContainer]] = {}
    for one in members:
        names.setdefault(base_name(one.name), []).append(one)
    places = [_place(name, service, found) for name, found in names.items()]
    return tuple(sorted(places, key=lambda place: (place.number, place.holder.created or _LONG_AGO, place.name)))


def _place(name: str, service: str, members: Sequence[InspectedContainer]) -> Slot:
    newest_first = sorted(members, key=lambda one: one.created or _LONG_AGO, reverse=True)
    roles: dict[str, list[InspectedContainer]] = {"next": [], "prev": []}
    current = None
    for one in newest_first:
        swapped = _SWAPPED.fullmatch(one.name)
        if swapped:
            roles[swapped["role"]].append(one)
        else:
            current = one
    return Slot(
        name=name,
        number=_number(name, service, newest_first[0]),
        current=current,
        previous=tuple(roles["prev"]),
        upcoming=tuple(roles["next"]),
    )


def _number(name: str, service: str, one: InspectedContainer) -> int:
    if one.compose is not None:
        return one.compose.number
    if name == service:
        return 1
    numbered = re.fullmatch(re.escape(service) + r"-([1-9][0-9]{0,8})", name)
    return int(numbered[1]) if numbered else _NO_NUMBER
