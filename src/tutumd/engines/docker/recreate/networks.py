"""Network endpoints of a replacement: what was configured for the old one, without what the engine gave it."""

from collections.abc import Mapping
from typing import Any

from tutumd.engines.labels import Json

DEFAULT_BRIDGE = "bridge"
"""The network without names: no alias and no container name is found in it."""

_CONFIGURED = ("IPAMConfig", "Links", "Aliases", "DriverOpts", "GwPriority")
"""Fields of an endpoint that a user sets. Addresses, gateways and IDs are given by the engine, and never copied."""


def endpoints(old: Json) -> dict[str, dict[str, Any]]:
    """Return the endpoint settings by network; empty where the container has no network of its own."""
    mode = str((old.get("HostConfig") or {}).get("NetworkMode", ""))
    if mode.startswith("container:") or mode in ("host", "none"):
        return {}
    networks: Mapping[str, Json] = (old.get("NetworkSettings") or {}).get("Networks") or {}
    return {name: _configured(endpoint or {}, old["Id"]) for name, endpoint in networks.items()}


def named_networks(old: Json) -> tuple[str, ...]:
    """Return the networks in which other containers find this one by its name and aliases: not the default bridge."""
    return tuple(name for name in endpoints(old) if name != DEFAULT_BRIDGE)


def without_aliases(settings: Mapping[str, Json]) -> dict[str, dict[str, Any]]:
    """Return endpoint settings of a container that nobody is to find yet."""
    return {
        network: {field: value for field, value in endpoint.items() if field != "Aliases"}
        for network, endpoint in settings.items()
    }


def has_static_address(old: Json) -> bool:
    """Tell whether an address was chosen by hand, which only one container can have."""
    ipam = [endpoint.get("IPAMConfig") or {} for endpoint in endpoints(old).values()]
    return any(one.get("IPv4Address") or one.get("IPv6Address") or one.get("LinkLocalIPs") for one in ipam)


def renamed(settings: Mapping[str, Json], old: str, new: str) -> dict[str, dict[str, Any]]:
    """Return endpoint settings in which the alias that was one container's own name is another's."""
    result = {}
    for network, endpoint in settings.items():
        changed = dict(endpoint)
        if endpoint.get("Aliases"):
            changed["Aliases"] = [new if alias == old else alias for alias in endpoint["Aliases"]]
        result[network] = changed
    return result


def _configured(endpoint: Json, container_id: str) -> dict[str, Any]:
    kept = {name: endpoint[name] for name in _CONFIGURED if endpoint.get(name)}
    if "Aliases" in kept:
        # Engine API below 1.45 lists the short container ID among them.
        kept["Aliases"] = [alias for alias in kept["Aliases"] if alias != container_id[:12]]
    return kept
