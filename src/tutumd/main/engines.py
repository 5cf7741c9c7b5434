"""Engine instances from the `--engine` options."""

import os
import re
import socket
from collections.abc import Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import structlog

from tutumd.errors import SettingsError, TutumdError
from tutumd.main.storage import locked
from tutumd.ports import Engine

if TYPE_CHECKING:
    from tutumd.settings import Settings

_OPTION = re.compile(
    r"((?P<name>[a-z0-9][a-z0-9_.-]{0,62})=)?"
    r"((?P<local>local)|(?P<docker>docker|swarm)(:(?P<url>.*://.*)?)?|(?P<kubernetes>kubernetes)(:(?P<context>.*))?)"
)
_CONNECT_S = 1.0
_ORPHAN_S = 5.0
"""Maximum time for which the worker of a killed server keeps its engines."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """One engine instance to serve.

    Attributes:
        url: Default: the URL of DOCKER_HOST, or the usual socket. For kubernetes: a context of the kubeconfig;
            default: its current one, or the pod's account.
    """

    name: str
    kind: str
    url: str | None = None


def parse_specs(texts: Sequence[str]) -> tuple[Spec, ...]:
    """Return the engines of `--engine` options, without those that `auto` finds.

    Raises:
        SettingsError: An option is invalid, or two engines have the same name.
    """
    specs: dict[str, Spec] = {}
    for text in (each for each in texts if each != "auto"):
        match = _OPTION.fullmatch(text)
        if match is None:
            raise SettingsError(
                "--engine must be auto, local, docker, swarm, kubernetes, docker:URL or kubernetes:CONTEXT, each but"
                " auto also as NAME=…; NAME is of a-z, 0-9, '-', '_' and '.', URL like ssh://user@host; got"
                f" {text!r}"
            )
        kind = match["local"] or match["docker"] or match["kubernetes"]
        spec = Spec(name=match["name"] or kind, kind=kind, url=match["url"] or match["context"] or None)
        if spec.name in specs:
            raise SettingsError(f"engine {spec.name!r} is given twice: name one of them, as in prod={spec.kind}:URL")
        specs[spec.name] = spec
    return tuple(specs.values())


def find_specs(settings: "Settings") -> list[Spec]:
    """Return the engines that the settings name or that `auto` finds."""
    specs = list(parse_specs(settings.engine))
    if "auto" in settings.engine and not settings.demo:
        specs += [spec for spec in _detect(settings) if spec.name not in {given.name for given in specs}]
    if settings.demo and not any(spec.kind == "local" for spec in specs):
        specs.append(Spec(name="local", kind="local"))
    return specs


def local_folder(spec: Spec, settings: "Settings") -> Path:
    """Return the folder of a local engine's services."""
    return settings.data_dir / ("local" if spec.name == "local" else f"local-{spec.name}")


def build(settings: "Settings", stack: ExitStack, installation: str = "") -> dict[str, Engine]:
    """Return the engine instances by name. No instance is connected yet; the stack closes them.

    Args:
        installation: As in `build_engine`.

    Raises:
        SettingsError: An option is invalid, or another process uses the folder of a local engine.
    """
    specs = find_specs(settings)
    if os.geteuid() == 0 and any(spec.kind == "local" for spec in specs):
        _log.warning(
            "the engine local runs commands as root: whoever has the API key of an admin controls this machine; start"
            " tutumd as another user"
        )
    instances: dict[str, Engine] = {}
    for spec in specs:
        if spec.kind == "local":
            stack.enter_context(
                locked(
                    settings.data_dir / f"{spec.name}.lock",
                    f"another tutumd runs the services of engine {spec.name!r} in {settings.data_dir}: stop it, or give"
                    " another --data-dir",
                    exclusive=True,
                    wait_s=_ORPHAN_S,
                )
            )
        instances[spec.name] = build_engine(spec, settings, installation)
        stack.callback(instances[spec.name].close)
    return instances


def _detect(settings: "Settings") -> list[Spec]:
    docker, local = Spec(name="docker", kind="docker"), Spec(name="local", kind="local")
    try:
        _try_connection(settings.docker_host or "unix:///var/run/docker.sock")
    except PermissionError:
        return [docker, local]  # the engine docker reports this to people until they grant the rights
    except OSError:
        _log.info("no Docker was found: the engine is local, whose services are commands")
        return [local]
    return [docker, Spec(name="swarm", kind="swarm")] if _is_swarm_manager(settings) else [docker]


def _try_connection(url: str) -> None:
    """Connect to an engine. Raises OSError. A host of SSH is not tried: if it is named, its engine is wanted even while
    it is unavailable.
    """
    parts = urlsplit(url)
    if parts.scheme == "unix":
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_CONNECT_S)
            connection.connect(parts.path)
    elif parts.scheme != "ssh" and parts.hostname:
        socket.create_connection((parts.hostname, parts.port or 2375), _CONNECT_S).close()


def _is_swarm_manager(settings: "Settings") -> bool:
    from tutumd.engines.dockerapi.connection import connect
    from tutumd.engines.dockerapi.failures import translated

    connection = connect(settings.docker_host or None, settings.docker_config or None, environment=os.environ)
    with (
        suppress(TutumdError),
        closing(connection) as client,
        translated("ask the engine whether it is a Swarm manager"),
    ):
        return bool(client.info().get("Swarm", {}).get("ControlAvailable"))
    return False


# Each engine is imported where it is built: its client library is slow to load, and may not be installed.
def build_engine(spec: Spec, settings: "Settings", installation: str = "") -> Engine:
    """Return one engine, which is not connected yet. Raises SettingsError if an option is invalid.

    Args:
        installation: ID of the database. Two instances of one installation may also be the same engine.
    """
    if spec.kind == "local":
        from tutumd.engines.local.engine import LocalEngine

        return LocalEngine(
            spec.name, local_folder(spec, settings), server_cap=settings.max_containers, limits=settings.run_limits
        )
    if spec.kind == "kubernetes":
        return _build_kubernetes(spec, settings)
    url = spec.url or settings.docker_host or None
    config_dir = settings.docker_config or None
    if spec.kind == "docker":
        from tutumd.engines.docker.engine import DockerEngine
        from tutumd.engines.docker.look.services import find_self_container_id

        return DockerEngine(
            spec.name,
            url,
            config_dir=config_dir,
            server_cap=settings.max_containers,
            limits=settings.run_limits,
            installation=installation and f"{installation}.{spec.name}",
            self_container_id=find_self_container_id(),
            environment=os.environ,
        )
    from tutumd.engines.swarm.engine import SwarmEngine

    return SwarmEngine(
        spec.name,
        url,
        config_dir=config_dir,
        server_cap=settings.max_containers,
        limits=settings.run_limits,
        environment=os.environ,
    )


def _build_kubernetes(spec: Spec, settings: "Settings") -> Engine:
    from tutumd.engines.kubernetes.access import find_access
    from tutumd.engines.kubernetes.engine import KubernetesEngine

    return KubernetesEngine(
        spec.name,
        find_access(settings.kubeconfig, spec.url, os.environ),
        namespaces=settings.kubernetes_namespaces,
        server_cap=settings.max_containers,
        limits=settings.run_limits,
    )
