"""A server that is killed in the middle of an action on a real Swarm, at every point, and one that goes on with it."""

import time
from collections.abc import Callable, Iterator

import pytest

from tests.contract import swarm_support as swarm
from tests.contract.swarm_support import APP
from tests.support.docker_bed import DockerBed
from tests.support.images import Image
from tests.support.runs import FakeRun, Killed
from tests.support.waiting import wait_until
from tutumd.engines.swarm import SwarmEngine
from tutumd.errors import EngineUnavailableError
from tutumd.model import Outcome

LABEL = "tutum.stopped.replicas"
HANGING = Image(version="hanging", healthcheck=("CMD", "sleep", "1000"))
MOST_STEPS = 14
STABLE_S = 0.3


class InterruptedRun(FakeRun):
    """Steps are what is saved and what is sent, not every look; or it is killed at its first look after sending."""

    def __init__(self, *, kill_at: int | None = None, kill_in_sleep: bool = False, deadline_s: float = 60.0) -> None:
        super().__init__(kill_at=kill_at, deadline_s=deadline_s)
        self._kill_in_sleep = kill_in_sleep

    def sleep(self, seconds: float) -> None:
        if self._kill_in_sleep:
            raise Killed("while it waited")
        time.sleep(seconds)


@pytest.fixture
def bed(clean_bed: DockerBed) -> Iterator[DockerBed]:
    clean_bed.push("app", "v1")
    swarm.create(clean_bed, "web", APP, "--rollback-monitor", "1s", replicas=1)
    yield clean_bed
    assert "-trial-" not in clean_bed.docker("service", "ls")


@pytest.fixture
def checked_bed(clean_bed: DockerBed) -> Iterator[DockerBed]:
    """With an image that has a health check, so that nothing is tried out before an update is ordered."""
    clean_bed.push("app", "healthy")
    swarm.create(clean_bed, "web", APP, "--rollback-monitor", "1s", replicas=1)
    yield clean_bed


def interrupted(bed: DockerBed, verb: Callable[[SwarmEngine, FakeRun], Outcome], first: FakeRun) -> Outcome | None:
    """Run the verb until it is killed, then again on a fresh engine; None where the first run reached its end."""
    with swarm.opened(bed, stable_s=STABLE_S) as engine:
        try:
            verb(engine, first)
        except Killed:
            pass
        else:
            return None
    with swarm.opened(bed, stable_s=STABLE_S) as engine:
        return verb(engine, first.again())


def redeploy(engine: SwarmEngine, run: FakeRun) -> Outcome:
    return engine.redeploy(swarm.service("web"), run)


def test_a_redeploy_that_is_killed_ends_as_if_it_had_not_been(bed: DockerBed) -> None:
    before = swarm.spec(bed, "web")
    for step in range(MOST_STEPS):
        version = ("v2", "v1")[step % 2]
        digest = bed.push("app", version)
        first = InterruptedRun(kill_at=step) if step else InterruptedRun(kill_in_sleep=True)
        outcome = interrupted(bed, redeploy, first)
        assert swarm.running(bed, "web") == [version], step
        after = swarm.spec(bed, "web")
        # Ordered once, however often it was begun.
        assert after["TaskTemplate"]["ForceUpdate"] == step + 1
        assert after["TaskTemplate"]["ContainerSpec"]["Image"] == f"{APP}:latest@{digest}"
        assert {**after, "TaskTemplate": before["TaskTemplate"]} == before, step
        if outcome is None:
            break
        assert outcome.success, (step, outcome)
    assert step == 8  # saved, tried out, taken away, saved, ordered, saved, tidied up; and the eighth is none


def test_a_trial_that_is_killed_leaves_nothing_but_the_truth(bed: DockerBed) -> None:
    before = bed.inspect("service", "web")
    bed.push("app", "v3-broken")
    for step in range(MOST_STEPS):
        first = InterruptedRun(kill_at=step) if step else InterruptedRun(kill_in_sleep=True)
        outcome = interrupted(bed, redeploy, first)
        assert bed.inspect("service", "web") == before, step
        if outcome is None:
            break
        assert (outcome.success, outcome.rolled_back) == (False, True), (step, outcome)
        assert "the probe task of the new image failed: container 1 failed: task: non-zero exit (3)" in outcome.reason
        assert "fatal: v3-broken cannot start" in outcome.log_tail
    assert step == 5  # saved, tried out, taken away, saved


def test_an_undo_that_is_killed_puts_everything_back(checked_bed: DockerBed) -> None:
    bed = checked_bed
    before = swarm.spec(bed, "web")
    with swarm.opened(bed) as engine:
        containers = {one.id for one in swarm.snapshot(engine, "web").containers}
    bed.push("app", HANGING)
    for step in range(3, MOST_STEPS):  # the first two are those of the order
        outcome = interrupted(bed, redeploy, InterruptedRun(kill_at=step, deadline_s=2))
        assert swarm.spec(bed, "web") == before, step
        with swarm.opened(bed) as engine:
            assert {one.id for one in swarm.snapshot(engine, "web").containers} == containers
        if outcome is None:
            break
        assert (outcome.success, outcome.rolled_back) == (False, True), step
        assert "deadline" in outcome.reason
        assert outcome.log_tail == "serving hanging"
    assert step == 7  # saved, undone, saved, tidied up


def test_an_automatic_rollback_that_nobody_watched_is_a_failure(checked_bed: DockerBed) -> None:
    bed = checked_bed
    before = swarm.spec(bed, "web")
    bed.push("app", "v3-broken")
    first = InterruptedRun(kill_in_sleep=True)
    with swarm.opened(bed) as engine, pytest.raises(Killed):
        redeploy(engine, first)
    with swarm.opened(bed) as engine:
        wait_until(
            lambda: any("rollback completed" in warning for warning in swarm.snapshot(engine, "web").warnings),
            "the engine has rolled back",
        )
        outcome = redeploy(engine, first.again())
    assert (outcome.success, outcome.rolled_back) == (False, True)
    assert "non-zero exit (3)" in outcome.reason
    assert "fatal: v3-broken cannot start" in outcome.log_tail
    assert swarm.running(bed, "web") == ["healthy"]
    assert swarm.spec(bed, "web") == before


def test_a_redeploy_whose_engine_is_killed_goes_on_when_it_is_back(bed: DockerBed) -> None:
    before = swarm.spec(bed, "web")
    digest = bed.push("app", "v2")
    run = _RunThatKillsTheEngine(bed)
    with swarm.opened(bed) as engine:
        with pytest.raises(EngineUnavailableError):
            redeploy(engine, run)
        bed.start_engine()
        outcome = redeploy(engine, run.again())
    assert outcome.success, outcome
    assert outcome.image_after == digest
    assert swarm.running(bed, "web") == ["v2"]
    assert {**swarm.spec(bed, "web"), "TaskTemplate": before["TaskTemplate"]} == before


def test_a_change_of_the_number_that_is_killed_goes_on(bed: DockerBed) -> None:
    row = swarm.service("web")

    def changed(step: int, verb: Callable[[SwarmEngine, FakeRun], Outcome], wanted: int, labels: object) -> bool:
        first = InterruptedRun(kill_at=step) if step else InterruptedRun(kill_in_sleep=True)
        outcome = interrupted(bed, verb, first)
        assert outcome is None or outcome.success, (step, outcome)
        assert len(swarm.running(bed, "web")) == wanted, step
        assert swarm.spec(bed, "web")["Labels"] == labels, step
        return outcome is not None

    for step in range(MOST_STEPS):
        killed = [
            changed(step, lambda engine, run: engine.scale(row, 2, run), 2, {}),
            changed(step, lambda engine, run: engine.stop(row, run), 0, {LABEL: "2"}),
            changed(step, lambda engine, run: engine.start(row, run), 2, {}),
            changed(step, lambda engine, run: engine.scale(row, 1, run), 1, {}),
        ]
        if not any(killed):
            break
        assert all(killed), step
    assert step == 4  # saved, ordered, saved


class _RunThatKillsTheEngine(FakeRun):
    """Kills the engine when the update has been ordered."""

    def __init__(self, bed: DockerBed) -> None:
        super().__init__()
        self._bed = bed

    def sleep(self, seconds: float) -> None:
        self._bed.kill_engine()
        super().sleep(seconds)
