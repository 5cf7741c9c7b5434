"""The whole way on a real engine: registry, compose or Swarm, a handler by CLI, a POST, and what runs then."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.console import Console
from tests.support.docker_bed import ANONYMOUS, DockerBed
from tests.support.server import LiveServer
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

IMAGE = f"{ANONYMOUS}/app"

COMPOSE = f"""
services:
  web:
    image: {IMAGE}
    scale: 2
    networks: [front, back]
    volumes: ["data:/data", /scratch]
networks: {{front: {{}}, back: {{}}}}
volumes: {{data: {{}}}}
"""


def call(server: LiveServer, handler: str, service: str, amount: int | None = None) -> dict[str, Any]:
    """POST to a handler's URL, wait until the action ended, and return it."""
    suffix = "" if amount is None else f"{amount}/"
    answer = server.request(
        "POST", f"/api/v1/service/{service}/webhook/handler/{handler}/call/{suffix}", authorization=None
    )
    assert answer.status == 202, answer
    return server.wait_for_action(answer.json["action"])


def containers(bed: DockerBed, *filters: str) -> dict[str, dict[str, Any]]:
    ids = bed.docker("ps", "-aq", "--no-trunc", *[part for f in filters for part in ("--filter", f)]).split()
    inspected = json.loads(bed.docker("inspect", *ids)) if ids else []
    return {item["Name"].lstrip("/"): item for item in inspected}


def version_of(bed: DockerBed, container: str) -> str:
    return bed.docker("exec", container, "wget", "-qO-", "127.0.0.1:8080").strip()


def test_a_call_redeploys_a_compose_service_and_compose_finds_nothing_to_do(
    clean_bed: DockerBed, server: LiveServer, tmp_path: Path
) -> None:
    bed = clean_bed
    bed.push("app", "v1")
    project = bed.up(tmp_path, COMPOSE)
    web = server.find("web", running_num_containers=2, stack="shop")
    handler = Console(server).hook("create", "-q", "--name", "ci", "web").split()[0]
    before = containers(bed, "label=com.docker.compose.service=web")
    for name in before:
        bed.docker("exec", name, "sh", "-c", f"echo {name} > /scratch/mine; echo shared > /data/{name}")

    bed.push("app", "v2")
    action = call(server, handler, web["uuid"])

    assert action["state"] == "Success", action
    after = containers(bed, "label=com.docker.compose.service=web")
    assert set(after) == set(before)
    for name, item in after.items():
        assert item["Id"] != before[name]["Id"]
        assert item["State"]["Running"]
        assert version_of(bed, name) == "v2"
        assert set(item["NetworkSettings"]["Networks"]) == set(before[name]["NetworkSettings"]["Networks"])
        assert bed.docker("exec", name, "cat", "/scratch/mine", f"/data/{name}").split() == [name, "shared"]
    assert action["image_before"] != action["image_after"]
    assert set(action["container_uris_before"]).isdisjoint(action["container_uris_after"])
    assert len(action["container_uris_after"]) == 2
    server.find("web", containers=action["container_uris_after"])

    bed.compose(project, "up", "-d")
    assert {n: c["Id"] for n, c in containers(bed, "label=com.docker.compose.service=web").items()} == {
        n: c["Id"] for n, c in after.items()
    }

    bed.compose(project, "up", "-d", "--force-recreate")
    again = server.find("web", running_num_containers=2)
    wait_until(lambda: server.find("web")["containers"] != action["container_uris_after"], "new containers show")
    assert again["uuid"] == web["uuid"]
    assert call(server, handler, web["uuid"])["state"] == "Success"
    bed.compose(project, "down", "-v")
