"""What the acceptance tests share: a service that nobody may make do anything."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.console import Console
from tests.acceptance.raw_http import Target, holdings
from tests.support.server import LiveServer


@pytest.fixture(scope="session")
def quiet_service(live_server: LiveServer) -> Target:
    service = live_server.run_service("bad-input")
    other = live_server.request(
        "POST", "/api/v1/service/", {"name": "bad-input-other", "image": "none", "run_command": "sleep 600"}
    )
    return Target(
        server=live_server,
        service=service,
        handler=live_server.add_handler(service),
        other_service=other.json["uuid"],
        scaling=live_server.add_handler(service, "more", "SCALEUP"),
    )


@pytest.fixture(scope="module")
def target(quiet_service: Target) -> Iterator[Target]:
    """The service, of which nothing may have changed after the tests of a module."""
    before = holdings(quiet_service.server)
    yield quiet_service
    assert holdings(quiet_service.server) == before


@pytest.fixture
def console(live_server: LiveServer) -> Console:
    return Console(live_server)


@pytest.fixture(scope="session")
def breakable(live_server: LiveServer, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A service whose new processes fail as long as a file exists, and that file."""
    broken = tmp_path_factory.mktemp("breakable") / "broken"
    return live_server.run_service("breakable", f"test ! -e {broken} || exit 3; exec sleep 600"), broken
