"""Services: which containers belong together, the selector of each service, and the containers of tutumd itself."""

import hashlib
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tutumd.engines.docker.look.containers import InspectedContainer, is_name
from tutumd.engines.labels import IGNORE, SERVICE, is_true

_NO_NUMBER = 10**9
# Maximum length in the store, including the prefix. The name of a container may be longer.
_MAX_SELECTOR = 1_000


def next_name(name: str, run: str) -> str:
    """Return the name of a replacement before it takes over `name`; `run` has 8 characters of the action's UUID."""
    return f"{name}-tutum-next-{run}"


def prev_name(name: str, run: str) -> str:
    """Return the name of a parked container, which had the name `name` before."""
    return f"{name}-tutum-prev-{run}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """One position of a service, filled by one container, or by several during a swap.

    Attributes:
        number: The compose container-number, or N of `NAME-N`; 1 for `NAME` itself.
        members: The container with the slot's name, then parked containers, then replacements; each kind with the
            newest first.
    """

    name: str
    number: int
    members: tuple[InspectedContainer, ...]

    @property
    def container(self) -> InspectedContainer:
        """The container that represents the slot."""
        return self.members[0]

    @property
    def swapping(self) -> tuple[InspectedContainer, ...]:
        """The containers with a name from a swap."""
        return tuple(each for each in self.members if _role(each) != "")

    @property
    def oldest(self) -> InspectedContainer:
        """The first container of the swap: the container to replace, or a copy of it if its stop has deleted it."""
        return min([each for each in self.members if _role(each) != "next"] or self.members, key=_creation)

    @property
    def newest(self) -> InspectedContainer:
        """The container that was created last: the replacement, if there is one."""
        return max(self.members, key=_creation)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerGroup:
    """The containers of one service, ordered by number."""

    selector: str
    name: str
    stack: str
    slots: tuple[Slot, ...]

    @property
    def containers(self) -> tuple[InspectedContainer, ...]:
        """The container that represents each slot."""
        return tuple(slot.container for slot in self.slots)

    @property
    def extras(self) -> tuple[InspectedContainer, ...]:
        """The containers that run beside the representative of their slot."""
        return tuple(each for slot in self.slots for each in slot.members if each.is_active and each != slot.container)

    @property
    def swapping(self) -> tuple[InspectedContainer, ...]:
        """The containers with a name from a swap."""
        return tuple(each for slot in self.slots for each in slot.swapping)

    @property
    def all_containers(self) -> tuple[InspectedContainer, ...]:
        """All containers of all slots."""
        return tuple(container for slot in self.slots for container in slot.members)


# Returns one service, and all containers of the engine. Raises EngineRefusedError if the service is gone.
FindGroup = Callable[[], tuple[ContainerGroup, Sequence[InspectedContainer]]]


def group_by_service(
    containers: Sequence[InspectedContainer], own: Collection[str] = (), *, with_ignored: bool = False
) -> tuple[ContainerGroup, ...]:
    """Return the services of an engine, ordered by selector.

    A container named NAME and containers labelled `tutum.service=NAME` are one service. Labels of an existing container
    cannot be changed, so this rule keeps the first container and its later replicas together under one selector.

    Args:
        own: IDs of containers that tutumd itself needs, which are not services.
        with_ignored: Containers that are labelled `tutum.ignore` count as well.
    """
    members: dict[tuple[str, str, str], list[InspectedContainer]] = {}
    for container in containers:
        if container.id not in own and _is_eligible(container, with_ignored=with_ignored):
            members.setdefault(_identity(container), []).append(container)
    groups = [
        ContainerGroup(selector=selector, name=name, stack=stack, slots=_slots(name, grouped))
        for (selector, name, stack), grouped in members.items()
    ]
    return tuple(sorted(groups, key=lambda group: group.selector))


def base_name(name: str) -> str:
    """Return the name of a container outside of a swap."""
    return _swap_part(name, "name") or name


def run_of(name: str) -> str:
    """Return the part of a container's name that identifies the run that named it; empty outside of a swap."""
    return _swap_part(name, "run")


def _swap_part(name: str, part: str) -> str:
    swap_name = re.fullmatch(r"(?P<name>.+)-tutum-(?P<role>next|prev)-(?P<run>[0-9a-f]{8})", name)
    return swap_name[part] if swap_name else ""


def _is_eligible(container: InspectedContainer, *, with_ignored: bool) -> bool:
    labels = container.labels
    return not (
        any(label.startswith("com.docker.swarm.") for label in labels)
        or (is_true(labels.get(IGNORE)) and not with_ignored)
        or is_true(labels.get("com.docker.compose.oneoff"))
    )


def _identity(container: InspectedContainer) -> tuple[str, str, str]:
    """Return selector, name and stack of the service that a container belongs to."""
    compose = container.compose
    if compose is not None:
        return f"compose:{compose.project}/{compose.service}", compose.service, compose.project
    label = container.labels.get(SERVICE, "")
    name = label if is_name(label) else base_name(container.name)
    known_by = name if len(name) <= _MAX_SELECTOR else hashlib.sha256(name.encode()).hexdigest()
    return f"name:{known_by}", name, ""


def _slots(service: str, members: Sequence[InspectedContainer]) -> tuple[Slot, ...]:
    by_name: dict[str, list[InspectedContainer]] = {}
    for container in members:
        by_name.setdefault(base_name(container.name), []).append(container)
    slots = [slot_of(name, service, named) for name, named in by_name.items()]
    return tuple(sorted(slots, key=lambda slot: (slot.number, _creation(slot.container), slot.name)))


def slot_of(name: str, service: str, members: Sequence[InspectedContainer]) -> Slot:
    """Return the slot of a service with the name `name`, filled by these containers."""
    newest_first = sorted(members, key=_creation, reverse=True)
    ordered = tuple(sorted(newest_first, key=lambda container: ("", "prev", "next").index(_role(container))))
    return Slot(name=name, number=_number(name, service, newest_first[0]), members=ordered)


def _role(container: InspectedContainer) -> str:
    """Return `next` for a replacement, `prev` for a parked container, and an empty text for any other."""
    return _swap_part(container.name, "role")


def _creation(container: InspectedContainer) -> datetime:
    return container.created or datetime.min.replace(tzinfo=UTC)


def _number(name: str, service: str, container: InspectedContainer) -> int:
    if container.compose is not None:
        return container.compose.number
    if name == service:
        return 1
    numbered = re.fullmatch(re.escape(service) + r"-([1-9][0-9]{0,8})", name)
    return int(numbered[1]) if numbered else _NO_NUMBER


def find_self_container_id(mounts: Path = Path("/proc/self/mountinfo")) -> str | None:
    """Return the ID of the container of this process; None outside of a container."""
    with suppress(OSError):
        text = mounts.read_text(errors="replace")
        # The engine mounts these files, unless the user does, from a folder that is named after the container: Docker
        # from `containers/ID`, Podman from `overlay-containers/ID/userdata`, where `overlay` is its storage driver.
        if match := re.search(r"containers/([0-9a-f]{64})/(?:userdata/)?(hostname|hosts|resolv\.conf) /etc/\2 ", text):
            return match[1]
    return None


def find_own_parts(containers: Sequence[InspectedContainer], self_id: str | None, engine_host: str) -> dict[str, str]:
    """Return the containers that tutumd needs while it changes others: by ID, with a phrase that describes each.

    Args:
        self_id: ID of the container of this process.
        engine_host: The host in the engine's address, with which that container may reach a proxy of the socket.
    """
    own = next((each for each in containers if self_id and each.id.startswith(self_id)), None)
    if own is None:
        return {}
    networks = {network for network, _ in _endpoints(own)}
    proxies = [
        each
        for each in containers
        if any(network in networks and engine_host in names for network, names in _endpoints(each))
    ]
    return {
        **dict.fromkeys((each.id for each in proxies), "tutumd reaches this engine through"),
        own.id: "tutumd itself runs in",
    }


def _endpoints(container: InspectedContainer) -> Iterator[tuple[str, set[str]]]:
    """Yield each network of a container, with the container's names and addresses in it."""
    for network, endpoint in ((container.raw.get("NetworkSettings") or {}).get("Networks") or {}).items():
        names = (container.name, *(endpoint.get("Aliases") or ()), *(endpoint.get("DNSNames") or ()))
        yield network, {*names, endpoint.get("IPAddress")}
