"""Two installations of tutumd, each with a database of its own, on one Docker Engine."""

import random
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.acceptance.test_doctor import doctor
from tests.acceptance.test_engines_end_to_end import containers, version_of
from tests.support.docker_bed import ANONYMOUS, DockerBed
from tests.support.server import LiveServer

IMAGE = f"{ANONYMOUS}/app"
COMPOSE = f"services: {{api: {{image: '{IMAGE}', scale: 2, stop_grace_period: 0s}}}}\n"
# Found by its name in a network of its own: start-first. In the default bridge: stop-first. Two replicas.
SERVICES = ("named", "plain", "api")
MOST_S = 400


@contextmanager
def two_servers(bed: DockerBed, folder: Path) -> Iterator[list[LiveServer]]:
    folders = [folder / name for name in ("production", "staging")]
    with ExitStack() as stack:
        for each in folders:
            each.mkdir()
        yield [
            stack.enter_context(LiveServer(each, "--engine", "docker", environment=bed.environment)) for each in folders
        ]


def make_services(bed: DockerBed, folder: Path) -> None:
    bed.push("app", "v1")
    bed.docker("network", "create", "front")
    bed.docker("run", "-d", "--name", "named", "--network", "front", "--stop-timeout", "0", IMAGE)
    bed.docker("run", "-d", "--name", "plain", "--restart", "always", IMAGE)
    bed.up(folder, COMPOSE)


def doctor_of(server: LiveServer, bed: DockerBed) -> list[dict[str, str]]:
    return doctor(server.data, engine="docker", **bed.environment)[1]


def play_round(bed: DockerBed, servers: list[LiveServer], pick: random.Random, version: str) -> None:
    """Let both redeploy all services at once, and check that each did and that nothing is left."""
    bed.push("app", version)
    actions = []
    for server in pick.sample(servers, len(servers)):
        for name in SERVICES:
            uuid = server.find(name)["uuid"]
            answer = server.request("POST", f"/api/v1/service/{uuid}/redeploy/")
            assert answer.status == 202, answer
            actions.append((server, answer))
        time.sleep(pick.choice([0, 0, 0.3, 2]))
    for server, answer in actions:
        ended = server.wait_for_action(answer.headers["x-tutum-action-uri"], MOST_S)
        assert ended["state"] == "Success", ended
    shown = containers(bed)
    assert set(shown) == {"named", "plain", "shop-api-1", "shop-api-2"}, shown.keys()
    assert {version_of(bed, name) for name in shown} == {version}


@pytest.mark.slow
def test_two_installations_take_turns_at_the_services_of_one_engine(clean_bed: DockerBed, tmp_path: Path) -> None:
    make_services(clean_bed, tmp_path)
    with two_servers(clean_bed, tmp_path) as servers:
        play_round(clean_bed, servers, random.Random(1), "v2")
        # Each container was created by the one that came last.
        found = [each for server in servers for each in doctor_of(server, clean_bed)]
        assert "warning" in {each["level"] for each in found if "another tutumd installation redeploys" in each["text"]}
