"""Worker and server killed with SIGKILL in the middle of rollbacks, on a real Docker Engine."""

from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.test_engines_end_to_end import call, containers, version_of
from tests.support.docker_bed import ANONYMOUS, DockerBed
from tests.support.images import Image
from tests.support.server import LiveServer
from tests.support.waiting import wait_until

KILLS = [pytest.param(6, marks=pytest.mark.slow), pytest.param(34, marks=pytest.mark.nightly)]
IMAGE = f"{ANONYMOUS}/app"
LINES = 8
"""A rollback is killed after its first, second … line in the log."""
COMMAND = ("sh", "-c", "test ! -e /data/broken || exit 3; exec /serve")
BREAKABLE = Image(version="v1", command=COMMAND, labels={"version": "v1"})
QUICK = ("--label", "tutum.redeploy.stable=0.5", "--label", "tutum.redeploy.drain=0.5")


@pytest.fixture
def server(docker_bed: DockerBed, tmp_path: Path) -> Iterator[LiveServer]:
    with LiveServer(tmp_path, "--engine", "docker", environment=docker_bed.environment) as started:
        yield started


class Killed:
    """A service `web` that ran v1 and runs v2; its rollbacks are killed, each at another step.

    Attributes:
        digests: Digests of the images by version.
        kills: Number of rollbacks that had not ended when they were killed.
    """

    def __init__(self, bed: DockerBed, server: LiveServer, *options: str) -> None:
        self.bed, self.server = bed, server
        self.digests = {"v1": bed.push("app", BREAKABLE)}
        self.create(*options)
        self.uuid = str(server.find("web", running_num_containers=1)["uuid"])
        self.digests["v2"] = bed.push("app", "v2")
        assert call(server, server.add_handler(self.uuid), self.uuid)["state"] == "Success"
        self.kills = 0
        self._numbers = cycle(range(1, LINES + 1))

    def create(self, *options: str) -> None:
        """Create the service."""
        self.bed.docker("network", "create", "front")
        self.bed.docker("run", "-d", "--name", "web", "--network", "front", *QUICK, *options, IMAGE)

    def roll_back(self, version: str, *, kill_server: bool) -> dict[str, Any]:
        """Begin a rollback, kill the worker or all of the server in it, and return the action that ended."""
        rollback = {"image": self.digests[version], "hold": False}
        answer = self.server.request("POST", f"/api/v1/service/{self.uuid}/rollback/", rollback)
        assert answer.status == 202, answer
        uri = answer.headers["x-tutum-action-uri"]
        number = next(self._numbers)
        self.kills += bool(wait_until(lambda: self._reaches(uri, number), "the step or the end", pause_s=0.005) == 1)
        if kill_server:
            self.server.kill()
            self.server.start()
        else:
            self.server.worker.kill()
        return self.server.wait_for_action(uri)

    def _reaches(self, uri: str, number: int) -> int:
        """Return 1 if the log has so many lines, 2 if the action has ended, otherwise 0."""
        if self.server.request("GET", uri).json["state"] not in ("Pending", "In progress"):
            return 2
        return int(len(self.server.request("GET", f"{uri}logs/").json["lines"]) >= number)

    def check(self, version: str, image: str) -> None:
        """Check that one container is left, which runs this version under the service's name."""
        [(name, container)] = containers(self.bed).items()
        assert (name, container["Config"]["Image"]) == ("web", image)
        assert version_of(self.bed, "web") == version


@pytest.mark.parametrize("kills", KILLS)
@pytest.mark.parametrize("order", ["start-first", pytest.param("stop-first", marks=pytest.mark.nightly)])
def test_a_rollback_is_finished_although_it_is_killed(
    clean_bed: DockerBed, server: LiveServer, order: str, kills: int
) -> None:
    killed = Killed(clean_bed, server, "--label", f"tutum.redeploy.order={order}")
    for number, version in enumerate(islice(cycle(["v1", "v2"]), kills)):
        ended = killed.roll_back(version, kill_server=number % 4 > 1)
        assert (ended["state"], ended["image_after"]) == ("Success", killed.digests[version]), (number, ended)
        killed.check(version, f"{IMAGE}@{killed.digests[version]}")
    assert killed.kills > kills / 2


@pytest.mark.nightly
@pytest.mark.parametrize("kills", KILLS)
def test_a_rollback_that_fails_restores_what_ran_although_it_is_killed(
    clean_bed: DockerBed, server: LiveServer, kills: int
) -> None:
    killed = Killed(clean_bed, server, "--volume", "data:/data")
    clean_bed.docker("exec", "web", "touch", "/data/broken")
    for number in range(kills):
        ended = killed.roll_back("v1", kill_server=number % 2 > 0)
        assert (ended["state"], ended["image_after"]) == ("Failed", killed.digests["v2"]), (number, ended)
        killed.check("v2", IMAGE)
    assert killed.kills > kills / 2
