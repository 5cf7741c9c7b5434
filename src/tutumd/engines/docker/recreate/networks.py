"""Network endpoints of a replacement: what the user configured, without what the engine assigned."""

from collections.abc import Mapping
from typing import Any

from tutumd.engines.labels import Json

# The network without name resolution: neither aliases nor container names are found in it.
DEFAULT_BRIDGE = "bridge"

# Fields of an endpoint that a user sets. The engine assigns all others, such as addresses and IDs.
_USER_FIELDS = ("IPAMConfig", "Links", "Aliases", "DriverOpts", "GwPriority")


def endpoint_settings(old: Json) -> dict[str, dict[str, Any]]:
    """Return endpoint settings by network; empty for a container without a network of its own."""
    mode = str((old.get("HostConfig") or {}).get("NetworkMode", ""))
    if mode.startswith("container:") or mode in ("host", "none"):
        return {}
    networks: Mapping[str, Json] = (old.get("NetworkSettings") or {}).get("Networks") or {}
    return {network: _user_settings(endpoint or {}, old["Id"]) for network, endpoint in networks.items()}


def without_default_bridge(settings: Mapping[str, Json]) -> dict[str, Json]:
    """Return the endpoint settings of the networks in which containers find each other by name."""
    return {network: endpoint for network, endpoint in settings.items() if network != DEFAULT_BRIDGE}


def without_aliases(settings: Mapping[str, Json]) -> dict[str, dict[str, Any]]:
    """Return endpoint settings for a container that clients should not find."""
    return {
        network: {field: value for field, value in endpoint.items() if field != "Aliases"}
        for network, endpoint in settings.items()
    }


def has_static_address(old: Json) -> bool:
    """Return True if a user chose an IP address, which only one container can have."""
    addresses = [endpoint.get("IPAMConfig") or {} for endpoint in endpoint_settings(old).values()]
    fields = ("IPv4Address", "IPv6Address", "LinkLocalIPs")
    return any(address.get(field) for address in addresses for field in fields)


def replace_alias(settings: Mapping[str, Json], old: str, new: str) -> dict[str, dict[str, Any]]:
    """Return endpoint settings with the alias `new` instead of `old`."""
    result = {}
    for network, endpoint in settings.items():
        aliases = [new if alias == old else alias for alias in endpoint.get("Aliases") or ()]
        result[network] = {**endpoint, **({"Aliases": aliases} if aliases else {})}
    return result


def _user_settings(endpoint: Json, container_id: str) -> dict[str, Any]:
    kept = {field: endpoint[field] for field in _USER_FIELDS if endpoint.get(field)}
    if "Aliases" in kept:
        # Engine API below 1.45 lists the short container ID among them.
        kept["Aliases"] = [alias for alias in kept["Aliases"] if alias != container_id[:12]]
    return kept
