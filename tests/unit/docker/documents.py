"""Inspect documents as the engine gives them, cut down to what is looked at."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from tutumd.engines.docker.look.containers import InspectedContainer, parse_container

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
ZERO = "0001-01-01T00:00:00Z"
ALWAYS = {"Name": "always", "MaximumRetryCount": 0}
NO = {"Name": "no", "MaximumRetryCount": 0}


def at(second: float) -> str:
    """A time of the engine, in seconds since the tests' epoch."""
    return (EPOCH + timedelta(seconds=second)).isoformat().replace("+00:00", "Z")


def identity(number: int) -> str:
    """An ID of 64 hexadecimal characters."""
    return f"{number:064x}"


def image(number: int = 0xA0, *, digests: list[str] | None = None, **config: Any) -> dict[str, Any]:
    """An image document; `config` goes into its Config."""
    return {"Id": f"sha256:{identity(number)}", "RepoDigests": digests or [], "RepoTags": [], "Config": config}


def container(
    number: int = 1,
    name: str = "web",
    *,
    status: str = "running",
    exit_code: int = 0,
    created: float = 0,
    started: float | None = 1,
    finished: float | None = None,
    restarts: int = 0,
    health: str = "",
    image_number: int = 0xA0,
    config: Mapping[str, Any] | None = None,
    host: Mapping[str, Any] | None = None,
    networks: Mapping[str, Any] | None = None,
    mounts: list[dict[str, Any]] | None = None,
    labels: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """A container document; times are seconds since the tests' epoch."""
    state: dict[str, Any] = {
        "Status": status,
        "ExitCode": exit_code,
        "StartedAt": ZERO if started is None else at(started),
        "FinishedAt": ZERO if finished is None else at(finished),
    }
    if health:
        state["Health"] = {"Status": health, "Log": [{"Output": "checked\n"}]}
    return {
        "Id": identity(number),
        "Name": f"/{name}",
        "Created": at(created),
        "Image": f"sha256:{identity(image_number)}",
        "Path": "/serve",
        "Args": [],
        "RestartCount": restarts,
        "State": state,
        "Config": {"Image": "app", "Labels": dict(labels or {}), **(config or {})},
        "HostConfig": {
            "NetworkMode": "bridge",
            "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
            **(host or {}),
        },
        "NetworkSettings": {"Networks": dict(networks if networks is not None else {"bridge": {}})},
        "Mounts": mounts or [],
    }


def inspected(
    number: int = 1, name: str = "web", *, its_image: dict[str, Any] | None = None, **document: Any
) -> InspectedContainer:
    """A container as the engine's code sees it."""
    return parse_container(container(number, name, **document), its_image or image())


def compose_labels(number: int, service: str = "web", project: str = "shop", **more: str) -> dict[str, str]:
    """The labels that say where a container stands in a compose project."""
    return {
        "com.docker.compose.project": project,
        "com.docker.compose.service": service,
        "com.docker.compose.container-number": str(number),
        "com.docker.compose.oneoff": "False",
        **more,
    }
