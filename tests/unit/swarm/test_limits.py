"""Time limits of an action on a service, and what counts as progress."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from tests.support.runs import FakeRun
from tests.unit.swarm.values import NEW, spec, task
from tutumd.engines.rollout.timing import Timing
from tutumd.engines.swarm.api import SwarmApi
from tutumd.engines.swarm.context import ServiceContext, limits_of, report_progress
from tutumd.engines.swarm.view import Task
from tutumd.model import RunLimits

S = 1_000_000_000
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
JOB: dict[str, Any] = {"Mode": {"ReplicatedJob": {"TotalCompletions": 1}}}


class Images:
    """The images of the manager's node."""

    def __init__(self, check: dict[str, Any] | None = None) -> None:
        self._check = check

    def local_image(self, name: str) -> dict[str, Any] | None:
        return None if self._check is None else {"Config": {"Healthcheck": self._check}}


def api_of(check: dict[str, Any] | None = None) -> SwarmApi:
    return cast(SwarmApi, Images(check))


def checked_spec(check: dict[str, Any], **others: Any) -> dict[str, Any]:
    made = spec(NEW, **others)
    made["TaskTemplate"]["ContainerSpec"]["Healthcheck"] = check
    return made


class Rollout:
    """A run whose tasks are shown to it, second by second."""

    def __init__(self, inspected: dict[str, Any]) -> None:
        self.now = 0.0
        limits = RunLimits()
        self.run = FakeRun(deadline_s=limits.timeout_s, stall_s=limits.stall_s, monotonic=lambda: self.now)
        timing = Timing(now=lambda: BEGAN + timedelta(seconds=self.now))
        self._spec = inspected
        self._context = ServiceContext(api=api_of(), name="web", run=self.run, timing=timing)

    def show(self, *tasks: Task, seconds: int = 0) -> bool:
        """Show these tasks now and for so many seconds; return whether the run has time left."""
        for _ in range(seconds + 1):
            report_progress(self._context, self._spec, tasks)
            if self.run.remaining_s() <= 0:
                return False
            self.now += 1
        return True


def new(number: int, state: str, slot: str = "1", **more: Any) -> Task:
    return task(f"n{number}", NEW, state=state, slot=slot, **more)


def test_the_limit_without_progress_covers_health_checks_pauses_and_the_time_to_stop() -> None:
    config = {"Delay": 40 * S, "Monitor": 7 * S}
    check = {"Test": ["CMD", "/check"], "Interval": 90 * S, "Timeout": 5 * S, "Retries": 3, "StartPeriod": 60 * S}
    given = checked_spec(check, UpdateConfig=config)
    given["TaskTemplate"]["ContainerSpec"]["StopGracePeriod"] = 20 * S
    least_s = 40 + 7 + 20 + 60 + 3 * (90 + 5) + 30
    assert RunLimits().adapted(**limits_of(api_of(), given)) == RunLimits(stall_s=least_s)


def test_a_health_check_is_inherited_from_the_image_as_far_as_it_is_known() -> None:
    image = {"Test": ["CMD", "/check"], "Interval": 90 * S, "Timeout": 5 * S, "Retries": 2}
    own = checked_spec({"Interval": 0, "Retries": 4})
    assert limits_of(api_of(image), own)["least_stall_s"] == 10 + 4 * (90 + 5) + 30
    assert limits_of(api_of(image), spec(NEW))["least_stall_s"] == 10 + 2 * (90 + 5) + 30
    assert limits_of(api_of(image), checked_spec({"Test": ["NONE"]}))["least_stall_s"] == 10 + 30
    assert limits_of(api_of(), own)["least_stall_s"] == 10 + 30


def test_labels_win() -> None:
    labels = {"tutum.redeploy.timeout": "900", "tutum.redeploy.stall": "50"}
    given = limits_of(api_of(), spec(NEW, Labels=labels))
    assert RunLimits().adapted(**given) == RunLimits(timeout_s=900, stall_s=50)


def test_each_new_container_that_runs_is_progress() -> None:
    rollout = Rollout(spec(NEW))
    assert rollout.show(new(1, "starting"), seconds=100)
    assert rollout.show(new(1, "running"), seconds=100)
    assert rollout.show(new(1, "running"), new(2, "starting", "2"), seconds=100)
    assert rollout.show(new(1, "running"), new(2, "running", "2"), seconds=100)
    assert not rollout.show(new(1, "running"), new(2, "running", "2"), seconds=30)
    assert rollout.run.overdue_reason() == "there was no progress for 120 s"


@pytest.mark.parametrize("states", [["starting", "failed"], ["running", "failed"], ["preparing", "rejected"]])
def test_a_restart_loop_is_no_progress(states: Sequence[str]) -> None:
    rollout = Rollout(spec(NEW))
    tasks = (new(number, state) for number in range(100) for state in states)
    while rollout.show(next(tasks), seconds=4):
        pass
    assert 120 <= rollout.now < 140


def test_a_node_may_pull_for_as_long_as_a_pull_may_take() -> None:
    rollout = Rollout(spec(NEW, Labels={"tutum.redeploy.stall": "50"}))
    assert rollout.show(new(1, "preparing"), seconds=1700)
    assert rollout.show(new(1, "starting"), seconds=45)
    assert not rollout.show(new(1, "starting"), seconds=10)
    pulls_forever = Rollout(spec(NEW))
    assert not pulls_forever.show(new(1, "preparing"), seconds=2000)
    assert 1800 <= pulls_forever.now < 1802


def test_a_job_gets_on_as_long_as_it_runs() -> None:
    rollout = Rollout(spec(NEW, **JOB))
    running = replace(new(1, "running"), started=BEGAN)
    assert rollout.show(running, seconds=1000)
    # Another attempt is progress once it runs for longer than the first.
    again = replace(new(2, "running"), started=BEGAN + timedelta(seconds=rollout.now))
    assert not rollout.show(again, seconds=200)


def test_a_job_that_crashes_again_and_again_does_not_get_on() -> None:
    rollout = Rollout(spec(NEW, **JOB))
    for number in range(100):
        started = BEGAN + timedelta(seconds=rollout.now)
        if not rollout.show(replace(new(number, "running"), started=started), seconds=4):
            break
    assert 120 <= rollout.now < 140
