"""What a redeploy on a real Swarm makes of what was asked for: labels, a tag, variables, or only a plan."""

from collections.abc import Iterator

import pytest

from tests.contract import swarm_support as swarm
from tests.contract.swarm_support import APP, Watched
from tests.support.docker_bed import DockerBed
from tests.support.images import Image
from tests.support.runs import FakeRun
from tests.support.waiting import wait_until
from tutumd.engines.dockerapi import connect
from tutumd.engines.rollout.timing import Timing
from tutumd.engines.swarm import SwarmEngine
from tutumd.engines.swarm.api import SwarmApi
from tutumd.engines.swarm.context import ServiceContext
from tutumd.engines.swarm.redeploy import redeploy
from tutumd.errors import EngineRefusedError

DEAF = Image(version="deaf", command=("sleep", "3600"), healthcheck=("CMD", "sleep", "1000"))
"""Is never healthy, and does not obey when it is told to stop."""
HANGING = Image(version="hanging", healthcheck=("CMD", "sleep", "1000"))


@pytest.fixture
def engine(clean_bed: DockerBed) -> Iterator[SwarmEngine]:
    with swarm.opened(clean_bed) as opened:
        yield opened


def env(bed: DockerBed) -> list[str]:
    return list(swarm.spec(bed, "web")["TaskTemplate"]["ContainerSpec"].get("Env", []))


def test_a_plan_tells_the_digest_and_touches_nothing(engine: SwarmEngine, clean_bed: DockerBed) -> None:
    old = clean_bed.push("app", "v1")
    swarm.create(clean_bed, "web", APP)
    new = clean_bed.push("app", "v2")
    before = clean_bed.inspect("service", "web")
    plan = engine.plan(swarm.service("web"), None)
    assert (plan.refused, plan.order, plan.image_name) == ("", "start-first", f"{APP}:latest")
    assert (plan.image_before, plan.image_after) == (old, new)
    assert plan.steps[1].startswith(f"update the service to {APP}:latest@{new}, 1 task at a time")
    refused = engine.plan(swarm.service("web"), "nope")
    assert "cannot find out which image" in refused.refused
    assert refused.image_before == old
    assert engine.plan(swarm.service("gone"), None).refused == "the service gone is gone from the swarm"
    assert clean_bed.inspect("service", "web") == before


def test_a_tag_changes_the_tag_and_never_the_repository(engine: SwarmEngine, clean_bed: DockerBed) -> None:
    clean_bed.push("app", "v1")
    swarm.create(clean_bed, "web", APP, replicas=1)
    digest = clean_bed.push("app", "v2", tag="2.0")
    outcome = engine.redeploy(swarm.service("web"), FakeRun(tag="2.0"))
    assert (outcome.success, outcome.image_after) == (True, digest)
    assert swarm.image(clean_bed, "web") == f"{APP}:2.0@{digest}"
    assert swarm.running(clean_bed, "web") == ["v2"]
    with pytest.raises(EngineRefusedError, match="app:3"):
        engine.redeploy(swarm.service("web"), FakeRun(tag="3.0"))
    assert swarm.image(clean_bed, "web") == f"{APP}:2.0@{digest}"


def test_variables_are_set_and_put_back_where_the_redeploy_fails(engine: SwarmEngine, clean_bed: DockerBed) -> None:
    clean_bed.push("app", "v1")
    swarm.create(clean_bed, "web", APP, "--env", "KEPT=1", "--env", "GONE=1", "--rollback-monitor", "1s", replicas=1)
    asked = {"BODY": '{"a": "b=c"}\n', "GONE": None}
    assert engine.redeploy(swarm.service("web"), FakeRun(variables=asked)).success
    assert env(clean_bed) == ["KEPT=1", 'BODY={"a": "b=c"}\n']
    before = swarm.spec(clean_bed, "web")
    clean_bed.push("app", HANGING)
    late = engine.redeploy(swarm.service("web"), FakeRun(variables={"BODY": "2", "KEPT": None}, deadline_s=3))
    assert (late.success, late.rolled_back) == (False, True)
    assert swarm.spec(clean_bed, "web")["TaskTemplate"] == before["TaskTemplate"]
    clean_bed.push("app", "v3-broken")
    assert engine.redeploy(swarm.service("web"), FakeRun(variables={"BODY": "2", "KEPT": None})).rolled_back
    assert swarm.spec(clean_bed, "web")["TaskTemplate"] == before["TaskTemplate"]


def test_labels_set_order_timeout_and_cap_and_bad_ones_are_warnings(engine: SwarmEngine, clean_bed: DockerBed) -> None:
    clean_bed.push("app", "v1")
    labels = ("redeploy.order=stop-first", "redeploy.stable=0.5", "scale.max=3", "scale.min=1")
    swarm.create(clean_bed, "web", APP, *(f"--label=tutum.{label}" for label in labels), replicas=1)
    shown = swarm.snapshot(engine, "web")
    assert (shown.service_cap, shown.warnings) == (3, ("the label tutum.scale.min is unknown and not used",))
    clean_bed.push("app", "v2")
    with Watched(lambda: len(swarm.running(clean_bed, "web"))) as watched:
        run = FakeRun()
        assert engine.redeploy(swarm.service("web"), run).success
    assert max(watched.seen) == 1
    assert any("stop-first: the label tutum.redeploy.order asks for it" in line for line in run.lines)
    clean_bed.push("app", HANGING)
    clean_bed.docker("service", "update", "--detach", "--label-add", "tutum.redeploy.timeout=3", "web")
    run = FakeRun(deadline_s=600)
    outcome = engine.redeploy(swarm.service("web"), run)
    assert (outcome.success, outcome.rolled_back) == (False, True)
    assert "did not end before the deadline" in outcome.reason
    assert swarm.running(clean_bed, "web") == ["v2"]


def test_tasks_that_cannot_overlap_are_replaced_one_after_the_other(engine: SwarmEngine, clean_bed: DockerBed) -> None:
    clean_bed.push("app", "v1")
    swarm.create(clean_bed, "web", APP, "--network", "host", replicas=1)
    swarm.create(clean_bed, "narrow", APP, "--replicas-max-per-node", "1", replicas=1)
    clean_bed.push("app", "v2")
    for name in ("web", "narrow"):
        assert engine.plan(swarm.service(name), None).order == "stop-first"
        outcome = engine.redeploy(swarm.service(name), FakeRun(deadline_s=30))
        assert outcome.success, outcome.reason
        assert swarm.running(clean_bed, name) == ["v2"]


def test_an_unchanged_image_is_left_alone_where_a_label_asks_for_it(engine: SwarmEngine, clean_bed: DockerBed) -> None:
    digest = clean_bed.push("app", "v1")
    swarm.create(clean_bed, "web", APP, "--label", "tutum.redeploy.skip-unchanged=true", replicas=1)
    before = clean_bed.inspect("service", "web")
    outcome = engine.redeploy(swarm.service("web"), FakeRun())
    assert (outcome.success, outcome.image_before, outcome.image_after) == (True, digest, digest)
    assert outcome.containers_before == outcome.containers_after
    assert outcome.reason.startswith("nothing was done")
    assert clean_bed.inspect("service", "web") == before
    clean_bed.push("app", "v2")
    assert engine.redeploy(swarm.service("web"), FakeRun()).success
    assert swarm.running(clean_bed, "web") == ["v2"]


def test_a_job_runs_once_more_and_is_done_when_it_has_ended(engine: SwarmEngine, clean_bed: DockerBed) -> None:
    job = Image(version="one", command=("sh", "-c", "sleep 0.5; echo done"), labels={"version": "one"})
    clean_bed.push("job", job)
    image = APP.replace("/app", "/job")
    options = ("--mode", "replicated-job", "--replicas", "3", "--max-concurrent", "2")
    swarm.create(clean_bed, "job", image, *options, replicas=None)
    wait_until(lambda: "3/3 completed" in clean_bed.docker("service", "ls"), "the job has ended")
    digest = clean_bed.push("job", Image(version="two", command=("sh", "-c", "sleep 0.5; echo again")))
    run = FakeRun()
    outcome = engine.redeploy(swarm.service("job"), run)
    assert (outcome.success, outcome.image_after) == (True, digest), outcome.reason
    assert "3 of 3 containers of the job ended well" in run.lines
    assert "3/3 completed" in clean_bed.docker("service", "ls")


def test_a_job_that_fails_is_told_with_its_output_and_not_run_again(engine: SwarmEngine, clean_bed: DockerBed) -> None:
    image = APP.replace("/app", "/job")
    clean_bed.push("job", Image(version="one", command=("true",)))
    swarm.create(clean_bed, "job", image, "--mode", "replicated-job", "--restart-condition", "none", replicas=None)
    wait_until(lambda: "1/1 completed" in clean_bed.docker("service", "ls"), "the job has ended")
    clean_bed.push("job", "v3-broken")
    outcome = engine.redeploy(swarm.service("job"), FakeRun())
    assert (outcome.success, outcome.rolled_back) == (False, False)
    assert "it stays at the new version" in outcome.reason
    assert "non-zero exit (3)" in outcome.reason
    assert "fatal: v3-broken cannot start" in outcome.log_tail


def test_the_way_back_takes_into_account_how_long_containers_may_take_to_stop(clean_bed: DockerBed) -> None:
    clean_bed.push("app", "v1")
    grace = ("--stop-grace-period", "6s", "--label", "tutum.redeploy.order=stop-first")
    swarm.create(clean_bed, "web", APP, *grace, replicas=1)
    clean_bed.push("app", DEAF)
    api = SwarmApi(connect(clean_bed.url, None), str(clean_bed.docker_config))
    timing = Timing(stable_s=1.0, poll_s=0.3, rollback_s=4.0)
    context = ServiceContext(api=api, name="web", run=FakeRun(deadline_s=4), timing=timing)
    try:
        outcome = redeploy(context)
    finally:
        api.client.close()
    assert (outcome.success, outcome.rolled_back) == (False, True)
    assert "after the rollback" not in outcome.reason
    assert len(outcome.containers_after) == 1
