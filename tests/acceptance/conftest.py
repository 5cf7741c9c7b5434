"""Servers, services and clients for the acceptance tests."""

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.accounts import Member, add_member, give
from tests.acceptance.backups import tutumd
from tests.acceptance.console import Console
from tests.acceptance.raw_http import Target, holdings
from tests.support.dashboard_bed import DashboardBed, serve_dashboard
from tests.support.docker_bed import DockerBed
from tests.support.pages import Visitor, signed_in
from tests.support.server import LiveServer
from tests.support.stores import open_store


@pytest.fixture(scope="module")
def server(docker_bed: DockerBed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server with the engines `docker` and `swarm`, both on the private Docker Engine."""
    folder, engines = tmp_path_factory.mktemp("engines"), ("--engine", "docker", "--engine", "swarm")
    with LiveServer(folder, *engines, environment=docker_bed.environment) as started:
        yield started


@pytest.fixture(scope="session")
def quiet_service(live_server: LiveServer) -> Target:
    service = live_server.run_service("bad-input")
    other = live_server.create_service("bad-input-other")
    return Target(
        server=live_server,
        service=service,
        handler=live_server.add_handler(service),
        other_service=other["uuid"],
        scaling=live_server.add_handler(service, "more", "SCALEUP"),
    )


@pytest.fixture(scope="module")
def target(quiet_service: Target) -> Iterator[Target]:
    """A service that no test of the module may change."""
    before = holdings(quiet_service.server)
    yield quiet_service
    assert holdings(quiet_service.server) == before


@pytest.fixture
def visitor(live_server: LiveServer) -> Visitor:
    """An admin on the dashboard, without scripts."""
    return signed_in(live_server)


@pytest.fixture
def console(live_server: LiveServer) -> Console:
    return Console(live_server)


@pytest.fixture
def dashboard(tmp_path: Path) -> Iterator[DashboardBed]:
    """The dashboard of a new installation: a worker serves the engine `docker`, which shows nothing yet."""
    with open_store(f"sqlite:///{tmp_path / 'test.db'}") as bed, serve_dashboard(bed) as served:
        yield served


@pytest.fixture(scope="session")
def breakable(live_server: LiveServer, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A service whose new processes fail as long as a file exists, and that file."""
    broken = tmp_path_factory.mktemp("breakable") / "broken"
    return live_server.run_service("breakable", f"test ! -e {broken} || exit 3; exec sleep 36000"), broken


@pytest.fixture(scope="module")
def made_backup(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `data` of a stopped server, and `backup.tar`, which lacks its newest user, `after`."""
    folder = tmp_path_factory.mktemp("made")
    data = folder / "data"
    with LiveServer(folder, "--engine", "local"):
        assert tutumd("user", "add", "before", "--data-dir", data).returncode == 0
        done = tutumd("backup", folder / "backup.tar", "--data-dir", data)
        assert done.returncode == 0, done.stderr
    assert tutumd("user", "add", "after", "--data-dir", data).returncode == 0
    return folder


@pytest.fixture
def backup(made_backup: Path, tmp_path: Path) -> Path:
    """The backup of `made_backup`, beside a copy of its `data`."""
    (tmp_path / "data").mkdir(mode=0o700)
    for name in ("backup.tar", "data/tutumd.db", "data/secret.key"):
        shutil.copy2(made_backup / name, tmp_path / name)
    return tmp_path / "backup.tar"


@pytest.fixture
def ann(live_server: LiveServer) -> Member:
    """A member with a service."""
    member = add_member(live_server, f"ann-{uuid.uuid4()}")
    give(live_server, str(live_server.create_service(member.name)["uuid"]), member.name)
    return member
