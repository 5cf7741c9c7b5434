"""Fixtures for all tests, the markers that they imply, and the rules that hold for every test."""

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.support import guards, markers
from tests.support.docker_bed import DockerBed
from tests.support.leak_plugin import LeakPlugin
from tests.support.podman_bed import PodmanBed
from tests.support.postgres_bed import PostgresBed, missing_postgres
from tests.support.server import PATIENT, LiveServer

IN_A_CLUSTER = bool(os.environ.get("TUTUMD_TEST_KUBECONFIG"))


def pytest_configure(config: pytest.Config) -> None:
    if not IN_A_CLUSTER:
        guards.forbid_network_beyond_loopback()
    guards.end_on_sigterm()
    config.pluginmanager.register(LeakPlugin())
    markers.register(config)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="run the tests that are marked slow, too")
    parser.addoption("--nightly", action="store_true", help="run every test, those that are marked nightly, too")


# First, so that `-m` sees the markers.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark each test by its parts, and leave out what does not run here: in CI, a skip counts as a failure."""
    for item in items:
        markers.mark_parts(item)
        markers.mark_copies(item)
    left_out = [item for item in items if _is_left_out(item, config)]
    kept = set(items) - set(left_out)
    # Those of an engine follow each other, so that few workers start one of their own.
    items[:] = sorted((item for item in items if item in kept), key=markers.bed_rank)
    config.hook.pytest_deselected(items=left_out)


def _is_left_out(item: pytest.Item, config: pytest.Config) -> bool:
    if item.path.name == "test_kubernetes_cluster.py" and not IN_A_CLUSTER:
        return True
    if config.option.nightly:
        return False
    if item.get_closest_marker("nightly"):
        return "nightly" not in config.option.markexpr
    is_slow = item.get_closest_marker("slow") is not None
    return is_slow and not config.option.all and "slow" not in config.option.markexpr


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI, count a skipped test as a failed one: the machine lacks something that it should have."""
    report = yield
    if guards.IN_CI and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which is a failure with CI=true: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def docker_bed() -> Iterator[DockerBed]:
    """A private Docker Engine with Swarm and two registries; see `tests/support/docker_bed.py`."""
    guards.require_part("docker")
    with DockerBed() as bed:
        yield bed


@pytest.fixture
def clean_bed(docker_bed: DockerBed) -> Iterator[DockerBed]:
    """The Docker Engine for one test. Afterwards all that the test made is removed, and its faults end."""
    yield docker_bed
    docker_bed.clean()


@pytest.fixture(scope="session")
def podman_bed() -> Iterator[PodmanBed]:
    """A private Podman with Docker's API and two registries; see `tests/support/podman_bed.py`."""
    guards.require_part("podman")
    with PodmanBed() as bed:
        yield bed


@pytest.fixture
def clean_podman(podman_bed: PodmanBed) -> Iterator[PodmanBed]:
    """Podman for one test. Afterwards all that the test made is removed, and its faults end."""
    yield podman_bed
    podman_bed.clean()


@pytest.fixture(scope="session")
def postgres_bed() -> Iterator[PostgresBed]:
    """A private PostgreSQL server."""
    if missing := missing_postgres():
        guards.lacking(missing)
    bed = PostgresBed()
    try:
        bed.start()
        yield bed
    finally:
        bed.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty SQLite or PostgreSQL database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'test.db'}"
    bed: PostgresBed = request.getfixturevalue("postgres_bed")
    return bed.new_database()


@pytest.fixture(scope="session")
def live_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server process with the `local` engine, shared by all tests of a worker."""
    folder = tmp_path_factory.mktemp("live-server")
    with LiveServer(folder, "--engine", "local", command=PATIENT) as server:
        yield server
