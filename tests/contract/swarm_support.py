"""Helpers for tests of the engine `swarm`: an engine on a bed, its services, and independent looks at them."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tests.support.docker_bed import DockerBed
from tests.support.services import service_row
from tests.support.waiting import wait_until
from tutumd.engines.dockerapi.connection import connect
from tutumd.engines.rollout.timing import Timing
from tutumd.engines.swarm import api
from tutumd.engines.swarm.engine import SwarmEngine
from tutumd.model import Service, ServiceSnapshot

STABLE_S = 2.0
SERVER_CAP = 10
# Output that a busy engine does not send in time is left out.
api._LOG_LIMIT_S = 60


@contextmanager
def opened(bed: DockerBed, *, stable_s: float = STABLE_S, url: str = "") -> Iterator[SwarmEngine]:
    """Yield an engine on the bed, or on what is between, by its URL."""
    timing = Timing(stable_s=stable_s, poll_s=0.3, doubt_s=1.0)
    engine = SwarmEngine(
        "swarm", url or bed.url, config_dir=str(bed.docker_config), server_cap=SERVER_CAP, timing=timing
    )
    try:
        yield engine
    finally:
        engine.close()


def service(name: str, *, target: int = 2) -> Service:
    """Return the store's row of a service."""
    return service_row(engine="swarm", selector=name, name=name, target=target)


def create(
    bed: DockerBed, name: str, image: str, *options: str, command: Sequence[str] = (), replicas: int | None = 2
) -> None:
    """Create a service and wait until it runs."""
    number = [] if replicas is None else ["--replicas", str(replicas)]
    given = ("--detach", "--name", name, "--endpoint-mode", "dnsrr", *number, *options)
    bed.docker("service", "create", *given, image, *command)
    if replicas is not None:
        wait_until(lambda: len(running(bed, name)) == counted(bed, name) == replicas, f"{replicas} tasks of {name} run")


def counted(bed: DockerBed, name: str) -> int:
    """Return how many tasks of a service run for the manager, which learns of a container a moment later."""
    states = bed.docker("service", "ps", "--filter", "desired-state=running", "--format", "{{.CurrentState}}", name)
    return sum(state.startswith("Running ") for state in states.splitlines())


def running(bed: DockerBed, name: str) -> list[str]:
    """Return the versions of the containers of a service that run, sorted."""
    label = f"label=com.docker.swarm.service.name={name}"
    ids = bed.run("ps", "--quiet", "--filter", label, "--filter", "status=running").stdout.split()
    shown = [bed.run("inspect", "--format", '{{index .Config.Labels "version"}}', container) for container in ids]
    return sorted(done.stdout.strip() for done in shown if done.returncode == 0)


def spec(bed: DockerBed, name: str) -> dict[str, Any]:
    """Return the specification of a service as it is stored; the command line client would add defaults."""
    client: Any = connect(bed.url, None)  # the SDK leaves this call untyped
    try:
        return dict(client.inspect_service(name)["Spec"])
    finally:
        client.close()


def image(bed: DockerBed, name: str) -> str:
    """Return the image in the specification of a service."""
    return str(spec(bed, name)["TaskTemplate"]["ContainerSpec"]["Image"])


def replicas(bed: DockerBed, name: str) -> int:
    """Return the number of replicas in the specification of a service."""
    return int(spec(bed, name)["Mode"]["Replicated"]["Replicas"])


def snapshot(engine: SwarmEngine, name: str) -> ServiceSnapshot:
    """Return the snapshot of a service that must be there."""
    found = engine.inspect(service(name))
    assert found is not None
    return found


class Sampler:
    """Calls `look` in a thread every 0.1 s while a block runs, and keeps the results."""

    def __init__(self, look: Callable[[], Any]) -> None:
        self.samples: list[Any] = []
        self._look = look
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler")

    def __enter__(self) -> "Sampler":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=30)

    def _run(self) -> None:
        while not self._stop.wait(0.1):
            self.samples.append(self._look())
