"""What the tests of the engine `swarm` share: an engine on the bed, services on it, and what they look at."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from tests.contract import docker_support
from tests.support.docker_bed import ANONYMOUS, DockerBed
from tests.support.waiting import wait_until
from tutumd.engines.dockerapi import connect
from tutumd.engines.rollout.timing import Timing
from tutumd.engines.swarm import SwarmEngine
from tutumd.model import Service, ServiceSnapshot

STABLE_S = 1.0
MOST = 10
APP = f"{ANONYMOUS}/app"


@contextmanager
def opened(bed: DockerBed, *, stable_s: float = STABLE_S) -> Iterator[SwarmEngine]:
    """An engine on the bed for a while."""
    timing = Timing(stable_s=stable_s, poll_s=0.3)
    engine = SwarmEngine("swarm", bed.url, config_dir=str(bed.docker_config), server_cap=MOST, timing=timing)
    try:
        yield engine
    finally:
        engine.close()


def service(name: str, *, target: int = 2) -> Service:
    """The store's row of a service, as far as an engine looks at it."""
    row = docker_support.service(f"docker:{name}")
    return replace(row, engine="swarm", engine_kind="swarm", selector=name, name=name, target=target)


def create(bed: DockerBed, name: str, image: str, *options: str, replicas: int | None = 2) -> None:
    """Create a service and wait until it runs."""
    number = [] if replicas is None else ["--replicas", str(replicas)]
    bed.docker("service", "create", "--detach", "--name", name, "--endpoint-mode", "dnsrr", *number, *options, image)
    if replicas is not None:
        wait_until(lambda: len(running(bed, name)) == counted(bed, name) == replicas, f"{replicas} tasks of {name} run")


def counted(bed: DockerBed, name: str) -> int:
    """How many tasks of a service run as the manager sees it, which is a moment later than their containers do."""
    states = bed.docker("service", "ps", "--filter", "desired-state=running", "--format", "{{.CurrentState}}", name)
    return sum(state.startswith("Running ") for state in states.splitlines())


def running(bed: DockerBed, name: str) -> list[str]:
    """The images' versions of the containers of a service that run, sorted."""
    label = f"label=com.docker.swarm.service.name={name}"
    ids = bed.run("ps", "--quiet", "--filter", label, "--filter", "status=running").stdout.split()
    shown = [bed.run("inspect", "--format", '{{index .Config.Labels "version"}}', one) for one in ids]
    return sorted(one.stdout.strip() for one in shown if one.returncode == 0)


def spec(bed: DockerBed, name: str) -> dict[str, Any]:
    """The specification of a service as it is stored: the command line client would add defaults."""
    client: Any = connect(bed.url, None)  # the SDK leaves this call untyped
    try:
        return dict(client.inspect_service(name)["Spec"])
    finally:
        client.close()


def image(bed: DockerBed, name: str) -> str:
    """The image in the specification of a service."""
    return str(spec(bed, name)["TaskTemplate"]["ContainerSpec"]["Image"])


def replicas(bed: DockerBed, name: str) -> int:
    """The number of replicas in the specification of a service."""
    return int(spec(bed, name)["Mode"]["Replicated"]["Replicas"])


def snapshot(engine: SwarmEngine, name: str) -> ServiceSnapshot:
    """The snapshot of a service that must be there."""
    found = engine.inspect(service(name))
    assert found is not None
    return found


class Watched:
    """Calls `look` again and again in a thread while a block runs, and keeps what it returned."""

    def __init__(self, look: Callable[[], Any]) -> None:
        self.seen: list[Any] = []
        self._look = look
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watched")

    def __enter__(self) -> "Watched":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=30)

    def _run(self) -> None:
        while not self._stop.wait(0.1):
            self.seen.append(self._look())
