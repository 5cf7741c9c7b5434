"""Create request of a replacement: configuration, volumes and networks of the old container."""

import posixpath
import re
from collections.abc import Collection, Mapping
from typing import Any

from tutumd.engines.docker.look.containers import platform_of
from tutumd.engines.labels import Json

COMPOSE_IMAGE = "com.docker.compose.image"

# Fields that are attributed to the image if both have the same value.
_SCALARS = ("WorkingDir", "User", "StopSignal", "Shell", "OnBuild", "ArgsEscaped")
# Fields whose entries are attributed to the image if both have the same entry.
_MAPS = ("Labels", "Volumes", "ExposedPorts")


def replacement_config(
    old: Json, old_image: Json, new_image: Json, sources: Mapping[str, Collection[str]], host_name: str = ""
) -> dict[str, Any]:
    """Return the body of a create request for the container that replaces `old`.

    Args:
        old: Its inspect document, in which the engine has merged the settings of image and user.
        old_image: The image of the old container. Its settings are dropped, so that the new image's settings apply.
        new_image: The image of the replacement.
        sources: Entries of VolumesFrom whose containers exist, with the destinations that each provides.
        host_name: Name of the engine's machine. Containers in its network have this hostname unless they were given
            their own.
    """
    config = config_without_defaults(old, old_image, host_name)
    host = dict(old.get("HostConfig") or {})
    host["NetworkMode"] = _network_name(old)
    if host.get("Links"):
        host["Links"] = [_link(entry) for entry in host["Links"]]
    if host.get("VolumesFrom"):
        host["VolumesFrom"] = list(sources)
    host["Mounts"] = carry_over_mounts(old, {path for paths in sources.values() for path in paths})
    # The command line wrote the old container's ID to this file. The engine refuses the request if the file exists.
    host.pop("ContainerIDFile", None)
    if COMPOSE_IMAGE in config["Labels"]:
        # docker/compose convergence.go mustRecreate: `up` re-creates a container if this label names another image.
        config["Labels"][COMPOSE_IMAGE] = new_image["Id"]
    return {
        **config,
        "HostConfig": host,
        "NetworkingConfig": {"EndpointsConfig": endpoint_settings(old)},
        "Platform": platform_of(old, old_image),
    }


def with_variables(body: Mapping[str, Any], variables: Mapping[str, str | None]) -> dict[str, Any]:
    """Return a create request with environment variables set, or removed if the value is None."""
    kept = [entry for entry in body.get("Env") or () if entry.partition("=")[0] not in variables]
    return {**body, "Env": kept + [f"{name}={value}" for name, value in variables.items() if value is not None]}


def config_without_defaults(old: Json, image: Json, host_name: str = "") -> dict[str, Any]:
    """Return the Config of an inspect document without the settings of its image."""
    config: dict[str, Any] = dict(old.get("Config") or {})
    defaults: Json = image.get("Config") or {}
    _drop_command(config, defaults)
    for field in _SCALARS:
        if config.get(field) == defaults.get(field):
            config.pop(field, None)
    if config.get("Env") is not None:
        inherited = set(defaults.get("Env") or ())
        config["Env"] = [entry for entry in config["Env"] if entry not in inherited]
    # The engine merges a health check with the image's field by field.
    for field in (*_MAPS, "Healthcheck"):
        of_image = (defaults.get(field) or {}).items()
        config[field] = dict(entry for entry in (config.get(field) or {}).items() if entry not in of_image)
    if not config["Healthcheck"]:
        del config["Healthcheck"]
    config["ExposedPorts"].update({port: {} for port in (old.get("HostConfig") or {}).get("PortBindings") or {}})
    _drop_generated(config, old, host_name)
    return config


def _drop_command(config: dict[str, Any], defaults: Json) -> None:
    # The engine uses the image's Cmd only if neither Entrypoint nor Cmd is given, so both are dropped or none.
    if config.get("Entrypoint") == defaults.get("Entrypoint"):
        if config.get("Cmd") == defaults.get("Cmd"):
            config.pop("Cmd", None)
        config.pop("Entrypoint", None)
    elif not config.get("Entrypoint"):
        # `--entrypoint ''` is shown as null, but null in a request means the image's entrypoint. The command line sends
        # one empty word, which the engine stores as null.
        config["Entrypoint"] = [""]


def _drop_generated(config: dict[str, Any], old: Json, host_name: str) -> None:
    """Remove values that the engine generated for this container, and values that its network mode forbids."""
    host: Json = old.get("HostConfig") or {}
    mode = str(host.get("NetworkMode", ""))
    shares_network = mode.startswith("container:")
    inherits_name = (
        shares_network
        or host.get("UTSMode") == "host"
        or (mode == "host" and config.get("Hostname") in (host_name, ""))
    )
    if inherits_name or config.get("Hostname") == old["Id"][:12]:
        config.pop("Hostname", None)
    if inherits_name:
        config.pop("Domainname", None)
    if shares_network:
        config["ExposedPorts"] = {}
    if not config.get("MacAddress"):
        config.pop("MacAddress", None)


def _network_name(old: Json) -> str:
    """Return the network mode, with the network's name if the mode is an ID, since endpoints are listed by name."""
    mode = str((old.get("HostConfig") or {}).get("NetworkMode", ""))
    return next(
        (
            name
            for name, endpoint in ((old.get("NetworkSettings") or {}).get("Networks") or {}).items()
            if endpoint and endpoint.get("NetworkID") == mode
        ),
        mode,
    )


def _link(entry: str) -> str:
    """Convert a link from the form of responses, `/target:/self/alias`, to the form of requests, `target:alias`."""
    target, _, alias = entry.partition(":")
    return f"{target.removeprefix('/')}:{alias.rpartition('/')[2]}"


# Name of an anonymous volume.
GENERATED_NAME = re.compile(r"[0-9a-f]{64}")


def carry_over_mounts(old: Json, inherited: Collection[str]) -> list[dict[str, Any]]:
    """Return HostConfig.Mounts for a replacement, so that anonymous volumes keep their content.

    A plain re-creation would create a new, empty volume for each VOLUME of the image, each `-v /path` and each mount
    without a source. Instead, the old volume is mounted by name; the same applies to a volume from a VolumesFrom whose
    container is gone.

    Args:
        inherited: Destinations that VolumesFrom provides, which must not be mounted a second time.
    """
    host: Json = old.get("HostConfig") or {}
    mounted = {mount["Destination"]: mount for mount in old.get("Mounts") or ()}
    listed = [_with_source(mount, mounted) for mount in host.get("Mounts") or ()]
    # A bind is `SOURCE:DESTINATION[:OPTIONS]`, or only a destination.
    binds = [bind.split(":")[1] if ":" in bind else bind for bind in host.get("Binds") or ()]
    given = [mount.get("Target", "") for mount in listed] + binds
    # The engine shows the mount of `-v /data/` at `/data`.
    taken = {posixpath.normpath(path) for path in given} | set(inherited)
    unlisted = [_as_request(mounted[destination]) for destination in sorted(mounted.keys() - taken)]
    return listed + [mount for mount in unlisted if mount["Source"]]


def fresh_mounts(mounts: Collection[Json]) -> list[dict[str, Any]]:
    """Return mounts for a replica, which gets its own anonymous volumes instead of the volumes of the first
    container.
    """
    volumes = [mount for mount in mounts if mount.get("Type") == "volume"]
    anonymous = [mount for mount in volumes if GENERATED_NAME.fullmatch(mount.get("Source") or "")]
    return [
        {field: value for field, value in mount.items() if field != "Source" or mount not in anonymous}
        for mount in mounts
    ]


def _with_source(mount: Json, mounted: Mapping[str, Json]) -> dict[str, Any]:
    volume = mounted.get(posixpath.normpath(mount.get("Target", ""))) or {}
    if mount.get("Type") == "volume" and not mount.get("Source") and volume.get("Name"):
        return {**mount, "Source": volume["Name"]}
    return dict(mount)


def _as_request(mount: Json) -> dict[str, Any]:
    """Convert a mount from the form of responses to the form of requests; without a Source if that is impossible."""
    return {
        "Type": mount.get("Type"),
        "Source": {"volume": mount.get("Name"), "bind": mount.get("Source")}.get(mount.get("Type", "")) or "",
        "Target": mount["Destination"],
        "ReadOnly": not mount.get("RW", True),
    }


# Fields of an endpoint that a user sets. The engine assigns all others, such as addresses and IDs.
_USER_FIELDS = ("IPAMConfig", "Links", "Aliases", "DriverOpts", "GwPriority")


def endpoint_settings(old: Json) -> dict[str, dict[str, Any]]:
    """Return endpoint settings by network; empty for a container without its own network."""
    mode = str((old.get("HostConfig") or {}).get("NetworkMode", ""))
    if mode.startswith("container:") or mode in ("host", "none"):
        return {}
    return {
        network: _user_settings(endpoint or {}, old["Id"])
        for network, endpoint in ((old.get("NetworkSettings") or {}).get("Networks") or {}).items()
    }


def without_default_bridge(settings: Mapping[str, Json]) -> dict[str, Json]:
    """Return the endpoint settings of the networks in which containers find each other by name."""
    # In the default bridge, neither aliases nor container names are found.
    return {network: endpoint for network, endpoint in settings.items() if network != "bridge"}


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
        # Engine API below 1.45 includes the short container ID.
        kept["Aliases"] = [alias for alias in kept["Aliases"] if alias != container_id[:12]]
    return kept
