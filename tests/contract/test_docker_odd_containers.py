"""A redeploy on a real Docker Engine with many containers: how little it asks for."""

from pathlib import Path

import pytest

from tests.contract.docker_support import APP, opened, service, snapshots, version
from tests.support.docker_bed import DockerBed
from tests.support.docker_proxy import proxied
from tests.support.runs import FakeRun

pytestmark = pytest.mark.slow

# On a host with this many others.
OTHERS = 500
# Most of them look at the service's own old and new container, between two steps or while both run.
MOST_REQUESTS = 100


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
