"""Podman's inspect documents as Docker would have written them.

Podman (seen with 5.4) answers Docker's API, but shows what it decided itself as if somebody had asked for it. A
container re-created from such a document would keep the old one's generated values for ever.
"""

import re
import signal
from collections.abc import Mapping
from typing import Any

from tutumd.engines.docker.inspect.selectors import base_name
from tutumd.engines.labels import Json

_LOCAL = "localhost/"
_DEFAULT_NETWORK = "podman"
"""It has no name server, and refuses aliases."""
_STATUS = {"configured": "created", "initialized": "created", "stopping": "running", "stopped": "exited"}
_MADE_ANNOTATIONS = ("io.container.manager", "org.opencontainers.image.stopSignal", "org.systemd.property.")
_HEALTH_DEFAULTS = {"Interval": 30_000_000_000, "Timeout": 30_000_000_000, "Retries": 3}
_HOST_DEFAULTS: Mapping[str, tuple[Any, ...]] = {
    "Runtime": ("oci",),
    "PidMode": ("private",),
    "UTSMode": ("private",),
    "MemorySwappiness": (0, -1),
}
"""Fields of HostConfig with the values that mean that nothing was asked for."""
_GENERATED = re.compile(r"[0-9a-f]{64}")


def image_as_docker(image: Json) -> Json:
    """Return the document of an image without the registry `localhost`, which stands for none.

    Docker knows an image that lost its tags by the digests of its repositories; Podman by the names that it had.
    """
    digests = image.get("RepoDigests") or [
        f"{name.rpartition(':')[0]}@{image.get('Digest')}" for name in image.get("History") or ()
    ]
    return {**image, "RepoDigests": [entry for entry in digests if not entry.startswith(_LOCAL)]}


def container_as_docker(container: Json, image: Json | None) -> tuple[Json, Json | None]:
    """Return the inspect documents of a container and of its image (None where that is gone)."""
    config: dict[str, Any] = dict(container.get("Config") or {})
    host = _host_config(container)
    defaults: dict[str, Any] = dict((image or {}).get("Config") or {})
    for field in ("Entrypoint", "Cmd"):
        if not config.get(field) and not defaults.get(field):
            config[field] = defaults.get(field)
    if (config.get("WorkingDir") or "/") == (defaults.get("WorkingDir") or "/"):
        config["WorkingDir"] = defaults.get("WorkingDir")
    config["StopSignal"] = _stop_signal(config.get("StopSignal"), defaults.get("StopSignal"))
    config["Env"] = [entry for entry in config.get("Env") or () if entry not in _made_variables(config)]
    config["Volumes"], host["Binds"] = _volumes(container, host)
    config["Healthcheck"], defaults["Healthcheck"] = _health_checks(config, defaults)
    state: Json = container.get("State") or {}
    return {
        **container,
        "Config": config,
        "HostConfig": host,
        "NetworkSettings": _network_settings(container),
        "State": {**state, "Status": _STATUS.get(state.get("Status", ""), state.get("Status", ""))},
    }, None if image is None else {**image, "Config": defaults}


def _host_config(container: Json) -> dict[str, Any]:
    host: dict[str, Any] = dict(container.get("HostConfig") or {})
    for field, values in _HOST_DEFAULTS.items():
        if host.get(field) in values:
            del host[field]
    annotations = (host.get("Annotations") or {}).items()
    host["Annotations"] = {name: value for name, value in annotations if not name.startswith(_MADE_ANNOTATIONS)}
    networks = list((container.get("NetworkSettings") or {}).get("Networks") or {})
    if host.get("NetworkMode") == "bridge" and networks:
        # Docker names the network that the container was made with; here every bridge is `bridge`.
        host["NetworkMode"] = networks[0]
    return host


def _network_settings(container: Json) -> Json:
    """Return the networks without the alias that is the container's own hostname, and with its name as one.

    A container that is renamed while it runs would otherwise stay known by the name that it was started with.
    """
    settings: Json = container.get("NetworkSettings") or {}
    hostname = (container.get("Config") or {}).get("Hostname")
    own_name = base_name(str(container.get("Name", "")).removeprefix("/"))
    networks = {}
    for network, endpoint in (settings.get("Networks") or {}).items():
        aliases = [alias for alias in (endpoint or {}).get("Aliases") or () if alias not in (hostname, own_name)]
        has_names = network != _DEFAULT_NETWORK
        networks[network] = {**(endpoint or {}), "Aliases": [*aliases, own_name] if has_names else aliases}
    return {**settings, "Networks": networks}


def _volumes(container: Json, host: Json) -> tuple[dict[str, Any], list[str]]:
    """Tell anonymous volumes, which Podman lists among the binds by their generated names, from binds."""
    volumes: dict[str, Any] = dict((container.get("Config") or {}).get("Volumes") or {})
    binds = []
    for bind in host.get("Binds") or ():
        source, _, rest = bind.partition(":")
        if _GENERATED.fullmatch(source):
            volumes[rest.partition(":")[0]] = {}
        else:
            binds.append(bind)
    return volumes, binds


def _stop_signal(shown: Any, default: Any) -> Any:
    number = _signal_number(shown)
    if number == (_signal_number(default) or signal.SIGTERM):
        return default
    return signal.Signals(number).name if number in list(signal.Signals) else shown


def _signal_number(text: Any) -> int:
    """Return the number of a signal given as `2`, `INT` or `SIGINT`; 0 where it has none."""
    name = str(text or "")
    if name.isdecimal():
        return int(name)
    known = signal.Signals.__members__.get(name if name.startswith("SIG") else f"SIG{name}")
    return 0 if known is None else int(known)


def _made_variables(config: Json) -> tuple[str, ...]:
    """List the environment variables that Podman sets itself, with the values that it gives them."""
    user = str(config.get("User") or "").partition(":")[0]
    made = ["container=podman", "HOME=/", "HOME=/root", f"HOME=/home/{user}", f"HOSTNAME={config.get('Hostname')}"]
    return (*made, "TERM=xterm") if config.get("Tty") else tuple(made)


def _health_checks(config: Json, defaults: Json) -> tuple[Json | None, Json | None]:
    """Return the health check of a container and that of its image, with the same one where nobody changed it.

    Otherwise the image's is left out: Podman does not merge the two, so that all of the container's must be given.
    """
    check: Json | None = config.get("Healthcheck")
    default: Json | None = defaults.get("Healthcheck")
    if not check or not default:
        return check, default
    fields = check.keys() | default.keys()
    wanted = {**_HEALTH_DEFAULTS, **{field: value for field, value in default.items() if value}}
    same = all((check.get(field) or None) == (wanted.get(field) or None) for field in fields)
    return (default, default) if same else (check, None)
