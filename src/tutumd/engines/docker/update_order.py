"""Update order: whether new containers can run beside the old ones, and whether they should."""

from collections.abc import Iterator, Sequence

from tutumd.engines.docker.dependents import Dependent
from tutumd.engines.docker.inspect.inspected_container import InspectedContainer
from tutumd.engines.docker.recreate.networks import endpoint_settings, has_static_address, without_default_bridge
from tutumd.engines.labels import ORDER, Json, Order


def choose_order(
    containers: Sequence[InspectedContainer], dependents: Sequence[Dependent], requested: Order
) -> tuple[Order, str]:
    """Return start-first or stop-first, and the reason as a sentence.

    An obstacle to running both always decides. A risk decides unless the service's label asks for start-first.

    Args:
        dependents: Containers that are re-created after them.
    """
    running = [container for container in containers if container.is_active and container.status != "paused"]
    obstacle = next((reason for container in running for reason in _obstacles(container)), "")
    if not running:
        return Order.STOP_FIRST, "nothing of it runs"
    if dependents and not obstacle:
        obstacle = f"{dependents[0].container.name} {dependents[0].reason}"
    if requested is Order.STOP_FIRST:
        return Order.STOP_FIRST, f"the label {ORDER} asks for it"
    if obstacle:
        remark = f", though the label {ORDER} asks for start-first" if requested is Order.START_FIRST else ""
        return Order.STOP_FIRST, f"two cannot run at once: {obstacle}{remark}"
    if requested is Order.START_FIRST:
        return Order.START_FIRST, f"the label {ORDER} asks for it, and nothing forbids it"
    risk = next((reason for container in running for reason in _risks(container)), "")
    if risk:
        return Order.STOP_FIRST, f"two at once might do harm or no good: {risk}"
    return Order.START_FIRST, "nothing forbids that old and new run at once"


def fixed_ports(host: Json) -> list[tuple[str, str]]:
    """Return pairs of container port, such as `80/tcp`, and the one host port that it is bound to."""
    bindings = [(port, each) for port, listed in (host.get("PortBindings") or {}).items() for each in listed or ()]
    ports = [(port, str(binding.get("HostPort") or "0")) for port, binding in bindings]
    # The engine chooses a port for 0, and from a range such as 8000-8010.
    return [(port, host_port) for port, host_port in ports if host_port != "0" and "-" not in host_port]


def _obstacles(container: InspectedContainer) -> Iterator[str]:
    mode = str(container.host_config.get("NetworkMode", ""))
    for port, host_port in fixed_ports(container.host_config):
        yield f"{container.name} publishes the fixed host port {host_port} (for {port})"
    if mode == "host":
        yield f"{container.name} uses the host's network"
    if mode.startswith("container:"):
        yield f"{container.name} shares another container's network"
    if has_static_address(container.raw):
        yield f"{container.name} has a static IP address"
    if (container.raw.get("Config") or {}).get("MacAddress"):
        yield f"{container.name} has a MAC address of its own"


def _risks(container: InspectedContainer) -> Iterator[str]:
    for mount in sorted(container.raw.get("Mounts") or (), key=lambda mount: str(mount["Destination"])):
        if mount.get("Type") in ("bind", "volume", "npipe") and mount.get("RW", True):
            yield f"{container.name} writes to {mount['Destination']}, which both would share"
    if container.host_config.get("Devices") or container.host_config.get("DeviceRequests"):
        yield f"{container.name} uses a device of the host"
    if not without_default_bridge(endpoint_settings(container.raw)):
        yield f"{container.name} is in no network in which others find it by name"
