"""The server is killed or ended at bad moments and started again: nothing accepted is lost, nothing is done twice."""

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.acceptance.concurrent_clients import post_all
from tests.support.server import LiveServer
from tests.support.waiting import wait_until


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LiveServer]:
    with LiveServer(tmp_path, "--engine", "local") as started:
        yield started


class Sleepers:
    """A service whose processes are recognized by how long they sleep."""

    def __init__(self, server: LiveServer, containers: int, name: str = "sleepers") -> None:
        self.server = server
        self._argument = str(random.randrange(10**6, 10**9))
        self.uuid = server.run_service(name, f"exec sleep {self._argument}", containers)
        self.uri = f"/api/v1/service/{self.uuid}/"

    @property
    def pids(self) -> set[int]:
        found = set()
        for process in psutil.process_iter(["cmdline"]):
            if process.info["cmdline"] == ["sleep", self._argument]:
                found.add(process.pid)
        return found

    def check(self, containers: int) -> None:
        """Check that exactly so many processes run, and that the API says so."""
        self.server.wait_for_service(
            self.uuid,
            timeout_s=120,
            state="Running",
            running_num_containers=containers,
            target_num_containers=containers,
        )
        assert len(self.pids) == containers
        assert len(self.server.service(self.uuid)["containers"]) == containers


def _actions(server: LiveServer, service: Sleepers) -> list[dict[str, Any]]:
    return list(server.request("GET", f"/api/v1/action/?object={service.uuid}").json["objects"])


def _deliveries(actions: list[dict[str, Any]]) -> int:
    return sum(each["deliveries"] for each in actions)


@pytest.mark.slow
def test_calls_that_arrive_while_the_server_is_killed_are_lost_only_without_an_answer(server: LiveServer) -> None:
    service = Sleepers(server, containers=1)
    more = f"{service.uri}webhook/handler/{server.add_handler(service.uuid, 'more', 'SCALEUP')}/call/"

    def kill() -> None:
        wait_until(lambda: _deliveries(_actions(server, service)), "calls come in", pause_s=0.001)
        server.kill()

    with ThreadPoolExecutor(1) as killer:
        killed = killer.submit(kill)
        statuses = post_all(server, [more] * 40, clients=8)
        killed.result()
    server.start()
    for each in _actions(server, service):
        assert server.wait_for_action(each["resource_uri"])["state"] == "Success"
    stored = _deliveries(_actions(server, service))
    assert statuses.count(202) <= stored <= 40
    service.check(1 + stored)
