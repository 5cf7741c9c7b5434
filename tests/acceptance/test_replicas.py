"""Two web replicas and two workers on PostgreSQL behind nginx: one of each may die or be restarted at any time."""

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.faults.processes import Program
from tests.support import nginx_bed
from tests.support.docker_bed import ANONYMOUS, DockerBed
from tests.support.postgres_bed import PostgresBed
from tests.support.server import APIKEY, BIN, USER, free_port, request
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.nginx, pytest.mark.slow]

IMAGE = f"{ANONYMOUS}/app"
CALL_TIMEOUT_S = 60  # of nginx, in place of 5 s: a busy machine is no replica that is gone


@dataclass
class Cluster:
    """Programs by name, and the port of nginx."""

    folder: Path
    port: int
    programs: dict[str, Program]

    def request(self, method: str, path: str, body: object = None) -> tuple[int, Mapping[str, str], Any]:
        return send(self.port, method, path, body)


def send(port: int, method: str, path: str, body: object = None) -> tuple[int, Mapping[str, str], Any]:
    answer = request(port, method, path, headers={"Authorization": f"ApiKey {USER}:{APIKEY}"}, body=body, limit_s=150)
    return answer.status, answer.headers, answer.json if answer.body else None


@pytest.fixture
def cluster(clean_bed: DockerBed, postgres_bed: PostgresBed, tmp_path: Path) -> Iterator[Cluster]:
    port, *webs = free_port(), free_port(), free_port()
    environment = {k: v for k, v in clean_bed.environment.items() if not k.startswith("TUTUM")} | {
        "TUTUMD_DATABASE": postgres_bed.new_database(),
        "TUTUMD_ADMIN_USER": USER,
        "TUTUMD_ADMIN_APIKEY": APIKEY,
        "TUTUMD_TRUSTED_PROXIES": "127.0.0.1",
    }
    tutumd = str(BIN / "tutumd")
    commands = {
        "nginx": (nginx_bed.command(tmp_path, port, webs, None, CALL_TIMEOUT_S), port),
        **{f"web{n}": ([tutumd, "web", "--port", str(web)], web) for n, web in enumerate(webs, 1)},
        **{f"worker{n}": ([tutumd, "worker", "--engine", "docker"], 0) for n in (1, 2)},
    }
    programs = {name: Program(name, command, tmp_path, environment, at) for name, (command, at) in commands.items()}
    running = Cluster(folder=tmp_path, port=port, programs=programs)
    try:
        for program in programs.values():
            program.start()
        for web in webs:
            wait_until(lambda web=web: answers(web), "the replica is ready", timeout_s=120)  # type: ignore[misc] # early binding
        wait_until(lambda: running.request("GET", "/readyz")[2]["status"] == "ready", "a worker works", timeout_s=120)
        yield running
    finally:
        for program in programs.values():
            if program.runs:
                program.stop()


def answers(port: int) -> bool:
    try:
        return send(port, "GET", "/readyz")[0] == 200
    except OSError:
        return False


def make_handler(cluster: Cluster, name: str, operation: str) -> tuple[str, str]:
    found = wait_until(
        lambda: cluster.request("GET", f"/api/v1/service/?name={name}&state=Running")[2]["objects"],
        "the service shows",
        timeout_s=120,
    )
    uri = found[0]["resource_uri"]
    status, _, handler = cluster.request("POST", f"{uri}webhook/handler/", {"operation": operation})
    assert status == 201
    return uri, handler["url"]


class Caller(threading.Thread):
    """Calls one URL after the other until it is told to stop, and keeps what was answered."""

    def __init__(self, cluster: Cluster, url: str) -> None:
        super().__init__()
        self.answers: list[tuple[int, Mapping[str, str], Any]] = []
        self._cluster = cluster
        self._url = url
        self._stop_calling = threading.Event()

    def run(self) -> None:
        while not self._stop_calling.wait(0.005):
            self.answers.append(self._cluster.request("POST", self._url))

    def stop(self) -> None:
        self._stop_calling.set()
        self.join(200)
        assert not self.is_alive()

    @property
    def statuses(self) -> set[int]:
        return {status for status, _, _ in self.answers}


def log_of(cluster: Cluster, name: str) -> str:
    return (cluster.folder / f"{name}.log").read_text()


def find_run(cluster: Cluster) -> tuple[str, str] | None:
    """Find an action in progress and the worker that is at it."""
    for action in cluster.request("GET", "/api/v1/action/?state=In%20progress")[2]["objects"]:
        for name in ("worker1", "worker2"):
            if f"action began action={action['uuid']}" in log_of(cluster, name):
                return action["uuid"], name
    return None


def stop_during_run(cluster: Cluster) -> tuple[str, str] | None:
    """Stop (SIGSTOP) a worker that is at an action, as `find_run` finds it; None if the action ended before."""
    found = find_run(cluster)
    if found is None:
        return None
    uuid, name = found
    cluster.programs[name].pause()
    if cluster.request("GET", f"/api/v1/action/{uuid}/")[2]["state"] == "In progress":
        return found
    cluster.programs[name].resume()
    return None


@pytest.mark.nightly
def test_one_of_each_may_be_killed_and_calls_are_taken_over(cluster: Cluster, clean_bed: DockerBed) -> None:
    clean_bed.push("app", "v1")
    clean_bed.docker("run", "-d", "--name", "api", "--label", "tutum.service=api", IMAGE)
    _, url = make_handler(cluster, "api", "REDEPLOY")
    caller = Caller(cluster, url)
    caller.start()
    uuid, busy = wait_until(lambda: stop_during_run(cluster), "a worker is at work", timeout_s=120)
    cluster.programs[busy].kill()
    cluster.programs["web1"].kill()
    caller.stop()
    assert caller.statuses <= {202, 503}
    assert all("retry-after" in headers for status, headers, _ in caller.answers if status == 503)
    other = "worker2" if busy == "worker1" else "worker1"
    wait_until(lambda: uuid in log_of(cluster, other), "it is taken over", timeout_s=120)
    accepted = {body["action"] for status, _, body in caller.answers if status == 202}
    for action in accepted | {f"/api/v1/action/{uuid}/"}:
        wait_until(lambda a=action: cluster.request("GET", a)[2]["end_date"], f"{action} ends", timeout_s=240)  # type: ignore[misc] # early binding
        assert cluster.request("GET", action)[2]["state"] == "Success"
    assert clean_bed.docker("ps", "-a", "--format", "{{.Names}} {{.State}}").split() == ["api", "running"]
