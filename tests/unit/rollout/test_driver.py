"""The rollout of a change: what is believed, what is looked at again, and how a failed change is rolled back."""

from dataclasses import dataclass
from itertools import count

import pytest

from tests.support.runs import FakeRun, Killed
from tutumd.engines.rollout.driver import Look, carry_out, fail
from tutumd.engines.rollout.journal import Result, RolloutStatus, Stage
from tutumd.engines.rollout.timing import Timing
from tutumd.errors import EngineRefusedError
from tutumd.model import Outcome

WAITING, DONE, FAILED, SUPERSEDED = RolloutStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A journal."""

    number: int = 7
    stage: Stage = Stage.APPLY
    result: Result | None = None


class Service:
    """A service whose look at each second is known; the last one lasts. None: it is gone.

    Attributes:
        done: What was done to it, in order.
        given_up: The second at which a change was given up.
    """

    def __init__(self, *looks: Look | None, undone: tuple[Look | None, ...] = ()) -> None:
        self.looks, self.undone = looks, undone or (look(DONE),)
        self.done: list[str] = []
        self.second = 0
        self.given_up = -1


@dataclass
class Context:
    """One run on the service."""

    service: Service
    run: FakeRun
    timing: Timing
    is_undoing: bool = False

    def view(self) -> Look | None:
        looks = self.service.undone if self.is_undoing else self.service.looks
        return looks[min(self.service.second, len(looks) - 1)]

    def restart_s(self, view: Look) -> float:
        return 0.0


class FakeChange:
    """A change that looks as the service does, and refuses to be undone if `refusal` says why."""

    journal: Plan

    def __init__(self, service: Service, run: FakeRun, refusal: str = "") -> None:
        timing = Timing(clock=lambda: float(service.second), poll_s=0.0, rollback_s=3.0)
        self.context = Context(service, run, timing)
        self._service = service
        self._refusal = refusal
        run.sleep = self._tick  # type: ignore[method-assign] # each pause takes a second of the service

    def begin(self) -> Plan:
        return Plan()

    def send(self) -> None:
        self._do("sent")

    def judge(self, view: Look) -> Look:
        return view

    def give_up(self, view: Look) -> None:
        self._service.given_up = self._service.second
        fail(self, f"it failed: {view.progress}", "the last line", stage=Stage.ROLL_BACK)

    def undo(self) -> None:
        self.context.is_undoing, self._service.second = True, 0
        if self._refusal:
            raise EngineRefusedError(self._refusal)
        self._do("undone")

    def judge_undo(self, view: Look) -> Look:
        return view

    def settle(self) -> None:
        self._do("settled")

    def outcome(self, result: Result, view: Look | None) -> Outcome:
        after = view.same if view is not None else ()
        return Outcome(
            success=result.success, reason=result.reason, rolled_back=result.rolled_back, containers_after=after
        )

    def _tick(self, seconds: float) -> None:
        FakeRun.sleep(self.context.run, 0.0)
        self._service.second += 1

    def _do(self, what: str) -> None:
        self.context.run.check()
        if what not in self._service.done:
            self._service.done.append(what)


def look(status: RolloutStatus, *same: str, needed_s: float = 0.0, is_complete: bool = True) -> Look:
    return Look(status=status, progress=status.name, same=same, needed_s=needed_s, is_complete=is_complete)


A, B, GOOD = look(DONE, "a", needed_s=2), look(DONE, "b", needed_s=2), look(DONE, "a")
DOUBTED = look(FAILED, needed_s=2)


def outcome_of(service: Service, run: FakeRun | None = None, refusal: str = "") -> Outcome:
    return carry_out(FakeChange(service, run or FakeRun(), refusal), Plan)


@pytest.mark.parametrize(
    ("looks", "second"),
    [
        ((GOOD,), 0),
        ((look(WAITING), A), 3),
        ((A, A, B), 4),
        ((A, look(WAITING), A), 4),
        ((look(DONE, "a", is_complete=False), look(DONE, "a", is_complete=False), GOOD), 2),
        ((DOUBTED, DOUBTED, A), 4),
    ],
    ids=["at once", "after the window", "others", "not any more", "old ones stop", "a failure that passes"],
)
def test_a_success_counts_once_the_same_containers_have_lasted(looks: tuple[Look, ...], second: int) -> None:
    service = Service(*looks)
    outcome = outcome_of(service)
    assert (outcome.success, outcome.containers_after) == (True, looks[-1].same)
    assert (service.done, service.second) == (["sent", "settled"], second)


def test_the_last_pause_of_a_window_ends_with_the_window() -> None:
    slept: list[float] = []
    change = FakeChange(Service(look(DONE, "a", needed_s=2.25)), run := FakeRun())
    change.context.timing = Timing(clock=lambda: sum(slept), poll_s=0.5)
    run.sleep = lambda seconds: slept.append(seconds)  # type: ignore[method-assign] # nothing waits
    assert carry_out(change, Plan).success
    assert sum(slept) == 2.25


def test_a_success_that_a_last_look_does_not_show_is_followed_again() -> None:
    service = Service(GOOD)
    change = FakeChange(service, FakeRun())
    shown = iter((GOOD, B, B, B, B))
    change.judge = lambda view: next(shown)  # type: ignore[method-assign] # each look shows something else
    assert carry_out(change, Plan).success
    assert service.second == 2


@pytest.mark.parametrize(
    ("looks", "second"), [((look(FAILED),), 0), ((DOUBTED,), 2), ((DOUBTED, look(WAITING), DOUBTED), 4)]
)
def test_a_failure_is_believed_once_it_has_lasted(looks: tuple[Look, ...], second: int) -> None:
    service = Service(*looks)
    outcome = outcome_of(service)
    assert (outcome.success, outcome.rolled_back, outcome.reason) == (False, True, "it failed: FAILED")
    assert (service.done, service.given_up) == (["sent", "undone", "settled"], second)


def test_a_change_whose_time_is_over_is_rolled_back() -> None:
    run: FakeRun = FakeRun(on_sleep=lambda: run.skip(1e6))
    outcome = outcome_of(Service(look(WAITING)), run)
    assert (outcome.success, outcome.rolled_back, outcome.reason) == (False, True, "it failed: IN_PROGRESS")


@pytest.mark.parametrize(
    ("last", "reason"),
    [(None, "the service was removed in the meantime"), (look(SUPERSEDED), "superseded: SUPERSEDED")],
)
def test_a_change_by_somebody_else_stays(last: Look | None, reason: str) -> None:
    service = Service(look(WAITING), last)
    outcome = outcome_of(service)
    assert (outcome.success, outcome.rolled_back, outcome.reason) == (False, False, reason)
    assert service.done == ["sent", "settled"]


@pytest.mark.parametrize(
    ("undone", "rolled_back", "words"),
    [
        ((look(WAITING), look(DONE)), True, ""),
        ((look(WAITING),), True, "; after the rollback IN_PROGRESS"),
        ((look(FAILED),), True, "; after the rollback FAILED"),
        ((look(WAITING), look(SUPERSEDED)), False, "; during the rollback somebody else changed the service"),
        ((look(WAITING), None), False, "; during the rollback the service was removed"),
    ],
)
def test_the_reason_says_how_a_rollback_ended(undone: tuple[Look | None, ...], rolled_back: bool, words: str) -> None:
    outcome = outcome_of(Service(look(FAILED), undone=undone))
    assert (outcome.success, outcome.rolled_back, outcome.reason) == (False, rolled_back, f"it failed: FAILED{words}")


def test_a_rollback_that_the_engine_refuses_is_told() -> None:
    outcome = outcome_of(Service(look(FAILED)), refusal="no permission")
    assert (outcome.rolled_back, outcome.reason) == (False, "it failed: FAILED; the rollback failed: no permission")


def test_settings_that_cannot_be_restored_do_not_hide_the_result() -> None:
    change = FakeChange(Service(GOOD), run := FakeRun())

    def refuse() -> None:
        raise EngineRefusedError("no permission")

    change.settle = refuse  # type: ignore[method-assign] # the engine refuses it
    assert carry_out(change, Plan).success
    assert "the settings could not be restored: no permission" in run.lines


@pytest.mark.parametrize("end", [GOOD, look(FAILED)])
def test_a_change_killed_at_any_step_is_finished_by_the_next_server(end: Look) -> None:
    for step in count(1):
        service, run = Service(end), FakeRun(kill_at=step)
        try:
            outcome_of(service, run)
            break
        except Killed:
            outcome = outcome_of(service, run.again())
        assert (outcome.success, outcome.rolled_back) == (end is GOOD, end is not GOOD), step
        assert service.done == (["sent", "settled"] if end is GOOD else ["sent", "undone", "settled"]), step
    assert step > 3


def test_a_stored_journal_does_not_decide_that_a_change_succeeded() -> None:
    service, run = Service(GOOD), FakeRun()
    assert outcome_of(service, run).success
    service.looks = (look(FAILED),)
    outcome = outcome_of(service, run.again())
    assert (outcome.success, outcome.rolled_back) == (False, True)
