"""Concurrent actions on a real Docker Engine on a container and on one that shares its namespaces."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.contract.docker_support import APP, asked_from, inspected, opened, service, states
from tests.support.docker_bed import DockerBed
from tests.support.runs import FakeRun
from tutumd.engines.docker.engine import DockerEngine
from tutumd.model import Outcome

pytestmark = pytest.mark.slow


def redeploy(engine: DockerEngine, name: str, number: int) -> Outcome:
    """Redeploy a service, in one attempt."""
    return engine.redeploy(service(f"name:{name}"), FakeRun(action_uuid=f"{number:08x}-0000"))


def test_a_container_and_the_one_whose_network_it_shares_are_redeployed_at_once(clean_bed: DockerBed) -> None:
    clean_bed.push("app", "v1")
    clean_bed.docker("run", "-d", "--name", "web", APP)
    clean_bed.docker("run", "-d", "--name", "sidecar", "--network", "container:web", "-e", "PORT=81", APP)
    with opened(clean_bed) as engine, ThreadPoolExecutor(2) as pool:
        for number, pushed in enumerate(["v2", "v3-broken", "v1", "v2"]):
            clean_bed.push("app", pushed)
            both = [pool.submit(redeploy, engine, name, 2 * number + at) for at, name in enumerate(["web", "sidecar"])]
            for redeployed in both:
                outcome = redeployed.result()
                assert outcome.success or (pushed == "v3-broken" and outcome.rolled_back), outcome
            assert states(clean_bed) == {"web": "running", "sidecar": "running"}
            owner = inspected(clean_bed, "web")["Id"]
            assert inspected(clean_bed, "sidecar")["HostConfig"]["NetworkMode"] == f"container:{owner}"
            assert asked_from(clean_bed, "sidecar", "127.0.0.1:8080")
