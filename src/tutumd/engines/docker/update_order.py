"""Update order: whether new containers can run beside the old ones, and whether they should."""

from collections.abc import Sequence

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


def _obstacles(container: InspectedContainer) -> list[str]:
    host = container.host_config
    mode = str(host.get("NetworkMode", ""))
    checks = (
        *((True, f"publishes the fixed host port {host_port} (for {port})") for port, host_port in fixed_ports(host)),
        (mode == "host", "uses the host's network"),
        (mode.startswith("container:"), "shares another container's network"),
        (has_static_address(container.raw), "has a static IP address"),
        ((container.raw.get("Config") or {}).get("MacAddress"), "has a MAC address of its own"),
    )
    return [f"{container.name} {obstacle}" for applies, obstacle in checks if applies]


def _risks(container: InspectedContainer) -> list[str]:
    host = container.host_config
    mounts = [mount for mount in container.raw.get("Mounts") or () if mount.get("RW", True)]
    shared = sorted(mount["Destination"] for mount in mounts if mount.get("Type") in ("bind", "volume", "npipe"))
    checks = (
        *((True, f"writes to {destination}, which both would share") for destination in shared),
        (host.get("Devices") or host.get("DeviceRequests"), "uses a device of the host"),
        (
            not without_default_bridge(endpoint_settings(container.raw)),
            "is in no network in which others find it by name",
        ),
    )
    return [f"{container.name} {risk}" for applies, risk in checks if applies]
