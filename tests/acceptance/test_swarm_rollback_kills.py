"""Worker and server killed with SIGKILL in the middle of rollbacks, on a real Swarm."""

from collections.abc import Iterator
from functools import partial
from itertools import cycle, islice
from pathlib import Path

import pytest

from tests.acceptance.test_engines_end_to_end import call
from tests.acceptance.test_rollback_kills import IMAGE, QUICK, Killed
from tests.contract import swarm_support as swarm
from tests.support.docker_bed import DockerBed
from tests.support.server import LiveServer
from tests.support.waiting import wait_until

KILLS = [
    pytest.param(3, marks=pytest.mark.slow),
    pytest.param(50, marks=[pytest.mark.nightly, pytest.mark.timeout(1800)]),
]
ROLLED_BACK = "tutum.image.rolled-back"


@pytest.fixture
def server(docker_bed: DockerBed, tmp_path: Path) -> Iterator[LiveServer]:
    with LiveServer(tmp_path, "--engine", "swarm", environment=docker_bed.environment) as started:
        yield started


class KilledOnSwarm(Killed):
    """A Swarm service."""

    def create(self, *options: str) -> None:
        swarm.create(self.bed, "web", IMAGE, *QUICK, "--rollback-monitor", "1s", *options, replicas=1)


def runs(bed: DockerBed, version: str) -> bool:
    return swarm.running(bed, "web") == [version]


@pytest.mark.nightly
@pytest.mark.parametrize("kills", KILLS)
@pytest.mark.parametrize("order", ["start-first", pytest.param("stop-first", marks=pytest.mark.nightly)])
def test_a_rollback_on_a_swarm_is_finished_although_it_is_killed(
    clean_bed: DockerBed, server: LiveServer, order: str, kills: int
) -> None:
    killed = KilledOnSwarm(clean_bed, server, "--label", f"tutum.redeploy.order={order}")
    newest = f"{IMAGE}:latest@{killed.digests['v2']}"
    settings = swarm.spec(clean_bed, "web")
    for number, version in enumerate(islice(cycle(["v1", "v2"]), kills)):
        ended = killed.roll_back(version, kill_server=number % 4 > 1)
        digest = killed.digests[version]
        assert (ended["state"], ended["image_after"]) == ("Success", digest), (number, ended)
        wait_until(partial(runs, clean_bed, version), f"one container of {version} is left")
        spec = swarm.spec(clean_bed, "web")
        assert swarm.image(clean_bed, "web") == f"{IMAGE}:latest@{digest}"
        assert spec["Labels"] == settings["Labels"] | {ROLLED_BACK: f"{IMAGE}:latest@{digest} {newest}"}, number
        assert spec.get("UpdateConfig") == settings.get("UpdateConfig"), number
    assert killed.kills > kills / 2
    assert "-trial-" not in clean_bed.docker("service", "ls")
    assert call(server, server.add_handler(killed.uuid), killed.uuid)["state"] == "Success"
    assert (swarm.image(clean_bed, "web"), swarm.spec(clean_bed, "web")["Labels"]) == (newest, settings["Labels"])
