"""The commands of docs/how-to/incident.md, run as they stand there against a server with a Docker Engine."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.console import Console
from tests.acceptance.guide import Guide
from tests.acceptance.test_engines_end_to_end import call, version_of
from tests.support.docker_bed import ANONYMOUS, DockerBed
from tests.support.documentation import commands_of
from tests.support.images import Image
from tests.support.programs import finished
from tests.support.server import LiveServer
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

PAGE = "docs/how-to/incident.md"
FIXED = Image(version="v3", labels={"version": "v3"})
STARTING = Image(version="starting", healthcheck=("CMD", "/bin/sleep", "3600"), labels={"version": "starting"})
"""Its redeploy lasts: the first health check does not end."""


class Incident:
    """A service `web` that ran v1 and runs v2, with a handler, and the guide's commands."""

    def __init__(self, bed: DockerBed, server: LiveServer, folder: Path) -> None:
        self.bed, self.server, self.tutum = bed, server, Console(server)
        self._folder = folder
        bed.push("app", "v1")
        bed.docker("run", "-d", "--name", "web", f"{ANONYMOUS}/app")
        self.uuid = str(server.find("web", running_num_containers=1)["uuid"])
        self.handler = server.make_handler(self.uuid)
        bed.push("app", "v2")
        assert call(server, str(self.handler["uuid"]), self.uuid)["state"] == "Success"
        assert self.version == "v2"

    @property
    def version(self) -> str:
        return version_of(self.bed, "web")

    def commands(self, begins: str) -> Iterator[str]:
        """Run the commands of the guide's block that begins like this, one for each step; yield what each printed."""
        for command in commands_of(Guide(PAGE, self._folder, {}, {}).block(begins)):
            done = finished(["sh", "-euc", command.text], cwd=self._folder, env=self.server.client_environment)
            assert done.returncode == 0, (command.text, done.stdout, done.stderr)
            yield done.stdout + done.stderr

    def call(self, times: int) -> None:
        for _ in range(times):
            assert self.server.post(str(self.handler["url"])).status == 202

    def pending(self) -> list[dict[str, Any]]:
        actions = self.server.request("GET", f"/api/v1/action/?object={self.uuid}").json["objects"]
        return [dict(each) for each in actions if each["state"] == "Pending"]


@pytest.fixture
def incident(clean_bed: DockerBed, tmp_path: Path) -> Iterator[Incident]:
    """On a server of its own, which knows no other `web`."""
    with LiveServer(tmp_path, "--engine", "docker", environment=clean_bed.environment) as server:
        yield Incident(clean_bed, server, tmp_path)


def test_the_commands_of_an_incident(incident: Incident) -> None:
    steps = incident.commands("tutum service images")
    images = next(steps)
    assert len(images.splitlines()) == 1 + 2, images
    assert "Success" in next(steps)
    assert incident.version == "v1"
    assert incident.server.service(incident.uuid)["hold_reason"] == "incident 42"
    incident.bed.push("app", FIXED)
    incident.call(5)
    next(steps)
    [held] = incident.pending()
    assert held["held_until"] == incident.server.service(incident.uuid)["held_until"] is not None
    assert incident.version == "v1"
    assert "Success" in next(steps)
    assert (incident.version, incident.pending()) == ("v3", [])
    next(steps)
    assert incident.server.service(incident.uuid)["is_held"] is False
    assert incident.pending() == []
    assert list(steps) == []


def test_the_freeze_windows_of_the_guide(clean_bed: DockerBed, tmp_path: Path) -> None:
    clean_bed.push("app", "v1")
    clean_bed.up(tmp_path, f"services: {{web: {{image: '{ANONYMOUS}/app', stop_grace_period: 0s}}}}\n")
    with LiveServer(tmp_path, "--engine", "docker", environment=clean_bed.environment) as server:
        server.find("web", running_num_containers=1)
        told = Guide(PAGE, tmp_path, server.client_environment, {}).run("tutum freeze add")
        windows = server.request("GET", "/api/v1/freeze/").json["objects"]
    assert {each["reason"] for each in windows} == {"weekend", "holidays"}
    assert all(text in told for each in windows for text in (each["uuid"], each["from"], each["to"], each["reason"]))


def test_after_a_hold_one_redeploy_follows_the_calls_and_the_name_of_the_image(incident: Incident) -> None:
    incident.tutum("service", "rollback", "web", "--wait")
    assert incident.version == "v1"
    incident.bed.push("app", FIXED)
    incident.call(5)
    [held] = incident.pending()
    incident.tutum("service", "resume", "web")
    assert incident.server.wait_for_action(held["resource_uri"])["deliveries"] == 5
    assert (incident.version, incident.pending()) == ("v3", [])
    assert incident.bed.inspect("container", "web")["Config"]["Image"] == f"{ANONYMOUS}/app"  # type: ignore[index]


def test_rollbacks_in_a_row_go_back_until_there_is_no_older_version(incident: Incident) -> None:
    incident.bed.push("app", FIXED)
    assert call(incident.server, str(incident.handler["uuid"]), incident.uuid)["state"] == "Success"
    assert incident.version == "v3"
    for version in ("v2", "v1"):
        incident.tutum("service", "rollback", "web", "--wait")
        assert incident.version == version
    assert "there is no older version" in incident.tutum("service", "rollback", "web", code=3)
    assert len(json.loads(incident.tutum("service", "images", "web", "--json"))) == 5


def test_a_rollback_undoes_a_running_redeploy_first(incident: Incident) -> None:
    incident.bed.push("app", STARTING)
    called = incident.server.post(str(incident.handler["url"])).json
    action = str(called["action"])
    wait_until(lambda: incident.bed.docker("ps", "-q", "--filter", "label=version=starting"), "the new container runs")
    incident.tutum("service", "rollback", "web", "--wait")
    assert incident.version == "v1"
    ended = incident.server.request("GET", called["status_url"], authorization=None).json
    assert ended["state"] == incident.server.request("GET", action).json["state"] == "Canceled"
    assert incident.server.service(incident.uuid)["is_held"] is True
    assert len(json.loads(incident.tutum("service", "images", "web", "--json"))) == 3


def test_an_alert_that_repeats_goes_back_once(incident: Incident) -> None:
    [printed] = incident.commands("tutum webhook-handler create web -n alert")
    [url] = re.findall(r"/api/v1/service/\S+/call/", printed)

    def alert(status: str) -> tuple[int, str]:
        answer = incident.server.post(f"{url}?wait=120", json.dumps({"status": status}).encode())
        return answer.status, answer.json["state"]

    assert alert("resolved") == (200, "Skipped")
    assert (incident.version, alert("firing"), incident.version) == ("v2", (200, "Success"), "v1")
    assert alert("firing") == (200, "Skipped")
    incident.tutum("service", "resume", "web")
    assert incident.server.post(url, b'{"status": "firing"}').status == 409
    assert incident.version == "v1"
