"""A killed redeploy of a container with a fixed port, resumed without its database or after its engine was killed.

tests/unit/docker/test_resume.py kills every kind of run at every step on an engine in memory, and
test_engine_interrupted.py kills the common case on each engine.
"""

import pytest

from tests.contract.docker_support import APP, inspected, opened, service, snapshots, states, version
from tests.support.docker_bed import DockerBed
from tests.support.runs import FakeRun, Killed
from tutumd.model import Outcome

pytestmark = pytest.mark.slow
MAX_STEPS = 40


def start_web(bed: DockerBed) -> str:
    bed.push("app", "v1")
    old = bed.docker("run", "-d", "--name", "web", "--restart", "always", "-v", "/anonymous", "-p", "8080:8080", APP)
    bed.docker("exec", "web", "sh", "-c", "echo kept > /anonymous/x")
    return old


def redeploy_killed_at(bed: DockerBed, step: int) -> Outcome | None:
    """Redeploy until killed at a step, then resume without the journal; return None if it ended before the step."""
    with opened(bed) as engine:
        try:
            engine.redeploy(service("name:web"), FakeRun(kill_at=step))
        except Killed:
            assert set(snapshots(engine)) == {"name:web"}, f"what step {step} left is not the service it was"
        else:
            return None
    with opened(bed) as engine:
        return engine.redeploy(service("name:web"), FakeRun(action_uuid=f"{step:08x}-0000"))


def check_web(bed: DockerBed, expected: str) -> None:
    assert states(bed) == {"web": "running"}
    assert version(bed, "web") == expected
    assert inspected(bed, "web")["HostConfig"]["RestartPolicy"]["Name"] == "always"
    assert bed.docker("exec", "web", "cat", "/anonymous/x") == "kept"
    assert bed.fetch("127.0.0.1:8080") == expected


@pytest.mark.nightly
def test_a_redeploy_killed_at_any_step_is_finished_by_a_server_that_lost_its_database(clean_bed: DockerBed) -> None:
    start_web(clean_bed)
    clean_bed.push("app", "v2")
    # Every other step: an engine in memory goes through them all.
    for step in range(1, MAX_STEPS, 2):
        outcome = redeploy_killed_at(clean_bed, step)
        if outcome is None:
            break
        assert outcome.success, (step, outcome)
        check_web(clean_bed, "v2")
        assert outcome.containers_after == (inspected(clean_bed, "web")["Id"],)
    assert 8 < step < MAX_STEPS - 2


def test_a_swap_survives_that_the_engine_is_killed_in_it(clean_bed: DockerBed) -> None:
    start_web(clean_bed)
    clean_bed.push("app", "v2")
    # The old container is stopped and parked, the new one not started yet.
    run = FakeRun(kill_at=10)
    with opened(clean_bed) as engine:
        with pytest.raises(Killed):
            engine.redeploy(service("name:web"), run)
        clean_bed.kill_engine()
        clean_bed.start_engine()
        outcome = engine.redeploy(service("name:web"), FakeRun(journal=run.journal))
    assert outcome.success
    check_web(clean_bed, "v2")
