"""The verdict on an update over several looks: what is stable, and which failure is believed."""

from dataclasses import replace

import pytest

from tests.unit.swarm.test_journal import PLAN
from tests.unit.swarm.values import NEW, spec, task, view
from tutumd.engines.rollout.journal import RolloutStatus
from tutumd.engines.rollout.timing import Timing
from tutumd.engines.swarm import spec as specs
from tutumd.engines.swarm.journal import RedeployJournal
from tutumd.engines.swarm.redeploy import Watch
from tutumd.engines.swarm.view import Task

PLANNED = replace(PLAN, config={"Order": "start-first", "Monitor": 3 * specs.NANO})
FIRST, SECOND = task("n1", NEW), task("n2", NEW, slot="2")
WAITING, DONE, FAILED = RolloutStatus.IN_PROGRESS, RolloutStatus.SUCCEEDED, RolloutStatus.FAILED


class Looks:
    """One look after the other, on a clock of its own."""

    def __init__(self, journal: RedeployJournal = PLANNED, *, state: str = "completed") -> None:
        self._now = 0.0
        self._state = state
        self._watch = Watch(journal, Timing(clock=lambda: self._now, doubt_s=2.0))

    def at(self, second: float, *tasks: Task, state: str | None = None, replicas: int = 2) -> RolloutStatus:
        self._now = second
        seen = view(spec(NEW, replicas=replicas), *tasks, state=self._state if state is None else state)
        return self._watch.status(seen)


@pytest.mark.parametrize("state", ["", "updating", "completed"])
def test_an_update_succeeds_once_the_same_new_tasks_have_run_for_the_window(state: str) -> None:
    looks = Looks(state=state)
    assert looks.at(0, FIRST) is WAITING
    assert looks.at(1, FIRST, SECOND) is WAITING
    assert looks.at(3.9, FIRST, SECOND) is WAITING
    assert looks.at(4, FIRST, SECOND) is DONE


def test_a_new_task_that_takes_the_place_of_another_starts_the_window_again() -> None:
    looks = Looks()
    looks.at(0, FIRST, SECOND)
    told_to_stop = task("n2", NEW, slot="2", state="shutdown", desired=False)
    assert looks.at(3, FIRST, told_to_stop, task("n3", NEW, slot="2")) is WAITING
    assert looks.at(6, FIRST, told_to_stop, task("n3", NEW, slot="2")) is DONE


def test_a_task_that_exits_after_the_window_turns_a_success_into_a_failure() -> None:
    looks = Looks()
    looks.at(0, FIRST, SECOND)
    assert looks.at(3, FIRST, SECOND) is DONE
    gone = task("n2", NEW, slot="2", state="failed", desired=False)
    assert looks.at(3.5, FIRST, gone, task("n3", NEW, slot="2")) is WAITING
    assert looks.at(5.5, FIRST, gone, task("n4", NEW, slot="2")) is FAILED


def test_a_failure_is_believed_when_a_second_look_shows_it_again() -> None:
    looks = Looks()
    rejected = task("r1", NEW, state="rejected", desired=False)
    assert looks.at(0, rejected, SECOND) is WAITING
    assert looks.at(1, rejected, FIRST, SECOND) is WAITING
    assert looks.at(4, rejected, FIRST, SECOND) is DONE


def test_a_task_whose_node_went_down_does_not_fail_the_update_when_it_is_back() -> None:
    looks = Looks()
    looks.at(0, task("n1", NEW, node_ready=False, desired=False), SECOND)
    back = task("n1", NEW, state="failed", desired=False)
    assert looks.at(1, back, task("n3", NEW), SECOND) is WAITING
    assert looks.at(4, back, task("n3", NEW), SECOND) is DONE


def test_a_service_that_is_scaled_to_0_and_up_again_is_followed() -> None:
    looks = Looks()
    assert looks.at(0, replicas=0) is WAITING
    assert looks.at(1.9, replicas=0) is WAITING
    assert looks.at(2, FIRST, SECOND) is WAITING
    assert looks.at(5, FIRST, SECOND) is DONE
    assert looks.at(6, replicas=0) is WAITING
    assert looks.at(8, replicas=0) is FAILED


def test_what_the_engine_rolls_back_is_believed_at_once() -> None:
    assert Watch(PLANNED, Timing()).status(view(spec(), state="rollback_started")) is RolloutStatus.ROLLING_BACK
