"""The create request of a replacement: the old container's configuration minus what its image had set."""

from collections.abc import Collection, Mapping
from typing import Any

from tutumd.engines.docker.recreate.mounts import carried_mounts
from tutumd.engines.docker.recreate.networks import endpoints
from tutumd.engines.labels import Json

COMPOSE_IMAGE = "com.docker.compose.image"

_SAME_IS_DEFAULT = ("WorkingDir", "User", "StopSignal", "Shell", "OnBuild", "ArgsEscaped")
"""Fields that are the image's where both say the same."""
_MAPS = ("Labels", "Volumes", "ExposedPorts")


def replacement(
    old: Json, old_image: Json, new_image: Json, sources: Mapping[str, Collection[str]], host_name: str = ""
) -> dict[str, Any]:
    """Return the body of a create request for the container that takes the place of `old`.

    Args:
        old: Its inspect document, in which the engine mixed the image's settings with the user's.
        old_image: Of the image that it was made from, by ID: what that set is dropped, so that the new image's hold.
        new_image: Of the image that the replacement will be made from.
        sources: The entries of VolumesFrom whose containers are there, with the destinations that come through each.
        host_name: Of the engine's machine, which a container in its network has where it was given none of its own.
    """
    config = own_config(old, old_image, host_name)
    host = dict(old.get("HostConfig") or {})
    host["NetworkMode"] = _network_by_name(old)
    if host.get("Links"):
        host["Links"] = [_link(entry) for entry in host["Links"]]
    if host.get("VolumesFrom"):
        host["VolumesFrom"] = list(sources)
    host["Mounts"] = carried_mounts(old, {path for paths in sources.values() for path in paths})
    # A file that the command line wrote the old container's ID to; the engine refuses it where it exists.
    host.pop("ContainerIDFile", None)
    labels = config.get("Labels") or {}
    if COMPOSE_IMAGE in labels:
        # docker/compose convergence.go mustRecreate: another image than this label names makes `up` re-create.
        config["Labels"] = {**labels, COMPOSE_IMAGE: new_image["Id"]}
    return {**config, "HostConfig": host, "NetworkingConfig": {"EndpointsConfig": endpoints(old)}}


def with_variables(body: Mapping[str, Any], variables: Mapping[str, str | None]) -> dict[str, Any]:
    """Return a create request with environment variables set, or taken out where the value is None."""
    given = body.get("Env")
    if not variables:
        return dict(body)
    kept = [entry for entry in given or () if entry.partition("=")[0] not in variables]
    added = [f"{name}={value}" for name, value in variables.items() if value is not None]
    return {**body, "Env": kept + added}


def own_config(old: Json, image: Json, host_name: str = "") -> dict[str, Any]:
    """Return the Config of an inspect document without what came from the image."""
    config: dict[str, Any] = dict(old.get("Config") or {})
    defaults: Json = image.get("Config") or {}
    _drop_command(config, defaults)
    for field in _SAME_IS_DEFAULT:
        if config.get(field) == defaults.get(field):
            config.pop(field, None)
    if config.get("Env") is not None:
        inherited = set(defaults.get("Env") or ())
        config["Env"] = [entry for entry in config["Env"] if entry not in inherited]
    for field in _MAPS:
        config[field] = _without(config.get(field) or {}, defaults.get(field) or {})
    config["ExposedPorts"] = {**config["ExposedPorts"], **_bound_ports(old)}
    _drop_healthcheck(config, defaults)
    _drop_generated(config, old, host_name)
    return config


def _drop_command(config: dict[str, Any], defaults: Json) -> None:
    # The engine takes the image's Cmd only where neither Entrypoint nor Cmd is given, so Cmd goes only with it.
    if config.get("Entrypoint") == defaults.get("Entrypoint"):
        if config.get("Cmd") == defaults.get("Cmd"):
            config.pop("Cmd", None)
        config.pop("Entrypoint", None)
    elif not config.get("Entrypoint"):
        # `--entrypoint ''` inspects as null; null in a request would bring the image's entrypoint back. The command
        # line sends one empty word, which the engine stores as null.
        config["Entrypoint"] = [""]


def _drop_healthcheck(config: dict[str, Any], defaults: Json) -> None:
    check, default = config.get("Healthcheck"), defaults.get("Healthcheck") or {}
    if not check:
        config.pop("Healthcheck", None)
        return
    # The engine merges the image's health check in field by field.
    own = _without(check, default)
    if own:
        config["Healthcheck"] = own
    else:
        config.pop("Healthcheck", None)


def _drop_generated(config: dict[str, Any], old: Json, host_name: str) -> None:
    """Take out what the engine made up for this one container, and what its network mode forbids."""
    host: Json = old.get("HostConfig") or {}
    mode = str(host.get("NetworkMode", ""))
    shares = mode.startswith("container:")
    foreign = shares or host.get("UTSMode") == "host"
    of_machine = mode == "host" and config.get("Hostname") in (host_name, "")
    if config.get("Hostname") == old["Id"][:12] or foreign or of_machine:
        config.pop("Hostname", None)
    if foreign or of_machine:
        config.pop("Domainname", None)
    if shares:
        config["ExposedPorts"] = {}
    if not config.get("MacAddress"):
        config.pop("MacAddress", None)


def _network_by_name(old: Json) -> str:
    """Return the network mode with the network's name where its ID is given, as endpoints are listed by name."""
    mode = str((old.get("HostConfig") or {}).get("NetworkMode", ""))
    networks: Json = (old.get("NetworkSettings") or {}).get("Networks") or {}
    return next((name for name, one in networks.items() if one and one.get("NetworkID") == mode), mode)


def _link(entry: str) -> str:
    """Turn a link as it is shown, `/target:/self/alias`, into one as it is given, `target:alias`."""
    target, _, alias = entry.partition(":")
    return f"{target.removeprefix('/')}:{alias.rpartition('/')[2]}"


def _bound_ports(old: Json) -> dict[str, dict[str, Any]]:
    return {port: {} for port in (old.get("HostConfig") or {}).get("PortBindings") or {}}


def _without(own: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in own.items() if not (name in defaults and defaults[name] == value)}
