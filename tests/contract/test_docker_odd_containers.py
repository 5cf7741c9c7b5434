"""Containers that are odd, on a real Docker Engine: they hide no other, and hinder the redeploy of no other."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.contract.docker_support import APP, inspected, opened, service, snapshots, states, version
from tests.support.docker_bed import DockerBed
from tests.support.docker_proxy import proxied
from tests.support.runs import FakeRun
from tutumd.errors import EngineRefusedError

pytestmark = pytest.mark.slow

# On a host with this many others.
OTHERS = 500
# Most of them look at the service's own old and new container, between two steps or while both run.
MOST_REQUESTS = 100


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (500, b'{"message": "RWLayer of container is unexpectedly nil"}', "unexpectedly nil"),
        (400, b'{"message": "no"}', "no"),
        (200, b"<html>", "not JSON"),
        (200, b"[]", "makes no sense"),
        (200, b'{"Name": "/odd"}', "makes no sense"),
        (200, b"", "RemoteDisconnected|closed connection"),
    ],
)
def test_a_container_that_cannot_be_inspected_hides_no_other(
    clean_bed: DockerBed, tmp_path: Path, status: int, body: bytes, reason: str
) -> None:
    clean_bed.push("app", "v1")
    for name in ("web", "odd"):
        clean_bed.docker("run", "-d", "--name", name, "--label", "tutum.owner=ann", APP)
    odd = inspected(clean_bed, "odd")["Id"]
    clean_bed.push("app", "v2")
    with (
        proxied(tmp_path, clean_bed.url, lambda path: (status, body) if odd in path else None) as proxy,
        opened(clean_bed, url=proxy.url) as engine,
    ):
        found = snapshots(engine)
        assert {selector: one.owner for selector, one in found.items()} == {"name:web": "ann", "name:odd": "ann"}
        assert found["name:web"].warnings == ()
        assert found["name:odd"].running == 1
        with pytest.raises(EngineRefusedError, match=rf"container odd cannot be inspected.*{reason}") as refused:
            engine.redeploy(service("name:odd"), FakeRun())
        assert found["name:odd"].warnings[0].startswith("the container odd cannot be inspected: cannot look at")
        assert "remove it" in str(refused.value)
        assert engine.plan(service("name:odd"), None).refused == str(refused.value)
        assert engine.redeploy(service("name:web"), FakeRun()).success
    assert version(clean_bed, "web") == "v2"
    assert inspected(clean_bed, "odd")["Id"] == odd


def test_a_container_that_is_gone_before_it_is_inspected_is_no_service(clean_bed: DockerBed, tmp_path: Path) -> None:
    clean_bed.docker("run", "-d", "--name", "web", "app:v1")
    gone = clean_bed.docker("run", "-d", "--name", "gone", "app:v1")
    missing = (404, b'{"message": "No such container"}')
    with (
        proxied(tmp_path, clean_bed.url, lambda path: missing if gone in path else None) as proxy,
        opened(clean_bed, url=proxy.url) as engine,
    ):
        assert set(snapshots(engine)) == {"name:web"}
        assert engine.redeploy(service("name:web"), FakeRun()).success


@pytest.mark.parametrize("how", [("rm", "--force"), ("stop", "--time", "0")], ids=["gone", "stopped"])
def test_a_container_whose_network_belongs_to_one_that_does_not_run_is_left_running(
    clean_bed: DockerBed, how: Sequence[str]
) -> None:
    clean_bed.docker("run", "-d", "--name", "owner", "app:v1")
    old = clean_bed.docker("run", "-d", "--name", "web", "--network", "container:owner", "-e", "PORT=81", "app:v1")
    clean_bed.docker(*how, "owner")
    refused = pytest.raises(EngineRefusedError, match=r"web shares the network namespace of .*, which does not run")
    with opened(clean_bed) as engine, refused:
        engine.redeploy(service("name:web"), FakeRun())
    assert states(clean_bed)["web"] == "running"
    assert inspected(clean_bed, "web")["Id"] == old


def test_a_redeploy_asks_little_on_a_host_with_many_containers(clean_bed: DockerBed, tmp_path: Path) -> None:
    clean_bed.push("app", "v1")
    clean_bed.docker("network", "create", "front")
    clean_bed.docker("run", "-d", "--name", "web", "--network", "front", APP)
    clean_bed.push("app", "v2")
    with proxied(tmp_path, clean_bed.url, others=OTHERS) as proxy, opened(clean_bed, url=proxy.url) as engine:
        assert len(snapshots(engine)) == OTHERS + 1
        del proxy.requests[:]
        assert engine.redeploy(service("name:web"), FakeRun()).success
        asked = [f"{method} {path}" for method, path in proxy.requests]
    assert version(clean_bed, "web") == "v2"
    assert not [path for path in asked if any(other in path for other in proxy.others)]
    assert len(asked) <= MOST_REQUESTS, "\n".join(asked)
