"""A call of a group for a project of `docker compose`: the order of its services by the events of a real engine."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.acceptance.test_engines_end_to_end import version_of
from tests.support.docker_bed import ANONYMOUS, DockerBed
from tests.support.server import LiveServer
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

# Three layers, of which the second has a broken service.
AFTER = {"db": (), "cache": (), "api": ("db", "cache"), "jobs": ("db",), "web": ("api", "jobs")}
EDGES = [(before, name) for name, names in AFTER.items() for before in names]
GOOD = AFTER.keys() - {"api"}


def compose_file() -> str:
    services = {
        name: {
            "image": f"{ANONYMOUS}/{'api' if name == 'api' else 'app'}",
            "stop_grace_period": "0s",
            "depends_on": list(names),
        }
        for name, names in AFTER.items()
    }
    return json.dumps({"services": services})


class Shop:
    """The project `shop`, and a group of its services."""

    def __init__(self, bed: DockerBed, server: LiveServer, folder: Path, policy: str) -> None:
        self.bed, self.server = bed, server
        for repository in ("app", "api"):
            bed.push(repository, "v1")
        self.project = bed.up(folder, compose_file())
        for name in AFTER:
            server.find(name, running_num_containers=1, stack="shop")
        group = {"stack": "shop", "sequence": "depends_on", "on_failure": policy}
        self.url = server.request("POST", "/api/v1/webhook/group/", group).json["url"]
        bed.push("app", "v2")
        bed.push("api", "v3-broken")
        self._began = time.time()

    def lines(self, answer: Any) -> dict[str, tuple[str, str]]:
        """Return state and reason of the action of each service."""
        actions = {line["service_name"]: self.server.request("GET", line["action"]).json for line in answer["actions"]}
        return {name.removeprefix("shop/"): (each["state"], each["reason"]) for name, each in actions.items()}

    def events(self) -> Iterator[tuple[int, str, str]]:
        """Yield the events of containers since the call: time, service and what happened."""
        with self.bed.connected() as api:
            for event in api.events(self._began, time.time(), filters={"type": "container"}, decode=True):
                yield event["timeNano"], event["Actor"]["Attributes"]["com.docker.compose.service"], event["Action"]

    def check_order(self, *, ran: set[str]) -> None:
        """Check which services were touched, and that nothing of a service was before the end of its predecessors."""
        times: dict[str, list[int]] = {}
        for at, name, action in self.events():
            if not action.startswith("exec_"):
                times.setdefault(name, []).append(at)
        assert times.keys() == ran
        for before, name in EDGES:
            if name in ran:
                assert max(times[before]) < min(times[name]), (before, name)

    def versions(self) -> dict[str, str]:
        names = {
            name: self.bed.docker("ps", "-q", "--filter", f"label=com.docker.compose.service={name}") for name in AFTER
        }
        return {name: version_of(self.bed, container) for name, container in names.items()}


@pytest.mark.parametrize("policy", ["cancel", pytest.param("continue", marks=pytest.mark.nightly)])
def test_a_project_is_redeployed_layer_by_layer(
    clean_bed: DockerBed, server: LiveServer, tmp_path: Path, policy: str
) -> None:
    shop = Shop(clean_bed, server, tmp_path, policy)
    answer = server.request("POST", f"{shop.url}?wait=300")
    assert (answer.status, answer.json["state"]) == (502, "Failed"), answer
    lines = shop.lines(answer.json)
    web_runs = policy == "continue"
    assert {name: state for name, (state, _) in lines.items()} == {
        **dict.fromkeys(GOOD, "Success"),
        "api": "Failed",
        "web": "Success" if web_runs else "Canceled",
    }
    assert web_runs or lines["web"][1] == "shop/api failed"
    shop.check_order(ran={name for name in AFTER if web_runs or name != "web"})
    assert shop.versions() == {**dict.fromkeys(GOOD, "v2"), "api": "v1", "web": "v2" if web_runs else "v1"}
    shop.bed.compose(shop.project, "down")


def test_a_worker_that_is_killed_between_layers_changes_nothing(
    clean_bed: DockerBed, server: LiveServer, tmp_path: Path
) -> None:
    shop = Shop(clean_bed, server, tmp_path, "cancel")
    called = server.request("POST", shop.url)
    by_name = {line["service_name"]: line["action"] for line in called.json["actions"]}
    wait_until(lambda: server.request("GET", by_name["shop/db"]).json["state"] == "Success", "the first layer runs")
    worker = server.worker
    worker.kill()
    psutil.wait_procs([worker])
    for path in by_name.values():
        server.wait_for_action(path)
    states = {name: state for name, (state, _) in shop.lines(called.json).items()}
    assert states == {**dict.fromkeys(GOOD, "Success"), "api": "Failed", "web": "Canceled"}
    shop.bed.compose(shop.project, "down")
