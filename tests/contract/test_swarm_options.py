"""What labels and variables change about a redeploy on a real Swarm."""

import pytest

from tests.contract import swarm_support as swarm
from tests.contract.docker_support import APP
from tests.support.docker_bed import DockerBed
from tests.support.images import Image
from tests.support.runs import FakeRun, late_when
from tutumd.engines.swarm.engine import SwarmEngine

pytestmark = pytest.mark.slow

"""Is never healthy, and ignores SIGTERM."""
HANGING = Image(version="hanging", healthcheck=("CMD", "sleep", "1000"))


def test_variables_are_set_and_put_back_where_the_redeploy_fails(
    swarm_engine: SwarmEngine, clean_bed: DockerBed
) -> None:
    clean_bed.push("app", "healthy")  # nothing is tried out before the update
    swarm.create(clean_bed, "web", APP, "--env", "KEPT=1", "--env", "GONE=1", "--rollback-monitor", "1s", replicas=1)
    assert swarm_engine.redeploy(swarm.service("web"), FakeRun(variables={"BODY": "1", "GONE": None})).success
    assert list(swarm.spec(clean_bed, "web")["TaskTemplate"]["ContainerSpec"]["Env"]) == ["KEPT=1", "BODY=1"]
    before = swarm.spec(clean_bed, "web")
    clean_bed.push("app", HANGING)
    run = late_when(lambda: swarm.has_written(clean_bed, "serving hanging"), variables={"BODY": "2", "KEPT": None})
    late = swarm_engine.redeploy(swarm.service("web"), run)
    assert (late.success, late.rolled_back) == (False, True)
    assert swarm.spec(clean_bed, "web")["TaskTemplate"] == before["TaskTemplate"]
    clean_bed.push("app", "v3-broken")
    assert swarm_engine.redeploy(swarm.service("web"), FakeRun(variables={"BODY": "2", "KEPT": None})).rolled_back
    assert swarm.spec(clean_bed, "web")["TaskTemplate"] == before["TaskTemplate"]
