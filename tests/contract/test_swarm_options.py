"""What labels and variables change about a redeploy on a real Swarm."""

import pytest

from tests.contract import swarm_support as swarm
from tests.contract.docker_support import APP
from tests.contract.swarm_support import Sampler
from tests.support.docker_bed import DockerBed
from tests.support.images import Image
from tests.support.runs import FakeRun, late_when
from tutumd.engines.dockerapi.connection import connect
from tutumd.engines.rollout.timing import Timing
from tutumd.engines.swarm.api import SwarmApi
from tutumd.engines.swarm.context import ServiceContext
from tutumd.engines.swarm.engine import SwarmEngine
from tutumd.engines.swarm.redeploy import redeploy

pytestmark = pytest.mark.slow

DEAF = Image(
    version="deaf", command=("sleep", "3600"), healthcheck=("CMD", "sleep", "1000"), labels={"version": "deaf"}
)
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


def test_labels_set_order_timeout_and_cap_and_bad_ones_are_warnings(
    swarm_engine: SwarmEngine, clean_bed: DockerBed
) -> None:
    clean_bed.push("app", "v1")
    labels = ("redeploy.order=stop-first", "redeploy.stable=0.5", "scale.max=3", "scale.min=1")
    swarm.create(clean_bed, "web", APP, *(f"--label=tutum.{label}" for label in labels), replicas=1)
    shown = swarm.snapshot(swarm_engine, "web")
    assert (shown.service_cap, shown.warnings) == (3, ("the label tutum.scale.min is unknown and not used",))
    clean_bed.push("app", "v2")
    with Sampler(lambda: len(swarm.running(clean_bed, "web"))) as sampler:
        run = FakeRun()
        assert swarm_engine.redeploy(swarm.service("web"), run).success
    assert max(sampler.samples) == 1
    assert any("stop-first: the label tutum.redeploy.order asks for it" in line for line in run.lines)
    clean_bed.push("app", HANGING)
    clean_bed.docker("service", "update", "--detach", "--label-add", "tutum.redeploy.timeout=500", "web")
    run = late_when(lambda: swarm.has_written(clean_bed, "serving hanging"), deadline_s=600)
    outcome = swarm_engine.redeploy(swarm.service("web"), run)
    assert (outcome.success, outcome.rolled_back) == (False, True)
    assert "the action did not end within 500 s" in outcome.reason
    assert swarm.running(clean_bed, "web") == ["v2"]


def test_tasks_that_cannot_overlap_are_replaced_one_after_the_other(
    swarm_engine: SwarmEngine, clean_bed: DockerBed
) -> None:
    clean_bed.push("app", "v1")
    swarm.create(clean_bed, "web", APP, "--network", "host", replicas=1)
    swarm.create(clean_bed, "narrow", APP, "--replicas-max-per-node", "1", replicas=1)
    clean_bed.push("app", "v2")
    for name in ("web", "narrow"):
        assert swarm_engine.plan(swarm.service(name), None).order == "stop-first"
        outcome = swarm_engine.redeploy(swarm.service(name), FakeRun())
        assert outcome.success, outcome.reason
        assert swarm.running(clean_bed, name) == ["v2"]


@pytest.mark.nightly
def test_a_rollback_waits_for_the_grace_period_of_containers(clean_bed: DockerBed) -> None:
    clean_bed.push("app", "v1")
    grace = ("--stop-grace-period", "15s", "--label", "tutum.redeploy.order=stop-first")
    swarm.create(clean_bed, "web", APP, *grace, replicas=1)
    clean_bed.push("app", DEAF)
    api = SwarmApi(connect(clean_bed.url, None), str(clean_bed.docker_config))
    timing = Timing(stable_s=1.0, poll_s=0.3, rollback_s=12.0)
    context = ServiceContext(
        api=api, name="web", run=late_when(lambda: "deaf" in swarm.running(clean_bed, "web")), timing=timing
    )
    try:
        outcome = redeploy(context)
    finally:
        api.client.close()
    assert (outcome.success, outcome.rolled_back) == (False, True)
    assert "after the rollback" not in outcome.reason
    assert len(outcome.containers_after) == 1
