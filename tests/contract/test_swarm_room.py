"""Redeploy on a real Swarm whose nodes have no room for a new task beside the old ones."""

import pytest

from tests.contract import swarm_support as swarm
from tests.contract.docker_support import APP
from tests.support.docker_bed import DockerBed
from tests.support.runs import FakeRun
from tutumd.engines.swarm.engine import SwarmEngine

pytestmark = pytest.mark.slow

NO_ROOM = "no node has room for a new task beside the old ones: stopping old ones first"


def create(bed: DockerBed, version: str) -> None:
    """Create a service of one task that takes more than half of the node's memory."""
    bed.push("app", version)
    memory = int(bed.docker("info", "--format", "{{.MemTotal}}"))
    swarm.create(bed, "web", APP, "--reserve-memory", str(memory * 6 // 10), replicas=1)


@pytest.mark.parametrize(
    "checked",
    [
        pytest.param(False, id="tried out beside it", marks=pytest.mark.nightly),
        pytest.param(True, id="with a health check"),
    ],
)
def test_old_tasks_stop_first_where_no_node_has_room_for_one_more(
    swarm_engine: SwarmEngine, clean_bed: DockerBed, checked: bool
) -> None:
    # Of an image with a health check nothing is tried out first.
    create(clean_bed, "healthy" if checked else "v1")
    before = swarm.spec(clean_bed, "web")
    digest = clean_bed.push("app", "v2")
    run = FakeRun()
    outcome = swarm_engine.redeploy(swarm.service("web"), run)
    assert (outcome.success, outcome.image_after) == (True, digest), outcome.reason
    assert NO_ROOM in run.lines
    assert swarm.running(clean_bed, "web") == ["v2"]
    after = swarm.spec(clean_bed, "web")
    assert {**after, "TaskTemplate": before["TaskTemplate"]} == before
    assert "-trial-" not in clean_bed.docker("service", "ls")


def test_an_image_that_fails_where_there_is_no_room_is_undone_long_before_the_deadline(
    swarm_engine: SwarmEngine, clean_bed: DockerBed
) -> None:
    create(clean_bed, "healthy")
    before = swarm.spec(clean_bed, "web")
    clean_bed.push("app", "v3-broken")
    run = FakeRun(deadline_s=3600, stall_s=3600)
    outcome = swarm_engine.redeploy(swarm.service("web"), run)
    assert (outcome.success, outcome.rolled_back) == (False, True)
    assert "exited with 3" in outcome.reason
    assert "fatal: v3-broken cannot start" in outcome.log_tail
    assert run.remaining_s() > 3000
    assert swarm.running(clean_bed, "web") == ["healthy"]
    assert swarm.spec(clean_bed, "web") == before
