"""The commands of docs/how-to/several-services.md, run as they stand there against a server with a Docker Engine."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.console import Console
from tests.acceptance.guide import Guide
from tests.acceptance.test_engines_end_to_end import version_of
from tests.support.docker_bed import ANONYMOUS, DockerBed
from tests.support.server import LiveServer

pytestmark = pytest.mark.slow

PAGE = "docs/how-to/several-services.md"
COMPOSE = """
services:
  web: {image: 'IMAGE-web', stop_grace_period: 0s, depends_on: [api]}
  api: {image: 'IMAGE-api', stop_grace_period: 0s, depends_on: [db]}
  db: {image: 'IMAGE-db', stop_grace_period: 0s}
""".replace("IMAGE", f"{ANONYMOUS}/shop")
NAMES = ("db", "api", "web")


class Shop:
    """A Compose project of three services that depend on each other, and the guide's commands."""

    def __init__(self, bed: DockerBed, server: LiveServer, folder: Path) -> None:
        self.bed, self.server, self.tutum = bed, server, Console(server)
        self.push("v1", *NAMES)
        bed.up(folder, COMPOSE)
        for name in NAMES:
            server.find(name, stack="shop", running_num_containers=1)
        self.guide = Guide(PAGE, folder, server.client_environment, {})

    def push(self, version: str, *names: str) -> None:
        for name in names:
            self.bed.push(f"shop-{name}", version)

    @property
    def versions(self) -> list[str]:
        return [version_of(self.bed, f"shop-{name}-1") for name in NAMES]

    def groups(self) -> list[dict[str, Any]]:
        return list(json.loads(self.tutum("webhook-group", "list", "--json")))


@pytest.fixture
def shop(clean_bed: DockerBed, server: LiveServer, tmp_path: Path) -> Iterator[Shop]:
    made = Shop(clean_bed, server, tmp_path)
    yield made
    made.tutum("webhook-group", "rm", *(group["uuid"] for group in made.groups()))


def test_a_project_is_redeployed_in_its_order(shop: Shop) -> None:
    shop.push("v2", *NAMES)
    printed = shop.guide.run("tutum webhook-group create --name shop")
    assert shop.versions == ["v2", "v2", "v2"]
    (call,) = shop.server.request("GET", "/api/v1/webhook/groupcall/").json["objects"]
    assert (call["state"], len(call["actions"])) == ("Success", 3)
    url = re.findall(r"http\S+/call/", printed)[0]
    shop.push("v3-broken", "db")
    told = shop.guide.run("curl -sS", code=22, TUTUM_URL=url)
    body = json.loads(told.splitlines()[0])
    page = (Path(__file__).parents[2] / PAGE).read_text()
    shown = json.loads(page.partition("```json\n")[2].partition("```")[0])
    assert body["state"] == shown["state"]
    assert [
        {key: line[key] for key in of_page} for line, of_page in zip(body["actions"], shown["actions"], strict=True)
    ]
    assert [(line["service_name"], line["state"]) for line in body["actions"]] == [
        (line["service_name"], line["state"]) for line in shown["actions"]
    ]
    assert [line["reason"] for line in body["actions"]][1:] == [line["reason"] for line in shown["actions"]][1:]
    assert shop.versions == ["v2", "v2", "v2"]


def test_groups_of_images(shop: Shop) -> None:
    shop.guide.run("tutum webhook-group create --name hub")
    shop.guide.run("tutum webhook-group create --name releases")
    assert [group["match"] for group in shop.groups()] == [{"image": "*"}, {"image": "ghcr.io/me/*"}]
    assert shop.groups()[1]["tag"]["allow"] == ["v*"]
