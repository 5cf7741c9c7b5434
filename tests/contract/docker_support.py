"""Helpers for tests of the engine `docker`: an engine on a bed, and independent looks at its containers."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.support.docker_bed import ANONYMOUS, DockerBed
from tests.support.runs import FakeRun
from tests.support.services import service_row
from tests.support.waiting import wait_until
from tutumd.engines.docker.engine import DockerEngine
from tutumd.model import Outcome, Service, ServiceSnapshot

APP = f"{ANONYMOUS}/app"
STABLE_S = 0.4
DRAIN_S = 0.2


@contextmanager
def opened(
    bed: DockerBed, *, url: str = "", self_container_id: str | None = None, drain_s: float = DRAIN_S
) -> Iterator[DockerEngine]:
    """Yield an engine on the bed, perhaps by another address."""
    engine = DockerEngine(
        "docker",
        url or bed.url,
        config_dir=str(bed.docker_config),
        server_cap=10,
        stable_s=STABLE_S,
        drain_s=drain_s,
        self_container_id=self_container_id,
    )
    try:
        yield engine
    finally:
        engine.close()


def snapshots(engine: DockerEngine) -> dict[str, ServiceSnapshot]:
    """Return all services by selector."""
    return {snapshot.selector: snapshot for snapshot in engine.discover()}


def service(selector: str) -> Service:
    """Return the store's row of a service."""
    return service_row(engine="docker", selector=selector, name=selector.partition(":")[2].rpartition("/")[2])


def inspected(bed: DockerBed, name: str) -> dict[str, Any]:
    """Return the inspect document of a container."""
    return dict(bed.inspect("container", name))


def states(bed: DockerBed) -> dict[str, str]:
    """Return the state of every container by name.

    Inspected one by one: for a moment after a stop, the engine's list still says `running`.
    """
    ids = bed.docker("ps", "--all", "--quiet", "--no-trunc").split()
    if not ids:
        return {}
    shown = bed.docker("container", "inspect", "--format", "{{.Name}} {{.State.Status}}", *ids).splitlines()
    return {name.removeprefix("/"): status for name, status in map(str.split, shown)}


def asked_from(bed: DockerBed, container: str, address: str) -> str:
    """Return the body of `http://ADDRESS/`, asked for from inside a container, once something listens there."""
    return wait_until(
        lambda: bed.run("exec", container, "wget", "-q", "-O-", f"http://{address}/").stdout, f"{address} answers"
    ).strip()


def version(bed: DockerBed, name: str) -> str:
    """Return the version that the image of a container declares."""
    return str(inspected(bed, name)["Config"]["Labels"].get("version", ""))


def redeploy(engine: DockerEngine, selector: str, run: FakeRun | None = None) -> Outcome:
    """Redeploy the service of a selector."""
    return engine.redeploy(service(selector), run or FakeRun())
