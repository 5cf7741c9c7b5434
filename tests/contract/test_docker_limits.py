"""Time limits on a real Docker Engine: what is slow but gets on succeeds.

The clock of a run jumps, so that nothing here depends on how fast the machine is.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.contract.docker_support import APP, opened, service, states, version
from tests.support.docker_bed import DockerBed
from tests.support.runs import FakeRun

pytestmark = pytest.mark.slow

STALL_S = 600


class SlowPull(FakeRun):
    """A run whose pull takes longer than the run may go on without progress."""

    @contextmanager
    def pulling(self) -> Iterator[None]:
        with super().pulling():
            self.skip(1.5 * STALL_S)
            yield


def test_containers_with_slow_health_checks_get_the_time_for_each(clean_bed: DockerBed) -> None:
    clean_bed.push("app", "v1")
    check = ("--health-cmd", "/bin/true", "--health-interval", "0.2s", "--health-retries", "2")
    for number in (1, 2, 3):
        labels = ("--label", "tutum.service=web", "--label", f"tutum.redeploy.stall={STALL_S}")
        clean_bed.docker("run", "-d", "--name", f"web-{number}", *labels, *check, APP)
    clean_bed.push("app", "v2")
    passed: list[float] = []

    def let_time_pass(run: FakeRun) -> None:
        passed.append(0.75 * STALL_S)
        run.skip(passed[-1])

    with opened(clean_bed) as engine:
        plan = engine.plan(service("name:web"), None)
        outcome = engine.redeploy(service("name:web"), FakeRun(deadline_s=1e6, on_progress=let_time_pass))
    assert outcome.success, outcome
    # They are replaced one after another.
    assert len(passed) >= 3
    assert [version(clean_bed, f"web-{number}") for number in (1, 2, 3)] == ["v2"] * 3
    assert (
        f"time limits: {STALL_S} s without progress, 3600 s in all; a pull is not counted and may take 1800 s"
        in plan.notes
    )


def test_a_pull_may_take_longer_than_the_limit_without_progress(clean_bed: DockerBed) -> None:
    clean_bed.push("app", "v1")
    clean_bed.docker("run", "-d", "--name", "web", "--label", f"tutum.redeploy.stall={STALL_S}", APP)
    clean_bed.push("app", "v2")
    with opened(clean_bed) as engine:
        outcome = engine.redeploy(service("name:web"), SlowPull(stall_s=STALL_S, deadline_s=STALL_S))
    assert outcome.success, outcome
    assert states(clean_bed) == {"web": "running"}
    assert version(clean_bed, "web") == "v2"
