"""Scale, start and stop on a real Docker Engine: names and numbers of copies, refusals and rollback."""

from pathlib import Path

import pytest

from tests.contract.docker_support import inspected, opened, service, snapshots, states
from tests.support.docker_bed import DockerBed
from tests.support.runs import FakeRun
from tutumd.model import ServiceState

pytestmark = pytest.mark.slow

COMPOSE = """
services:
  web:
    image: app:v1
    volumes: ["data:/data", "/anonymous"]
volumes: {data: {}}
"""


def test_a_lone_container_gets_numbered_copies_and_stays_the_same_service(clean_bed: DockerBed) -> None:
    clean_bed.docker("run", "-d", "--name", "web", "-e", "MINE=1", "-p", "8080", "-v", "/anonymous", "app:v1")
    clean_bed.docker("run", "-d", "--name", "web-2", "app:v1")
    with opened(clean_bed) as engine:
        assert set(snapshots(engine)) == {"name:web", "name:web-2"}
        outcome = engine.scale(service("name:web"), 3, FakeRun())
        assert outcome.success, outcome
        found = snapshots(engine)
        assert set(found) == {"name:web", "name:web-2"}
        assert [container.name for container in found["name:web"].containers] == ["web", "web-3", "web-4"]
        assert found["name:web"].target == found["name:web"].running == 3
        assert outcome.containers_after == tuple(container.id for container in found["name:web"].containers)
        # Every copy is redeployed too.
        assert engine.redeploy(service("name:web"), FakeRun()).success
        assert snapshots(engine)["name:web"].running == 3
    copy = inspected(clean_bed, "web-3")
    assert copy["Config"]["Labels"]["tutum.service"] == "web"
    assert "MINE=1" in copy["Config"]["Env"]
    assert copy["Config"]["Hostname"] == copy["Id"][:12]
    volumes = {inspected(clean_bed, name)["Mounts"][0]["Name"] for name in ("web", "web-3", "web-4")}
    assert len(volumes) == 3


def test_a_compose_service_gets_the_next_numbers(clean_bed: DockerBed, tmp_path: Path) -> None:
    folder = clean_bed.up(tmp_path, COMPOSE)
    with opened(clean_bed) as engine:
        assert engine.scale(service("compose:shop/web"), 3, FakeRun()).success
        names = [container.name for container in snapshots(engine)["compose:shop/web"].containers]
    assert names == ["shop-web-1", "shop-web-2", "shop-web-3"]
    copy = inspected(clean_bed, "shop-web-3")
    assert copy["Config"]["Labels"]["com.docker.compose.container-number"] == "3"
    assert "web" in copy["NetworkSettings"]["Networks"]["shop_default"]["Aliases"]
    assert "shop-web-3" in copy["NetworkSettings"]["Networks"]["shop_default"]["Aliases"]
    assert "shop-web-1" not in copy["NetworkSettings"]["Networks"]["shop_default"]["Aliases"]
    # Compose takes them for its own, and brings them down to what its file says.
    clean_bed.compose(folder, "up", "-d")
    assert [name for name in states(clean_bed) if name.startswith("shop-web")] == ["shop-web-1"]


@pytest.mark.parametrize("how", ["running", "paused"])
def test_a_stop_outlasts_the_engine_and_start_brings_all_back(clean_bed: DockerBed, how: str) -> None:
    for name in ("web", "web-2"):
        clean_bed.docker(
            "run", "-d", "--name", name, "--restart", "unless-stopped", "-l", "tutum.service=web", "app:v1"
        )
    if how == "paused":
        clean_bed.docker("pause", "web")
    with opened(clean_bed) as engine:
        outcome = engine.stop(service("name:web"), FakeRun())
        assert outcome.success
        clean_bed.restart_engine()
        assert snapshots(engine)["name:web"].state is ServiceState.STOPPED
        assert engine.start(service("name:web"), FakeRun()).success
        assert snapshots(engine)["name:web"].state is ServiceState.RUNNING
