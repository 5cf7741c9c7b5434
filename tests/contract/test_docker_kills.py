"""A redeploy of a container with a fixed port whose engine was killed in the swap.

tests/unit/docker/test_kills.py kills every kind of run at every step on an engine in memory, and
test_engine_interrupted.py kills the common case on each engine.
"""

import pytest

from tests.contract.docker_support import APP, inspected, opened, service, states, version
from tests.support.docker_bed import DockerBed
from tests.support.runs import FakeRun, Killed

pytestmark = pytest.mark.slow


def start_web(bed: DockerBed) -> str:
    bed.push("app", "v1")
    old = bed.docker("run", "-d", "--name", "web", "--restart", "always", "-v", "/anonymous", "-p", "8080:8080", APP)
    bed.docker("exec", "web", "sh", "-c", "echo kept > /anonymous/x")
    return old


def check_web(bed: DockerBed, expected: str) -> None:
    assert states(bed) == {"web": "running"}
    assert version(bed, "web") == expected
    assert inspected(bed, "web")["HostConfig"]["RestartPolicy"]["Name"] == "always"
    assert bed.docker("exec", "web", "cat", "/anonymous/x") == "kept"
    assert bed.fetch("127.0.0.1:8080") == expected


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
