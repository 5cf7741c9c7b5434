"""One more copy of a container: whether there can be one, what it is called, and how it differs from the first."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from tutumd.engines.docker.inspect.inspected_container import InspectedContainer
from tutumd.engines.docker.inspect.selectors import ContainerGroup
from tutumd.engines.docker.recreate.config import own_config, replacement
from tutumd.engines.docker.recreate.mounts import fresh_mounts
from tutumd.engines.docker.recreate.networks import has_static_address, renamed
from tutumd.engines.docker.update_order import fixed_ports
from tutumd.engines.labels import SERVICE, Json
from tutumd.errors import EngineRefusedError

_COMPOSE_NUMBER = "com.docker.compose.container-number"
_COMPOSE_REPLACES = "com.docker.compose.replace"


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """A copy to be made."""

    name: str
    number: int


def check_scalable(group: ContainerGroup, first: InspectedContainer) -> None:
    """Check that more containers like the service's first one can run beside it.

    Raises:
        EngineRefusedError: what only one container can have.
    """
    host: Any = first.raw.get("HostConfig") or {}
    mode = str(host.get("NetworkMode", ""))
    if mode.startswith("container:"):
        raise EngineRefusedError(f"cannot scale {group.name}: it shares another container's network ({mode[:22]})")
    if has_static_address(first.raw):
        raise EngineRefusedError(f"cannot scale {group.name}: it has a static IP address, which only one can have")
    ports = [f"{binding['HostPort']} (for {port})" for port, binding in fixed_ports(host)]
    if ports:
        raise EngineRefusedError(
            f"cannot scale {group.name}: it publishes the fixed host port {', '.join(ports)}, which only one "
            "container can have; publish it without a host port"
        )
    if first.compose is not None and _separator(first) is None:
        raise EngineRefusedError(
            f"cannot scale {group.name}: compose gives it the fixed name {first.name} (container_name)"
        )
    if host.get("AutoRemove"):
        raise EngineRefusedError(f"cannot scale {group.name}: it was started with --rm")
    if first.image is None:
        raise EngineRefusedError(f"cannot scale {group.name}: the image of its containers is gone from the engine")


def name_replicas(
    group: ContainerGroup, first: InspectedContainer, amount: int, taken: Collection[str]
) -> tuple[Replica, ...]:
    """Name `amount` more copies, with the next numbers.

    Args:
        taken: The names of all containers of the engine.
    """
    numbers = [place.number for place in group.places if place.number <= len(group.places) + 10_000]
    number = max([*numbers, 1])
    stem = group.name + "-" if first.compose is None else first.name[: -len(str(first.compose.number))]
    copies: list[Replica] = []
    while len(copies) < amount:
        number += 1
        name = f"{stem}{number}"
        if name not in taken:
            copies.append(Replica(name=name, number=number))
    return tuple(copies)


def replica_config(group: ContainerGroup, first: InspectedContainer, copy: Replica) -> dict[str, Any]:
    """Return the create request of a copy: of the same image, with volumes, hostname and MAC address of its own."""
    image: Json = first.image or {}
    host: Json = first.raw.get("HostConfig") or {}
    # As for a replacement, but with no volume carried over: every anonymous one is to be a new one.
    body = replacement(first.raw, image, image, dict.fromkeys(host.get("VolumesFrom") or (), ()))
    for field in ("Hostname", "MacAddress"):
        body.pop(field, None)
    body["HostConfig"]["Mounts"] = fresh_mounts(host.get("Mounts") or ())
    body["NetworkingConfig"] = {
        "EndpointsConfig": renamed(body["NetworkingConfig"]["EndpointsConfig"], first.name, copy.name)
    }
    labels = dict(own_config(first.raw, image).get("Labels") or {})
    if first.compose is not None:
        labels[_COMPOSE_NUMBER] = str(copy.number)
        labels.pop(_COMPOSE_REPLACES, None)
    else:
        labels[SERVICE] = group.name
    body["Labels"] = labels
    return body


def _separator(first: InspectedContainer) -> str | None:
    """Return what stands between project, service and number in the container's name; None where it is no such name."""
    if first.compose is None:
        return None
    parts = (first.compose.project, first.compose.service, str(first.compose.number))
    return next((mark for mark in ("-", "_") if first.name == mark.join(parts)), None)
