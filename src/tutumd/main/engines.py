"""From the `--engine` options to engine instances."""

import fcntl
import os
import re
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tutumd.errors import SettingsError, TutumdError
from tutumd.main.storage import locked
from tutumd.ports import Engine
from tutumd.settings import Settings

KINDS = ("local", "docker", "swarm", "kubernetes")
DEFAULT_SOCKET = "unix:///var/run/docker.sock"
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")
_PROBE_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """One engine instance to serve.

    Attributes:
        url: None means the one of DOCKER_HOST, or the usual socket. For kubernetes a context of the kubeconfig; None
            means its current one, or the pod's account.
    """

    name: str
    kind: str
    url: str | None = None


def parse_specs(texts: Sequence[str]) -> tuple[Spec, ...]:
    """Read `--engine` options other than `auto`. Raises SettingsError."""
    specs: dict[str, Spec] = {}
    for text in texts:
        spec = _parse(text)
        if spec.name in specs:
            raise SettingsError(f"engine {spec.name!r} is given twice: name one of them, as in prod={spec.kind}:URL")
        specs[spec.name] = spec
    return tuple(specs.values())


def build(settings: Settings, stack: ExitStack) -> dict[str, Engine]:
    """Build the engine instances by name. None of them is connected to yet; the stack closes them.

    Raises:
        SettingsError: A wrong option, or another process works with the folder of a local engine.
    """
    texts = [text for text in settings.engine if text != "auto"]
    specs = list(parse_specs(texts))
    if "auto" in settings.engine:
        specs += [spec for spec in _found(settings) if spec.name not in {known.name for known in specs}]
    if settings.demo and not any(spec.kind == "local" for spec in specs):
        specs.append(Spec(name="local", kind="local"))
    instances: dict[str, Engine] = {}
    for spec in specs:
        if spec.kind == "local":
            _lock(settings.data_dir, spec.name, stack)
        instances[spec.name] = _build(spec, settings)
        stack.callback(instances[spec.name].close)
    return instances


def _lock(data_dir: Path, name: str, stack: ExitStack) -> None:
    hint = f"another tutumd runs the services of engine {name!r} in {data_dir}: stop it, or give another --data-dir"
    stack.enter_context(locked(data_dir / f"{name}.lock", fcntl.LOCK_EX, hint))


def _parse(text: str) -> Spec:
    name, separator, rest = text.partition("=") if "=" in text.split(":", 1)[0] else ("", "", text)
    kind, _, url = rest.partition(":")
    if kind not in KINDS:
        raise SettingsError(
            f"--engine must be {', '.join(KINDS)}, auto, NAME=docker:URL or NAME=kubernetes:CONTEXT, got {text!r}"
        )
    if separator and not _NAME.fullmatch(name):
        raise SettingsError(f"an engine's name must be of a-z, 0-9, '-', '_' and '.', got {name!r}")
    if kind == "local" and url:
        raise SettingsError(f"the local engine has no URL, got {text!r}")
    if url and kind != "kubernetes" and "://" not in url:
        raise SettingsError(f"an engine's URL must be like unix:///var/run/docker.sock or tcp://host:2375, got {url!r}")
    return Spec(name=name or kind, kind=kind, url=url or None)


def _found(settings: Settings) -> list[Spec]:
    if not _answers(settings.docker_host or DEFAULT_SOCKET):
        return [Spec(name="local", kind="local")]
    found = [Spec(name="docker", kind="docker")]
    if _is_manager(settings):
        found.append(Spec(name="swarm", kind="swarm"))
    return found


def _answers(url: str) -> bool:
    parts = urlsplit(url)
    try:
        if parts.scheme == "unix":
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(_PROBE_S)
                probe.connect(parts.path)
        elif parts.hostname:
            socket.create_connection((parts.hostname, parts.port or 2375), _PROBE_S).close()
    except OSError:
        return False
    return True


def _is_manager(settings: Settings) -> bool:
    from tutumd.engines.dockerapi import connect, translated

    client = connect(settings.docker_host or None, settings.docker_config or None, environment=os.environ)
    try:
        with translated("ask the engine whether it is a Swarm manager"):
            return bool(client.info().get("Swarm", {}).get("ControlAvailable"))
    except TutumdError:
        return False
    finally:
        client.close()


def _build(spec: Spec, settings: Settings) -> Engine:
    if spec.kind == "local":
        from tutumd.engines.local import LocalEngine

        folder = settings.data_dir / ("local" if spec.name == "local" else f"local-{spec.name}")
        return LocalEngine(spec.name, folder, server_cap=settings.max_containers)
    if spec.kind == "kubernetes":
        return _build_kubernetes(spec, settings)
    url = spec.url or settings.docker_host or None
    config_dir = settings.docker_config or None
    if spec.kind == "docker":
        from tutumd.engines.docker import DockerEngine, find_own_container_id

        return DockerEngine(
            spec.name,
            url,
            config_dir=config_dir,
            server_cap=settings.max_containers,
            own_container_id=find_own_container_id(),
            environment=os.environ,
        )
    from tutumd.engines.swarm import SwarmEngine

    return SwarmEngine(
        spec.name, url, config_dir=config_dir, server_cap=settings.max_containers, environment=os.environ
    )


def _build_kubernetes(spec: Spec, settings: Settings) -> Engine:
    try:
        from tutumd.engines.kubernetes import KubernetesEngine, find_access
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "kubernetes":
            raise
        raise SettingsError("the engine kubernetes needs its client: pip install 'tutumd[kubernetes]'") from error

    return KubernetesEngine(
        spec.name,
        find_access(settings.kubeconfig, spec.url, os.environ),
        namespaces=settings.kubernetes_namespaces,
        server_cap=settings.max_containers,
    )
