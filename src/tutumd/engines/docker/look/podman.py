"""Podman's inspect documents, converted to Docker's form.

Podman (tested with 5.4) serves Docker's API, but reports its own defaults as if a user had requested them. A container
re-created from such a document would keep the generated values of the old container forever.
"""

import re
import signal
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from tutumd.engines.docker.look.services import base_name
from tutumd.engines.docker.plan.config import GENERATED_NAME
from tutumd.engines.labels import NO_REGISTRY, Json

_STATUS = {"configured": "created", "initialized": "created", "stopping": "running", "stopped": "exited"}
_HEALTH_DEFAULTS = {"Interval": 30_000_000_000, "Timeout": 30_000_000_000, "Retries": 3}
# Values of HostConfig fields that mean "not requested".
_HOST_DEFAULTS: Mapping[str, tuple[Any, ...]] = {
    "Runtime": ("oci",),
    "PidMode": ("private",),
    "UTSMode": ("private",),
    "MemorySwappiness": (0, -1),
}


def image_as_docker(image: Json, details: Json) -> Json:
    """Return the inspect document of an image, without names in the registry `localhost`, which means no registry.

    For an untagged image, Docker lists its repositories as digests; Podman lists its former names.

    Args:
        details: The document of Podman's own API, if there is one: Docker's document omits the health check.
    """
    digests = image.get("RepoDigests") or [
        f"{name.rpartition(':')[0]}@{image.get('Digest')}" for name in image.get("History") or ()
    ]
    check = details.get("Healthcheck")
    config = {"Config": {**image["Config"], "Healthcheck": check}} if check else {}
    return {**image, **config, "RepoDigests": [entry for entry in digests if not entry.startswith(f"{NO_REGISTRY}/")]}


def container_as_docker(container: Json, image: Json | None) -> tuple[Json, Json | None]:
    """Return the inspect documents of a container and of its image (None if that is gone)."""
    config: dict[str, Any] = dict(container.get("Config") or {})
    host = _host_config(container)
    defaults: dict[str, Any] = dict((image or {}).get("Config") or {})
    for field in ("Entrypoint", "Cmd"):
        if not config.get(field) and not defaults.get(field):
            config[field] = defaults.get(field)
    if (config.get("WorkingDir") or "/") == (defaults.get("WorkingDir") or "/"):
        config["WorkingDir"] = defaults.get("WorkingDir")
    config["StopSignal"] = _stop_signal(config.get("StopSignal"), defaults.get("StopSignal"))
    config["Env"] = [entry for entry in config.get("Env") or () if entry not in _generated_variables(config)]
    config["Volumes"], host["Binds"] = _volumes_and_binds(container, host)
    config["Healthcheck"], defaults["Healthcheck"] = _health_checks(config, defaults)
    state: Json = container.get("State") or {}
    return {
        **container,
        "Config": config,
        "HostConfig": host,
        "NetworkSettings": _network_settings(container),
        "State": {**state, "Status": _STATUS.get(state.get("Status", ""), state.get("Status", ""))},
    }, None if image is None else {**image, "Config": defaults}


def unkept_setting(details: Json) -> str:
    """Return a setting of a container that a new container would lose, as a phrase after its name; empty if there is
    none.

    Args:
        details: The document of Podman's own API. It contains the command of a container that Podman's command line
            created; Podman does not record the requests of Docker's API.
    """
    if details.get("Pod"):
        return "belongs to a pod"
    config: Json = details.get("Config") or {}
    words, own = list(config.get("CreateCommand") or ()), list(config.get("Cmd") or ())
    options = words[: -len(own)] if own and words[-len(own) :] == own else words
    for word, following in pairwise([*options, ""]):
        option, _, value = word.partition("=")
        # `--ip 10.0.0.2`, or `--network front:ip=10.0.0.2`.
        if option in ("--ip", "--ip6", "--mac-address") or (
            option in ("--network", "--net") and re.search("[:,](ip6?|mac)=", value or following)
        ):
            return f"was created with {option} {value or following}"
    return ""


def _host_config(container: Json) -> dict[str, Any]:
    host = {
        field: value
        for field, value in (container.get("HostConfig") or {}).items()
        if value not in _HOST_DEFAULTS.get(field, ())
    }
    host["Annotations"] = {
        name: value
        for name, value in (host.get("Annotations") or {}).items()
        if not name.startswith(("io.container.manager", "org.opencontainers.image.stopSignal", "org.systemd.property."))
    }
    networks = list((container.get("NetworkSettings") or {}).get("Networks") or {})
    if host.get("NetworkMode") == "bridge" and networks:
        # Docker shows the network with which the container was created; Podman shows `bridge` for every bridge.
        host["NetworkMode"] = networks[0]
    return host


def _network_settings(container: Json) -> Json:
    """Return the networks with the container's name as an alias, and without its hostname.

    Podman does not follow the rename of a running container: without the alias, clients would not find the new name.
    """
    settings: Json = container.get("NetworkSettings") or {}
    hostname = (container.get("Config") or {}).get("Hostname")
    own_name = base_name(str(container.get("Name", "")).removeprefix("/"))
    networks = {}
    for network, endpoint in (settings.get("Networks") or {}).items():
        aliases = [alias for alias in (endpoint or {}).get("Aliases") or () if alias not in (hostname, own_name)]
        networks[network] = {
            **(endpoint or {}),
            # The default network has no name resolution, and refuses aliases.
            "Aliases": aliases + ([] if network == "podman" else [own_name]),
        }
    return {**settings, "Networks": networks}


def _volumes_and_binds(container: Json, host: Json) -> tuple[dict[str, Any], list[str]]:
    """Separate anonymous volumes from binds. Podman lists both as binds, a volume by its generated name."""
    volumes: dict[str, Any] = dict((container.get("Config") or {}).get("Volumes") or {})
    shown = host.get("Binds") or ()
    anonymous = [bind for bind in shown if GENERATED_NAME.fullmatch(bind.partition(":")[0])]
    volumes |= {bind.split(":")[1]: {} for bind in anonymous}
    return volumes, [bind for bind in shown if bind not in anonymous]


def _stop_signal(shown: Any, default: Any) -> Any:
    number = _signal_number(shown)
    if number == (_signal_number(default) or signal.SIGTERM):
        return default
    return signal.Signals(number).name if number in list(signal.Signals) else shown


def _signal_number(text: Any) -> int:
    """Return the number of a signal given as `2`, `INT` or `SIGINT`; 0 if it is unknown."""
    name = str(text or "").removeprefix("SIG")
    return int(name) if name.isdecimal() else int(signal.Signals.__members__.get(f"SIG{name}", 0))


def _generated_variables(config: Json) -> tuple[str, ...]:
    """Return the environment variables that Podman sets, with its values."""
    user = str(config.get("User") or "").partition(":")[0]
    always = ("container=podman", "HOME=/", "HOME=/root", f"HOME=/home/{user}", f"HOSTNAME={config.get('Hostname')}")
    return (*always, "TERM=xterm") if config.get("Tty") else always


def _health_checks(config: Json, defaults: Json) -> tuple[Json | None, Json | None]:
    """Return the health checks of a container and of its image; equal if nobody changed the container's.

    A changed check is returned with None for the image: Podman does not merge the two, so the complete check must be
    sent.
    """
    check: Json | None = config.get("Healthcheck")
    default: Json | None = defaults.get("Healthcheck")
    if not check or not default:
        return check, default
    expected = {**_HEALTH_DEFAULTS, **{field: value for field, value in default.items() if value}}
    is_same = all(
        (check.get(field) or None) == (expected.get(field) or None) for field in check.keys() | default.keys()
    )
    return (default, default) if is_same else (check, None)
