"""Requests to a Swarm service during a redeploy, of a good image or a broken one: how many fail."""

import pytest

from tests.contract import swarm_support as swarm
from tests.contract.docker_support import APP
from tests.support import poll_program
from tests.support.docker_bed import DockerBed
from tests.support.images import Image
from tests.support.poller import polling
from tests.support.runs import FakeRun
from tutumd.engines.swarm.engine import SwarmEngine

pytestmark = pytest.mark.slow

ENOUGH = 900
SHORT_LIVED = Image(version="short", command=("sh", "-c", "echo up; sleep 0.5; echo 'fatal: cannot go on'; exit 4"))


@pytest.fixture
def bed(clean_bed: DockerBed) -> DockerBed:
    clean_bed.docker("network", "create", "--driver", "overlay", "--attachable", "front")
    return clean_bed


@pytest.mark.parametrize("replicas", [pytest.param(1, marks=pytest.mark.nightly), 3])
@pytest.mark.parametrize(
    ("retries", "allowed_in_900"),
    [
        # How long Swarm names a task that has ended depends on the load of the machine.
        pytest.param(0, 1, id="alone", marks=pytest.mark.nightly),
        pytest.param(5, 0, id="behind a retrying proxy"),
    ],
)
def test_a_redeploy_is_not_noticed_by_a_caller(
    swarm_engine: SwarmEngine, bed: DockerBed, replicas: int, retries: int, allowed_in_900: int
) -> None:
    bed.push("app", "v1")
    swarm.create(bed, "web", APP, "--network", "front", replicas=replicas)
    bed.push("app", "v2")
    with polling(bed, "web", "front", retries=retries) as polled:
        assert swarm_engine.redeploy(swarm.service("web"), FakeRun()).success
    assert polled.versions == ["v1", "v2"]
    assert len(polled.failures) * ENOUGH <= allowed_in_900 * max(polled.requests, ENOUGH), polled.failures


@pytest.mark.parametrize("replicas", [pytest.param(1, marks=pytest.mark.nightly), 2])
@pytest.mark.parametrize("broken", ["v3-broken", "unhealthy", SHORT_LIVED], ids=["exits", "unhealthy", "exits later"])
def test_a_broken_image_leaves_the_old_version_serving(
    swarm_engine: SwarmEngine, bed: DockerBed, broken: str | Image, replicas: int
) -> None:
    bed.push("app", "v1")
    swarm.create(bed, "web", APP, "--network", "front", replicas=replicas)
    bed.push("app", broken)
    with polling(bed, "web", "front", retries=5) as polled:
        outcome = swarm_engine.redeploy(swarm.service("web"), FakeRun())
    assert (outcome.success, outcome.rolled_back) == (False, False)
    assert outcome.reason
    assert outcome.log_tail
    assert polled.versions == ["v1"]
    assert polled.failures == []
    assert polled.slowest_s < poll_program.TIMEOUT_S
    assert outcome.containers_before == outcome.containers_after
