"""The server is killed or ended at bad moments and started again: nothing accepted is lost, nothing is done twice."""

import random
import signal
from collections.abc import Callable, Iterator
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

    def redeploy(self) -> str:
        """Begin a redeploy and return the path of the action."""
        answer = self.server.request("POST", f"{self.uri}redeploy/")
        assert answer.status == 202
        return answer.headers["x-tutum-action-uri"]

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


def _kill_when_claimed(service: Sleepers, action: str, old: set[int]) -> None:
    wait_until(lambda: service.server.request("GET", action).json["state"] != "Pending", "claimed", pause_s=0.001)
    service.server.kill()


def _kill_when_both_sets_run(service: Sleepers, action: str, old: set[int]) -> None:
    wait_until(lambda: len(service.pids - old) == len(old), "both sets run", pause_s=0.01)
    service.server.kill()


def _kill_when_the_old_set_ends(service: Sleepers, action: str, old: set[int]) -> None:
    wait_until(lambda: not old <= service.pids, "the old set ends", pause_s=0.001)
    service.server.kill()


def _kill_twice(service: Sleepers, action: str, old: set[int]) -> None:
    _kill_when_claimed(service, action, old)
    service.server.start()
    _kill_when_both_sets_run(service, action, old)


KILLS: list[Callable[[Sleepers, str, set[int]], None]] = [
    _kill_when_claimed,
    _kill_when_both_sets_run,
    _kill_when_the_old_set_ends,
    _kill_twice,
]


def _actions(server: LiveServer, service: Sleepers) -> list[dict[str, Any]]:
    return list(server.request("GET", f"/api/v1/action/?object={service.uuid}").json["objects"])


def _deliveries(actions: list[dict[str, Any]]) -> int:
    return sum(each["deliveries"] for each in actions)


@pytest.mark.nightly
@pytest.mark.parametrize("kill", KILLS, ids=lambda kill: kill.__name__.removeprefix("_kill_"))
def test_a_redeploy_ends_with_the_truth_though_the_server_is_killed(
    server: LiveServer, kill: Callable[[Sleepers, str, set[int]], None]
) -> None:
    service = Sleepers(server, containers=2)
    before, old = server.service(service.uuid)["containers"], service.pids
    assert len(old) == 2
    action = service.redeploy()
    kill(service, action, old)
    assert service.pids, "every process was gone"
    server.start()
    ended = server.wait_for_action(action)
    assert ended["state"] == "Success", ended
    service.check(2)
    after = server.service(service.uuid)["containers"]
    assert not service.pids & old
    assert not set(after) & set(before)
    assert (sorted(ended["container_uris_before"]), sorted(ended["container_uris_after"])) == (
        sorted(before),
        sorted(after),
    )


def test_accepted_calls_survive_a_kill(server: LiveServer) -> None:
    service = Sleepers(server, containers=1)
    redeploy, more = (
        f"{service.uri}webhook/handler/{server.add_handler(service.uuid, name, name)}/call/"
        for name in ("REDEPLOY", "SCALEUP")
    )
    assert post_all(server, [redeploy, more, f"{more}2/"] * 5, clients=5) == [202] * 15
    server.kill()
    server.start()
    actions = _actions(server, service)
    assert _deliveries(actions) == 15
    for each in actions:
        assert server.wait_for_action(each["resource_uri"])["state"] == "Success"
    service.check(1 + 5 * 3)


@pytest.mark.slow
def test_a_redeploy_under_way_is_ended_before_the_server_ends(server: LiveServer) -> None:
    service = Sleepers(server, containers=2)
    old = service.pids
    action = service.redeploy()
    wait_until(lambda: len(service.pids - old) == 2, "the new set runs", pause_s=0.01)
    assert server.stop() in (0, -signal.SIGTERM)
    assert len(service.pids - old) == 2
    server.start()
    assert server.wait_for_action(action)["state"] == "Success"
    service.check(2)
