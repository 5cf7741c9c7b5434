"""Output of containers on a real Docker Engine, and how few requests a redeploy among many containers takes."""

from pathlib import Path

import pytest

from tests.contract.docker_support import APP, opened, service, snapshots, version
from tests.support.docker_bed import DockerBed
from tests.support.docker_proxy import proxied
from tests.support.runs import FakeRun
from tests.support.waiting import wait_until


def test_logs_of_several_containers_begin_with_their_names(clean_bed: DockerBed) -> None:
    clean_bed.docker("run", "-d", "--name", "one", "app:v1")
    clean_bed.docker("run", "-d", "--name", "a1", "-l", "tutum.service=api", "app:v1")
    clean_bed.docker("run", "-d", "-t", "--name", "b1", "-l", "tutum.service=api", "app:v2")
    clean_bed.docker("run", "-d", "--name", "mute", "--log-driver", "none", "app:v1")
    with opened(clean_bed) as engine:
        assert wait_until(lambda: engine.logs(service("name:one"), 10).text, "it wrote something") == "serving v1"
        wait_until(
            lambda: engine.logs(service("name:api"), 10).text.split("\n") == ["a1 | serving v1", "b1 | serving v2"],
            "both wrote something",
        )
        assert engine.logs(service("name:one"), 0).text == ""
        assert "logging driver does not support reading" in engine.logs(service("name:mute"), 10).text
        assert engine.logs(service("name:absent"), 10).text == ""


# On a host with this many others.
OTHERS = 500
# Most of them look at the service's own old and new container, between two steps or while both run.
MOST_REQUESTS = 100


@pytest.mark.slow
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
