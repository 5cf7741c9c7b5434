"""A server that is killed between two steps, and one that lost its database, on a real Docker Engine.

Every step of every kind of run is gone through on an engine in memory, in tests/unit/docker/test_kills.py; here one
container shows that a real one behaves like that.
"""

import pytest

from tests.contract.docker_support import inspected, opened, service, snapshots, states, version
from tests.support.docker_bed import ANONYMOUS, DockerBed
from tests.support.runs import FakeRun, Killed
from tutumd.model import Outcome

pytestmark = pytest.mark.slow

APP = f"{ANONYMOUS}/app"
MOST_STEPS = 40


class UnwaitingRun(FakeRun):
    """A run in which a wait is no step: how often it looks hangs on the machine."""

    def sleep(self, seconds: float) -> None:
        steps, self.steps = self.steps, -(10**6)
        super().sleep(seconds)
        self.steps = steps


def start_web(bed: DockerBed) -> str:
    bed.push("app", "v1")
    old = bed.docker("run", "-d", "--name", "web", "--restart", "always", "-v", "/anonymous", "-p", "8080:8080", APP)
    bed.docker("exec", "web", "sh", "-c", "echo kept > /anonymous/x")
    return old


def redeploy_killed_at(bed: DockerBed, step: int, *, lost: bool = False) -> Outcome | None:
    """Redeploy until killed at a step, then again by another process; None if it ended before the step."""
    run = UnwaitingRun(kill_at=step)
    with opened(bed) as engine:
        try:
            engine.redeploy(service("name:web"), run)
        except Killed:
            assert set(snapshots(engine)) == {"name:web"}, f"what step {step} left is not the service it was"
        else:
            return None
    following = UnwaitingRun(action_uuid=f"{step:08x}-0000") if lost else UnwaitingRun(journal=run.journal)
    with opened(bed) as engine:
        return engine.redeploy(service("name:web"), following)


def check_web(bed: DockerBed, expected: str) -> None:
    assert states(bed) == {"web": "running"}
    assert version(bed, "web") == expected
    assert inspected(bed, "web")["HostConfig"]["RestartPolicy"]["Name"] == "always"
    assert bed.docker("exec", "web", "cat", "/anonymous/x") == "kept"
    assert bed.fetch("127.0.0.1:8080") == expected


@pytest.mark.parametrize("lost", [False, True], ids=["with its journal", "with its database lost"])
def test_a_redeploy_killed_at_any_step_is_finished_by_the_next_server(clean_bed: DockerBed, lost: bool) -> None:
    start_web(clean_bed)
    clean_bed.push("app", "v2")
    # With its database lost, every other one.
    for step in range(1, MOST_STEPS, 2 if lost else 1):
        outcome = redeploy_killed_at(clean_bed, step, lost=lost)
        if outcome is None:
            break
        assert outcome.success, (step, outcome)
        check_web(clean_bed, "v2")
        assert outcome.containers_after == (inspected(clean_bed, "web")["Id"],)
    assert 8 < step < MOST_STEPS - 2


def test_a_failing_redeploy_killed_at_any_step_is_undone_by_the_next_server(clean_bed: DockerBed) -> None:
    old = start_web(clean_bed)
    clean_bed.push("app", "v3-broken")
    # Every other one: a failure takes its time.
    for step in range(2, MOST_STEPS, 2):
        outcome = redeploy_killed_at(clean_bed, step)
        if outcome is None:
            break
        assert not outcome.success, (step, outcome)
        assert outcome.rolled_back
        check_web(clean_bed, "v1")
        assert inspected(clean_bed, "web")["Id"] == old
    assert 12 < step < MOST_STEPS - 2


def test_a_swap_survives_that_the_engine_is_killed_in_it(clean_bed: DockerBed) -> None:
    start_web(clean_bed)
    clean_bed.push("app", "v2")
    # The old container is stopped and parked, the new one not started yet.
    run = UnwaitingRun(kill_at=10)
    with opened(clean_bed) as engine:
        with pytest.raises(Killed):
            engine.redeploy(service("name:web"), run)
        clean_bed.kill_engine()
        clean_bed.start_engine()
        outcome = engine.redeploy(service("name:web"), UnwaitingRun(journal=run.journal))
    assert outcome.success
    check_web(clean_bed, "v2")
