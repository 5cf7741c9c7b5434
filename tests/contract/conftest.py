"""The engines, each on something real or in memory, and which of them a contract test is generated for."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.contract import cluster_support, kubernetes_support, swarm_support
from tests.contract.cluster_support import RealCluster, real_cluster
from tests.contract.engines.bed import EngineBed
from tests.contract.engines.cluster import ClusterBed, cluster_bed
from tests.contract.engines.docker import DockerEngineBed, PodmanEngineBed, SwarmEngineBed, engine_bed
from tests.contract.engines.kubernetes import KubernetesEngineBed, kubernetes_bed
from tests.contract.engines.local import LocalBed, local_bed
from tests.contract.kubernetes_support import ClusterAndEngine
from tests.contract.local_support import LocalHost, local_host
from tests.support.docker_bed import DockerBed
from tests.support.kubernetes.api import FakeCluster, running
from tutumd.engines.swarm.engine import SwarmEngine

BEDS: dict[str, type[EngineBed]] = {
    "local": LocalBed,
    "docker": DockerEngineBed,
    "podman": PodmanEngineBed,
    "swarm": SwarmEngineBed,
    "kubernetes": KubernetesEngineBed,
    **({"cluster": ClusterBed} if cluster_support.KUBECONFIG else {}),
}
IN_MEMORY = ("kubernetes",)
QUICK = ("local", "docker", "kubernetes")
"""Swarm repeats with --all, and Podman at night, what these engines have shown; Podman has tests of its own, too."""
_DAEMONS = {"docker": "clean_bed", "podman": "clean_podman", "swarm": "clean_bed"}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "cluster: a real Kubernetes cluster")
    config.addinivalue_line("markers", "every_engine: a contract test, generated for every engine")
    config.addinivalue_line("markers", "every_step: kills at every step: slow in memory, nightly on a real engine")
    config.addinivalue_line("markers", "nightly_on(kind): nightly on this engine, whose parts for it other tests cover")
    config.addinivalue_line("markers", "needs(ability): a contract test for engines that have it")
    config.addinivalue_line("markers", "lacks(ability): a contract test for engines that have it not")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Generate a test of every engine for those that have what `needs` names, and not what `lacks` does."""
    if metafunc.definition.get_closest_marker("every_engine"):
        needed = {ability for mark in metafunc.definition.iter_markers("needs") for ability in mark.args}
        lacking = {ability for mark in metafunc.definition.iter_markers("lacks") for ability in mark.args}
        kinds = [kind for kind, bed in BEDS.items() if needed <= bed.abilities and not lacking & bed.abilities]
        marked = [pytest.param(kind, marks=list(_marks(kind, metafunc.definition))) for kind in kinds]
        metafunc.parametrize("bed", marked, indirect=True)


def _marks(kind: str, test: pytest.Item) -> Iterator[pytest.MarkDecorator]:
    at_night = [name for mark in test.iter_markers("nightly_on") for name in mark.args]
    yield getattr(pytest.mark, kind)
    if test.get_closest_marker("every_step"):
        yield pytest.mark.slow if kind in IN_MEMORY else pytest.mark.nightly
    elif kind in ("podman", *at_night):
        yield pytest.mark.nightly
    elif kind not in QUICK:
        yield pytest.mark.slow


@pytest.fixture
def bed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EngineBed]:
    """One engine, for one test. Afterwards nothing is left of what it made."""
    kind: str = request.param
    if kind == "local":
        with local_bed(tmp_path) as local:
            yield local
    elif kind == "kubernetes":
        with kubernetes_bed(tmp_path) as kubernetes:
            yield kubernetes
    elif kind == "cluster":
        with cluster_bed(request.getfixturevalue("shared_cluster")) as cluster:
            yield cluster
    else:
        with engine_bed(kind, request.getfixturevalue(_DAEMONS[kind])) as docker:
            yield docker


@pytest.fixture(params=[pytest.param(name, marks=getattr(pytest.mark, kind)) for kind, name in _DAEMONS.items()][:2])
def daemon(request: pytest.FixtureRequest) -> DockerBed:
    """A Docker Engine, and Podman."""
    bed: DockerBed = request.getfixturevalue(request.param)
    return bed


@pytest.fixture
def host(tmp_path: Path) -> Iterator[LocalHost]:
    """A service of the engine `local`."""
    with local_host(tmp_path / "local") as made:
        yield made


@pytest.fixture
def swarm_engine(clean_bed: DockerBed) -> Iterator[SwarmEngine]:
    """The engine `swarm` on the private Docker Engine."""
    with swarm_support.opened(clean_bed) as engine:
        yield engine


@pytest.fixture
def cluster() -> Iterator[FakeCluster]:
    """A cluster in memory, whose API answers and whose controllers work."""
    with running() as cluster:
        yield cluster


@pytest.fixture
def kubernetes(cluster: FakeCluster, tmp_path: Path) -> Iterator[ClusterAndEngine]:
    """The cluster in memory, and the engine `kubernetes` on it."""
    with kubernetes_support.opened(cluster, tmp_path) as engine:
        yield cluster, engine


@pytest.fixture
def impatient(cluster: FakeCluster, tmp_path: Path) -> Iterator[ClusterAndEngine]:
    """The cluster in memory, and an engine that does not wait for long after a rollback."""
    timing = replace(kubernetes_support.TIMING, rollback_s=0.2)
    with kubernetes_support.opened(cluster, tmp_path, timing=timing) as engine:
        yield cluster, engine


@pytest.fixture(scope="session")
def shared_cluster() -> Iterator[RealCluster]:
    """A namespace of a real cluster for this run."""
    with real_cluster() as cluster:
        yield cluster
