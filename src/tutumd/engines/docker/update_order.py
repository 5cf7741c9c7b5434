"""Whether a service's new containers can run beside the old ones, and whether they should."""

from collections.abc import Iterator, Sequence

from tutumd.engines.docker.dependents import Dependent
from tutumd.engines.docker.inspect.inspected_container import InspectedContainer
from tutumd.engines.docker.recreate.networks import has_static_address, named_networks
from tutumd.engines.labels import ORDER, Json, Order


def choose_order(
    holders: Sequence[InspectedContainer], following: Sequence[Dependent], wanted: Order
) -> tuple[Order, str]:
    """Choose start-first or stop-first, and tell why in a sentence.

    What makes two at once impossible always counts; what makes them risky or useless counts unless the service's label
    asks for start-first.

    Args:
        following: Containers that are made anew after them.
    """
    running = [one for one in holders if one.runs and one.status != "paused"]
    forbidden = next((reason for one in running for reason in _impossible(one)), "")
    if not running:
        return Order.STOP_FIRST, "nothing of it runs"
    if following and not forbidden:
        forbidden = f"{following[0].container.name} {following[0].reason}"
    if wanted is Order.STOP_FIRST:
        return Order.STOP_FIRST, f"the label {ORDER} asks for it"
    if forbidden:
        asked = f", though the label {ORDER} asks for start-first" if wanted is Order.START_FIRST else ""
        return Order.STOP_FIRST, f"two cannot run at once: {forbidden}{asked}"
    if wanted is Order.START_FIRST:
        return Order.START_FIRST, f"the label {ORDER} asks for it, and nothing forbids it"
    risk = next((reason for one in running for reason in _unwise(one)), "")
    if risk:
        return Order.STOP_FIRST, f"two at once might do harm or no good: {risk}"
    return Order.START_FIRST, "nothing forbids that old and new run at once"


def fixed_ports(host: Json) -> list[tuple[str, Json]]:
    """Return the bindings to one certain host port, by container port such as `80/tcp`."""
    bindings = [(port, one) for port, many in (host.get("PortBindings") or {}).items() for one in many or ()]
    # A range such as 8000-8010 leaves the choice to the engine.
    free = (None, "", "0")
    return [(port, one) for port, one in bindings if one.get("HostPort") not in free and "-" not in one["HostPort"]]


def _impossible(one: InspectedContainer) -> Iterator[str]:
    host: Json = one.raw.get("HostConfig") or {}
    mode = str(host.get("NetworkMode", ""))
    for port, binding in fixed_ports(host):
        yield f"{one.name} publishes the fixed host port {binding['HostPort']} (for {port})"
    if mode == "host":
        yield f"{one.name} uses the host's network"
    if mode.startswith("container:"):
        yield f"{one.name} shares another container's network"
    if has_static_address(one.raw):
        yield f"{one.name} has a static IP address"
    if (one.raw.get("Config") or {}).get("MacAddress"):
        yield f"{one.name} has a MAC address of its own"


def _unwise(one: InspectedContainer) -> Iterator[str]:
    host: Json = one.raw.get("HostConfig") or {}
    for mount in sorted(one.raw.get("Mounts") or (), key=lambda mount: str(mount["Destination"])):
        if mount.get("Type") in ("bind", "volume", "npipe") and mount.get("RW", True):
            yield f"{one.name} writes to {mount['Destination']}, which both would share"
    if host.get("Devices") or host.get("DeviceRequests"):
        yield f"{one.name} uses a device of the host"
    if not named_networks(one.raw):
        yield f"{one.name} is in no network in which others find it by name"
