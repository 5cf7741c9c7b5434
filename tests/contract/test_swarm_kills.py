"""Killed actions on a real Swarm, resumed by another server: orders, probe tasks and rollbacks."""

from collections.abc import Callable, Iterator

import pytest

from tests.contract import swarm_support as swarm
from tests.contract.docker_support import APP
from tests.support.docker_bed import DockerBed
from tests.support.images import Image
from tests.support.runs import FakeRun, Killed
from tests.support.waiting import wait_until
from tutumd.engines.swarm.engine import SwarmEngine
from tutumd.errors import EngineUnavailableError
from tutumd.model import Outcome

pytestmark = pytest.mark.slow
LASTING = Image(version="lasting", healthcheck=("CMD", "/bin/true"), labels={"version": "lasting"})
MAX_STEPS = 14
STABLE_S = 0.3
PATIENT_S = 60.0
"""For a container that ends by itself: a busy machine may take its time to tell."""


@pytest.fixture
def bed(clean_bed: DockerBed) -> Iterator[DockerBed]:
    clean_bed.push("app", "v1")
    swarm.create(clean_bed, "web", APP, "--rollback-monitor", "1s", replicas=1)
    yield clean_bed
    assert "-trial-" not in clean_bed.docker("service", "ls")


@pytest.fixture
def checked_bed(clean_bed: DockerBed) -> Iterator[DockerBed]:
    """With an image that has a health check, so that no probe task runs before the update."""
    clean_bed.push("app", "healthy")
    swarm.create(clean_bed, "web", APP, "--rollback-monitor", "1s", replicas=1)
    yield clean_bed


def interrupted(
    bed: DockerBed, verb: Callable[[SwarmEngine, FakeRun], Outcome], first: FakeRun, *, stable_s: float = STABLE_S
) -> Outcome | None:
    """Run the verb until it is killed, then resume it on another engine; return None if the first run ended."""
    with swarm.opened(bed, stable_s=stable_s) as engine:
        try:
            verb(engine, first)
        except Killed:
            pass
        else:
            return None
    with swarm.opened(bed, stable_s=stable_s) as engine:
        return verb(engine, first.again())


def redeploy(engine: SwarmEngine, run: FakeRun) -> Outcome:
    return engine.redeploy(swarm.service("web"), run)


def test_a_redeploy_that_is_killed_after_its_order_is_ordered_once(bed: DockerBed) -> None:
    before = swarm.spec(bed, "web")
    digest = bed.push("app", "v2")
    # Saved, tried out, taken away, saved, ordered: killed before the settings are restored.
    outcome = interrupted(bed, redeploy, FakeRun(kill_at=6))
    assert outcome is not None
    assert outcome.success, outcome
    after = swarm.spec(bed, "web")
    assert after["TaskTemplate"]["ForceUpdate"] == 1
    assert after["TaskTemplate"]["ContainerSpec"]["Image"] == f"{APP}:latest@{digest}"
    assert {**after, "TaskTemplate": before["TaskTemplate"]} == before


def test_a_trial_that_is_killed_leaves_nothing_but_the_truth(bed: DockerBed) -> None:
    before = bed.inspect("service", "web")
    bed.push("app", "v3-broken")
    for step in range(MAX_STEPS):
        first = FakeRun(kill_at=step) if step else FakeRun(kill_in_sleep=True)
        outcome = interrupted(bed, redeploy, first, stable_s=PATIENT_S)
        assert bed.inspect("service", "web") == before, step
        if outcome is None:
            break
        assert (outcome.success, outcome.rolled_back) == (False, False), (step, outcome)
        assert "the probe task of the new image failed: container 1 exited with 3" in outcome.reason
        assert "fatal: v3-broken cannot start" in outcome.log_tail
    assert step == 5  # saved, tried out, taken away, saved


def test_an_automatic_rollback_that_nobody_watched_is_a_failure(checked_bed: DockerBed) -> None:
    bed = checked_bed
    before = swarm.spec(bed, "web")
    bed.push("app", "v3-broken")
    first = FakeRun(kill_in_sleep=True)
    with swarm.opened(bed) as engine, pytest.raises(Killed):
        redeploy(engine, first)
    with swarm.opened(bed) as engine:
        wait_until(
            lambda: any("rollback completed" in warning for warning in swarm.snapshot(engine, "web").warnings),
            "the engine has rolled back",
        )
        outcome = redeploy(engine, first.again())
    assert (outcome.success, outcome.rolled_back) == (False, True)
    assert "container 1 exited with 3" in outcome.reason
    assert "fatal: v3-broken cannot start" in outcome.log_tail
    assert swarm.running(bed, "web") == ["healthy"]
    assert swarm.spec(bed, "web") == before


def test_a_new_container_of_a_global_service_that_ends_while_no_server_looks_is_no_success(
    clean_bed: DockerBed,
) -> None:
    clean_bed.push("app", "healthy")
    swarm.create(clean_bed, "web", APP, "--mode", "global", "--rollback-monitor", "1s", replicas=None)
    wait_until(lambda: swarm.counted(clean_bed, "web") == 1, "it runs")
    clean_bed.push("app", LASTING)
    first = FakeRun()
    with swarm.opened(clean_bed, stable_s=STABLE_S) as engine:
        assert redeploy(engine, first).success
    clean_bed.docker("kill", clean_bed.docker("ps", "--quiet", "--filter", "label=version=lasting"))
    with swarm.opened(clean_bed, stable_s=STABLE_S) as engine:
        outcome = redeploy(engine, first.again())
    assert (outcome.success, outcome.rolled_back) == (False, True), outcome
    assert "exited with 137" in outcome.reason
    assert swarm.running(clean_bed, "web") == ["healthy"]


def test_a_redeploy_whose_engine_is_killed_is_resumed_when_it_is_back(bed: DockerBed) -> None:
    before = swarm.spec(bed, "web")
    digest = bed.push("app", "v2")
    run = FakeRun(on_sleep=bed.kill_engine)
    with swarm.opened(bed) as engine:
        with pytest.raises(EngineUnavailableError):
            redeploy(engine, run)
        bed.start_engine()
        outcome = redeploy(engine, run.again())
    assert outcome.success, outcome
    assert outcome.image_after == digest
    assert swarm.running(bed, "web") == ["v2"]
    assert {**swarm.spec(bed, "web"), "TaskTemplate": before["TaskTemplate"]} == before
