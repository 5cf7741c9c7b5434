"""The container that this process runs in, and the one through which it reaches the engine."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from tutumd.engines.docker.inspect.inspected_container import InspectedContainer

# The engine mounts /etc/hostname from a folder that is named after the container: Docker from `containers/ID`, Podman
# from `overlay-containers/ID/userdata`, where `overlay` is its storage driver.
_SOURCES = (
    ("mountinfo", re.compile(r"containers/([0-9a-f]{64})/(?:userdata/)?hostname /etc/hostname ")),
    ("cgroup", re.compile(r"docker[/-]([0-9a-f]{64})")),
)


def find_self_container_id(proc: Path = Path("/proc/self")) -> str | None:
    """Return the ID of the container that this process runs in; None outside of a container."""
    for name, pattern in _SOURCES:
        try:
            match = pattern.search((proc / name).read_text(errors="replace"))
        except OSError:
            continue
        if match:
            return match[1]
    return None


def find_own_parts(containers: Sequence[InspectedContainer], self_id: str | None, engine_host: str) -> dict[str, str]:
    """Return the containers that tutumd needs while it changes others: by ID, what each is, in words before its name.

    Args:
        self_id: ID of the container that this process runs in.
        engine_host: The host in the engine's address, by which that container may reach a proxy of the socket.
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
    through = "tutumd reaches this engine through"
    return {**dict.fromkeys((each.id for each in proxies), through), own.id: "tutumd itself runs in"}


def _endpoints(container: InspectedContainer) -> Iterator[tuple[str, set[str]]]:
    """Yield each network of a container, with the names and addresses that it has there."""
    for network, endpoint in ((container.raw.get("NetworkSettings") or {}).get("Networks") or {}).items():
        names = {container.name, *(endpoint.get("Aliases") or ()), *(endpoint.get("DNSNames") or ())}
        yield network, names | {endpoint.get("IPAddress")}
