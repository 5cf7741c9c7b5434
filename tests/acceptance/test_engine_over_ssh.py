"""A server whose engine is reached over ssh: redeploys go on when the connection or the host is lost."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import guards, processes
from tests.support.docker_bed import ANONYMOUS, DockerBed
from tests.support.server import LiveServer
from tests.support.ssh_bed import SshBed
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

IMAGE = f"{ANONYMOUS}/app"


@pytest.fixture
def host(clean_bed: DockerBed, tmp_path: Path) -> Iterator[SshBed]:
    guards.require_part("ssh")
    with SshBed(tmp_path, clean_bed.url) as host:
        yield host


@pytest.fixture
def server(host: SshBed, clean_bed: DockerBed, tmp_path: Path) -> Iterator[LiveServer]:
    environment = host.environment | {"DOCKER_CONFIG": str(clean_bed.docker_config)}
    (tmp_path / "server").mkdir()
    engines = (f"--engine=far=docker:{host.url}", f"--engine=swarm=swarm:{host.url}")
    with LiveServer(tmp_path / "server", *engines, environment=environment) as server:
        yield server


def redeploy(server: LiveServer, bed: DockerBed, name: str, engine: str) -> str:
    """Call a new handler after a new build was pushed, and return the action."""
    uuid = server.find(name, engine=engine)["uuid"]
    handler = server.add_handler(uuid)
    bed.push("app", "v2")
    called = server.request("POST", f"/api/v1/service/{uuid}/webhook/handler/{handler}/call/", authorization=None)
    return str(called.json["action"])


def swap_begins(bed: DockerBed) -> None:
    wait_until(
        lambda: len(bed.docker("ps", "--all", "--quiet").split()) == 2, "the new container is there", pause_s=0.01
    )


def succeeds(server: LiveServer, action: str, bed: DockerBed) -> None:
    ended = server.wait_for_action(action)
    assert ended["state"] == "Success", ended
    shown = bed.docker("ps", "--all", "--format", '{{.Names}} {{.State}} {{.Label "version"}}')
    assert shown == "api running v2"


@pytest.fixture
def api(clean_bed: DockerBed) -> DockerBed:
    clean_bed.push("app", "v1")
    # Long enough that also a busy machine acts in the middle of the swap.
    lasts = ("--label", "tutum.redeploy.stable=10")
    clean_bed.docker("run", "-d", "--name", "api", "--restart", "always", *lasts, IMAGE)
    return clean_bed


@pytest.mark.nightly
def test_a_redeploy_outlives_its_connections(server: LiveServer, host: SshBed, api: DockerBed) -> None:
    action = redeploy(server, api, "api", "far")
    swap_begins(api)
    ended = [one for one in processes.below(server.pid) if host.url in processes.command(one)]
    assert ended
    processes.send(ended, signal.SIGKILL)
    succeeds(server, action, api)


@pytest.mark.nightly
def test_a_redeploy_waits_for_a_host_that_is_away(server: LiveServer, host: SshBed, api: DockerBed) -> None:
    action = redeploy(server, api, "api", "far")
    swap_begins(api)
    host.stop()
    wait_until(lambda: host.url in server.request("GET", action).json["reason"], "the action waits, and names the host")
    assert server.request("GET", "/readyz", authorization=None).json["engines"]["far"] == "unreachable"
    host.start()
    succeeds(server, action, api)
