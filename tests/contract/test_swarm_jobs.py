"""Jobs on a real Swarm: a redeploy runs them once more."""

import pytest

from tests.contract import swarm_support as swarm
from tests.contract.docker_support import APP
from tests.support.docker_bed import DockerBed
from tests.support.images import Image
from tests.support.runs import FakeRun
from tests.support.waiting import wait_until
from tutumd.engines.swarm.engine import SwarmEngine

pytestmark = pytest.mark.slow

IMAGE = APP.replace("/app", "/job")


def test_a_job_runs_once_more_and_is_done_when_it_has_ended(swarm_engine: SwarmEngine, clean_bed: DockerBed) -> None:
    job = Image(version="one", command=("sh", "-c", "sleep 0.5; echo done"), labels={"version": "one"})
    clean_bed.push("job", job)
    options = ("--mode", "replicated-job", "--replicas", "3", "--max-concurrent", "2")
    swarm.create(clean_bed, "job", IMAGE, *options, replicas=None)
    wait_until(lambda: "3/3 completed" in clean_bed.docker("service", "ls"), "the job has ended")
    digest = clean_bed.push("job", Image(version="two", command=("sh", "-c", "sleep 0.5; echo again")))
    run = FakeRun()
    outcome = swarm_engine.redeploy(swarm.service("job"), run)
    assert (outcome.success, outcome.image_after) == (True, digest), outcome.reason
    assert len(outcome.containers_after) == 3
    assert "3 of 3 containers of the job ended well" in run.lines
    assert "3/3 completed" in clean_bed.docker("service", "ls")


def test_a_job_that_fails_is_reported_with_its_output_and_not_run_again(
    swarm_engine: SwarmEngine, clean_bed: DockerBed
) -> None:
    clean_bed.push("job", Image(version="one", command=("true",)))
    swarm.create(clean_bed, "job", IMAGE, "--mode", "replicated-job", "--restart-condition", "none", replicas=None)
    wait_until(lambda: "1/1 completed" in clean_bed.docker("service", "ls"), "the job has ended")
    clean_bed.push("job", "v3-broken")
    outcome = swarm_engine.redeploy(swarm.service("job"), FakeRun())
    assert (outcome.success, outcome.rolled_back) == (False, False)
    assert "it stays at the new version" in outcome.reason
    assert "exited with 3" in outcome.reason
    assert "fatal: v3-broken cannot start" in outcome.log_tail
