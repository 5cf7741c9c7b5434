"""The dashboard of `tutumd web` while no worker runs: it says so, and what is asked for waits for one."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.faults.processes import TUTUMD, Program, environment
from tests.support.pages import Page, Visitor
from tests.support.postgres_bed import PostgresBed
from tests.support.server import APIKEY, USER, free_port, request
from tests.support.waiting import wait_until

NO_WORKER = "No worker serves it: its actions wait until one does."
WAITS = "waiting: no worker serves engine 'local' now; it begins when one does"


@dataclass(frozen=True, slots=True, kw_only=True)
class Halves:
    """A web server and a worker of their own."""

    web: Program
    worker: Program

    def request(self, method: str, path: str, body: object = None) -> Any:
        headers = {"Authorization": f"ApiKey {USER}:{APIKEY}"}
        answer = request(self.web.port, method, path, headers=headers, body=body)
        assert answer.status < 300, answer
        return answer.json

    def state(self) -> str:
        """Return what `/readyz` says; empty while the web server does not answer."""
        with suppress(OSError):
            return str(request(self.web.port, "GET", "/readyz", headers={}).json["status"])
        return ""

    def wait(self, state: str) -> None:
        wait_until(lambda: self.state() == state, f"it is {state}: {self.web.tail()}")

    def run_service(self) -> str:
        """Create a service that runs, and return its path in the API."""
        document = {"name": "alone", "image": "any", "run_command": "sleep 600"}
        service = str(self.request("POST", "/api/v1/service/", document)["resource_uri"])
        self.request("POST", f"{service}start/")
        self.wait_for(service, "Running")
        return service

    def wait_for(self, path: str, state: str) -> None:
        wait_until(lambda: self.request("GET", path)["state"] == state, f"{path} is {state}")


@pytest.fixture(params=["sqlite", "postgresql"])
def halves(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Halves]:
    variables = environment() | {"TUTUMD_DATA_DIR": str(tmp_path / "data")}
    if request.param == "postgresql":
        bed: PostgresBed = request.getfixturevalue("postgres_bed")
        variables["TUTUMD_DATABASE"] = bed.new_database()
    port = free_port()
    web = Program("web", [*TUTUMD, "web", "--port", str(port)], tmp_path, variables, port)
    worker = Program("worker", [*TUTUMD, "worker", "--engine", "local"], tmp_path, variables)
    web.start()
    try:
        yield Halves(web=web, worker=worker)
    finally:
        for program in (worker, web):
            if program.runs:
                program.stop()


def see(visitor: Visitor, path: str, text: str) -> Page:
    """Load a page until it has a text."""
    return wait_until(lambda: page if text in (page := visitor.get(path)).text else None, f"{path} says {text!r}")


@pytest.mark.slow
def test_what_is_asked_for_waits_for_a_worker(halves: Halves) -> None:
    halves.wait("degraded")
    visitor = Visitor(f"http://127.0.0.1:{halves.web.port}")
    visitor.sign_in(USER, APIKEY)
    assert "tutumd worker" in visitor.get("/").text, "an installation that never had one says how to start it"
    halves.worker.start()
    halves.wait("ready")
    service = halves.run_service()
    url = halves.request("POST", f"{service}webhook/handler/", {"name": "hook"})["url"]
    halves.worker.stop()
    see(visitor, "/", NO_WORKER)
    page = visitor.get(f"{service.removeprefix('/api/v1')}redeploy/")
    assert f"There is no plan: Engine local: {NO_WORKER}" in page.text
    action = page.submit("Redeploy now")
    assert WAITS in action.text
    assert WAITS in visitor.get("/").text
    joined = request(halves.web.port, "POST", url[url.index("/api/") :], headers={})
    assert (joined.status, joined.json["action"]) == (202, f"/api/v1{action.path}")
    halves.worker.start()
    halves.wait_for(f"/api/v1{action.path}", "Success")
    assert WAITS not in visitor.get(action.path).text
    assert NO_WORKER not in visitor.get("/").text
    halves.request("DELETE", service)
    wait_until(lambda: not halves.request("GET", "/api/v1/service/")["objects"], "it is terminated")
