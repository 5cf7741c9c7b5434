"""Replicas: further containers like a service's first one. Whether they are possible, their names, their configs."""

from collections.abc import Collection
from dataclasses import dataclass
from itertools import count, islice
from typing import Any

from tutumd.engines.docker.inspect.inspected_container import InspectedContainer
from tutumd.engines.docker.inspect.selectors import ContainerGroup
from tutumd.engines.docker.plan import fixed_ports
from tutumd.engines.docker.recreate.config import config_without_defaults, replacement_config
from tutumd.engines.docker.recreate.mounts import fresh_mounts
from tutumd.engines.docker.recreate.networks import has_static_address, replace_alias
from tutumd.engines.labels import SERVICE
from tutumd.errors import EngineRefusedError

_COMPOSE_NUMBER = "com.docker.compose.container-number"
_COMPOSE_REPLACES = "com.docker.compose.replace"
# Container numbers that are higher than the number of containers by more than this are ignored.
_MAX_GAP = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """A replica to be created. The fields are keys of stored journals."""

    name: str
    number: int


def check_scalable(group: ContainerGroup, first: InspectedContainer) -> None:
    """Check that replicas of the service's first container can run beside it.

    Raises:
        EngineRefusedError: The container has something that only one container can have.
    """
    for obstacle in _obstacles(first):
        raise EngineRefusedError(f"cannot scale {group.name}: {obstacle}")


def name_replicas(
    group: ContainerGroup, first: InspectedContainer, amount: int, taken: Collection[str]
) -> tuple[Replica, ...]:
    """Return `amount` replicas with the next free numbers.

    Args:
        taken: The names of all containers of the engine.
    """
    highest = max([1, *(slot.number for slot in group.slots if slot.number <= len(group.slots) + _MAX_GAP)])
    stem = group.name + "-" if first.compose is None else first.name[: -len(str(first.compose.number))]
    numbers = (number for number in count(highest + 1) if f"{stem}{number}" not in taken)
    return tuple(Replica(name=f"{stem}{number}", number=number) for number in islice(numbers, amount))


def replica_config(group: ContainerGroup, first: InspectedContainer, replica: Replica) -> dict[str, Any]:
    """Return the create request of a replica: same image; volumes, hostname and MAC address of its own."""
    image = first.image or {}
    # Unlike a replacement, it inherits no volumes, so that each anonymous one is new.
    body = replacement_config(first.raw, image, image, dict.fromkeys(first.host_config.get("VolumesFrom") or (), ()))
    for field in ("Hostname", "MacAddress"):
        body.pop(field, None)
    body["HostConfig"]["Mounts"] = fresh_mounts(first.host_config.get("Mounts") or ())
    endpoints = replace_alias(body["NetworkingConfig"]["EndpointsConfig"], first.name, replica.name)
    labels = dict(config_without_defaults(first.raw, image).get("Labels") or {})
    if first.compose is None:
        labels[SERVICE] = group.name
    else:
        labels[_COMPOSE_NUMBER] = str(replica.number)
        labels.pop(_COMPOSE_REPLACES, None)
    return {**body, "Labels": labels, "NetworkingConfig": {"EndpointsConfig": endpoints}}


def _obstacles(first: InspectedContainer) -> list[str]:
    mode = str(first.host_config.get("NetworkMode", ""))
    ports = [f"{host_port} (for {port})" for port, host_port in fixed_ports(first.host_config)]
    checks = (
        (mode.startswith("container:"), f"it shares another container's network ({mode[:22]})"),
        (has_static_address(first.raw), "it has a static IP address, which only one can have"),
        (
            ports,
            f"it publishes the fixed host port {', '.join(ports)}, which only one container can have; "
            "publish it without a host port",
        ),
        (_has_fixed_name(first), f"compose gives it the fixed name {first.name} (container_name)"),
        (first.auto_remove, "it was started with --rm"),
        (first.image is None, "the image of its containers is gone from the engine"),
    )
    return [obstacle for applies, obstacle in checks if applies]


def _has_fixed_name(first: InspectedContainer) -> bool:
    """Return True if compose did not derive the container's name from project, service and number."""
    if first.compose is None:
        return False
    parts = (first.compose.project, first.compose.service, str(first.compose.number))
    return first.name not in ("-".join(parts), "_".join(parts))
