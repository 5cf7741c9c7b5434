"""A server killed between any two steps of a run: the next one finishes it, or puts everything back."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.support.runs import FakeRun, Killed
from tests.unit.docker.documents import ALWAYS, compose_labels, image
from tests.unit.docker.fake_docker import FakeDocker
from tutumd.engines.docker.apply.redeploy import redeploy as redeploy_service
from tutumd.engines.docker.apply.scale import Scaler
from tutumd.engines.docker.look.containers import InspectedContainer
from tutumd.engines.docker.look.readiness import ReadinessCheck
from tutumd.engines.docker.look.services import ContainerGroup, group_by_service
from tutumd.errors import EngineBusyError
from tutumd.model import Outcome

SELECTOR = "compose:shop/web"
OLD, NEW = image(0xA0)["Id"], image(0xB0)["Id"]
CRASHING = image(0xB0, Crashes=True)
Verb = Callable[[FakeDocker, FakeRun], Outcome]


class Recorded(FakeRun):
    """A run that does not wait."""

    def sleep(self, seconds: float) -> None:
        pass


class EndingIn(Recorded):
    """A run whose time is over in a phase."""

    def __init__(self, phase: str, journal: Mapping[str, object] | None = None) -> None:
        super().__init__(journal=journal)
        self._phase = phase

    def remaining_s(self) -> float:
        return 0.0 if self.journal.get("phase") == self._phase else 60.0


class RunOfAnotherAction(Recorded):
    """A run of another action."""

    @property
    def action_uuid(self) -> str:
        return "ffffffff-0000"


@dataclass(frozen=True, kw_only=True)
class Case:
    """A service before a run."""

    newest: Mapping[str, Any] | None = None
    states: Sequence[str] = ("running", "running")
    policy: Mapping[str, Any] = field(default_factory=lambda: ALWAYS)

    def engine(self) -> FakeDocker:
        engine = FakeDocker(newest=self.newest)
        for number, status in enumerate(self.states, start=1):
            finished = None if status in ("running", "paused") else 50
            engine.add(
                number,
                f"shop-web-{number}",
                status=status,
                finished=finished,
                host={"RestartPolicy": dict(self.policy)},
                labels=compose_labels(number),
            )
        return engine


class MovingTag(FakeDocker):
    """An engine on which somebody moves the tag back just before a container is created."""

    def create_container_from_config(self, config: Mapping[str, Any], name: str) -> Any:
        self.tagged = OLD
        return super().create_container_from_config(config, name)


def finder(
    engine: FakeDocker, selector: str = SELECTOR
) -> Callable[[], tuple[ContainerGroup, Sequence[InspectedContainer]]]:
    def find() -> tuple[ContainerGroup, Sequence[InspectedContainer]]:
        all_containers = engine.inspected()
        return next(group for group in group_by_service(all_containers) if group.selector == selector), all_containers

    return find


def redeploy(engine: FakeDocker, run: FakeRun) -> Outcome:
    return redeploy_service(readiness(engine), finder(engine), run)


def scale_to(target: int) -> Verb:
    def scale(engine: FakeDocker, run: FakeRun) -> Outcome:
        return Scaler(readiness(engine), finder(engine), run).scale(target)

    return scale


def readiness(engine: FakeDocker) -> ReadinessCheck:
    ticks = itertools.count(step=10)
    return ReadinessCheck(api=engine.api, stable_s=3, drain_s=15, clock=lambda: float(next(ticks)))


def every_kill(case: Case, verb: Verb, age: int) -> list[tuple[int, FakeDocker, Outcome]]:
    """Run the verb, killed at each step in turn, and then again with the journal `age` saves before the last."""
    ends = []
    for step in itertools.count(1):
        engine, run = case.engine(), Recorded(kill_at=step)
        try:
            verb(engine, run)
        except Killed:
            journal = run.journals[max(0, len(run.journals) - 1 - age)]
            ends.append((step, engine, verb(engine, Recorded(journal=journal))))
        else:
            return ends
    raise AssertionError("unreachable")


def every_lost_database(case: Case) -> Iterator[tuple[int, FakeDocker, Outcome]]:
    """Redeploy, killed at each step in turn, and then again without the journal, as another action."""
    for step in itertools.count(1):
        engine = case.engine()
        try:
            redeploy(engine, Recorded(kill_at=step))
        except Killed:
            yield step, engine, redeploy(engine, RunOfAnotherAction())
        else:
            assert step > 7
            return


def shape(engine: FakeDocker) -> dict[str, tuple[str, str, str]]:
    """State, restart policy and image of every container by name."""
    return {name: (status, policy, image_id) for name, (_, status, policy, image_id) in engine.summary().items()}


def running_if_forgotten(
    found: Mapping[str, tuple[str, str, str]], *, forgotten: bool
) -> dict[str, tuple[str, str, str]]:
    """Take a paused container for a running one where only the journal knew that it had been paused."""
    return {
        name: ("running" if forgotten and status == "paused" else status, policy, image_id)
        for name, (status, policy, image_id) in found.items()
    }


CASES = {
    "running": (Case(), ("running", "running")),
    "without a restart policy": (Case(policy={"Name": "no", "MaximumRetryCount": 0}), ("running", "running")),
    "stopped": (Case(states=["exited", "exited"]), ("created", "created")),
    "one of two stopped": (Case(states=["running", "exited"]), ("running", "created")),
    "paused": (Case(states=["paused"]), ("paused",)),
    "crash-looping": (Case(states=["restarting"]), ("running",)),
}


@pytest.mark.parametrize("age", [0, 1])
@pytest.mark.parametrize("name", CASES)
def test_a_killed_redeploy_is_finished(name: str, age: int) -> None:
    case, states = CASES[name]
    wanted = {f"shop-web-{number}": (status, case.policy["Name"], NEW) for number, status in enumerate(states, start=1)}
    ends = every_kill(case, redeploy, age)
    assert len(ends) > 7
    for step, engine, outcome in ends:
        assert outcome.success, (step, outcome)
        assert running_if_forgotten(shape(engine), forgotten=age > 0) == running_if_forgotten(wanted, forgotten=age > 0)
        assert set(outcome.containers_after) == set(engine.all), step


@pytest.mark.parametrize("age", [0, 1])
@pytest.mark.parametrize("name", ["running", "without a restart policy", "one of two stopped"])
def test_a_killed_redeploy_that_fails_is_rolled_back(name: str, age: int) -> None:
    case, _ = CASES[name]
    case = Case(newest=CRASHING, states=case.states, policy=case.policy)
    before = case.engine().summary()
    ends = every_kill(case, redeploy, age)
    assert len(ends) > 7
    for step, engine, outcome in ends:
        assert not outcome.success, (step, outcome)
        assert outcome.rolled_back, step
        assert "shop-web-1 failed: it exited with 3" in outcome.reason or age, (step, outcome)
        assert engine.summary() == before, step
        assert outcome.containers_after == outcome.containers_before
        assert outcome.image_after == outcome.image_before


@pytest.mark.parametrize("name", CASES)
def test_a_lost_database_does_not_lose_the_service(name: str) -> None:
    case, states = CASES[name]
    for step, engine, outcome in every_lost_database(case):
        assert outcome.success
        found = shape(engine)
        assert set(found) == {f"shop-web-{number}" for number in range(1, len(states) + 1)}, step
        for number, status in enumerate(states, start=1):
            entry = found[f"shop-web-{number}"]
            assert entry[1:] == (case.policy["Name"], NEW), (step, entry)
            assert entry[0] == status or (entry[0], status) == ("running", "paused"), (step, entry)


def test_a_tag_that_moves_before_the_container_is_created_changes_nothing() -> None:
    engine = MovingTag()
    engine.add(1, "shop-web-1", status="running", host={"RestartPolicy": dict(ALWAYS)}, labels=compose_labels(1))
    before = engine.summary()
    with pytest.raises(EngineBusyError, match="changed on the engine while a container was created from it"):
        redeploy(engine, Recorded())
    assert engine.summary() == before


def test_scaling_up_adds_each_replica_once() -> None:
    case = Case(newest=image(0xA0))
    ends = every_kill(case, scale_to(4), 0)
    assert len(ends) >= 5
    for step, engine, outcome in ends:
        assert outcome.success, (step, outcome)
        assert shape(engine) == {f"shop-web-{number}": ("running", "always", OLD) for number in (1, 2, 3, 4)}, step
        assert set(outcome.containers_after) == set(engine.all)


def test_replicas_that_fail_are_removed() -> None:
    case = Case(newest=image(0xA0, Crashes=True))
    before = case.engine().summary()
    for step, engine, outcome in every_kill(case, scale_to(4), 0):
        assert not outcome.success, (step, outcome)
        assert engine.summary() == before, step
        assert outcome.containers_after == outcome.containers_before


@pytest.mark.parametrize("age", [0, 1])
def test_scaling_down_removes_the_highest_numbers(age: int) -> None:
    case = Case(states=["running"] * 4)
    for step, engine, outcome in every_kill(case, scale_to(2), age):
        assert outcome.success, (step, outcome)
        assert set(engine.summary()) == {"shop-web-1", "shop-web-2"}, step


@pytest.mark.parametrize("verb", ["rename", "stop", "start", "policy"])
def test_a_refused_step_of_a_rollback_is_reported(verb: str) -> None:
    engine = Case(newest=CRASHING).engine()

    class Refusing(Recorded):
        def save(self, journal: Mapping[str, object]) -> None:
            super().save(journal)
            if journal.get("phase") == "restore":
                engine.refuse = verb

    outcome = redeploy(engine, Refusing())
    assert not outcome.success
    assert not outcome.rolled_back
    assert "could not be restored" in outcome.reason
    # What can be done is done: the old ones run, unless that is what the engine refuses.
    running = [name for name, (_, status, _, _) in engine.summary().items() if status == "running"]
    assert len(running) == (1 if verb == "start" else 2)


@pytest.mark.parametrize("saves", [1, 2])
def test_a_redeploy_past_its_deadline_is_rolled_back(saves: int) -> None:
    engine = Case().engine()
    before = engine.summary()

    class Ending(Recorded):
        def remaining_s(self) -> float:
            return 60.0 if len(self.journals) <= saves else 0.0

    outcome = redeploy(engine, Ending())
    assert not outcome.success
    assert "it was not started" in outcome.reason
    assert engine.summary() == before


def test_a_scaling_past_its_deadline_adds_nothing() -> None:
    engine = Case(newest=image(0xA0)).engine()
    before = engine.summary()
    outcome = scale_to(4)(engine, Recorded(deadline_s=0))
    assert (outcome.success, outcome.reason) == (
        False,
        "shop-web-3 was not added, and the action did not end within 0 s",
    )
    assert engine.summary() == before


@pytest.mark.parametrize("crashes", [False, True], ids=["good", "bad"])
def test_a_container_that_somebody_else_gave_the_name_of_a_replica_stays(crashes: bool) -> None:
    case = Case(newest=image(0xA0, Crashes=crashes))
    for step in itertools.count(1):
        engine, run = case.engine(), Recorded(kill_at=step)
        try:
            scale_to(4)(engine, run)
        except Killed:
            pass
        else:
            break
        for raw in list(engine.all.values()):
            if raw["Name"] == "/shop-web-4":
                engine.remove_container(raw["Id"], v=True, force=True)
        theirs = engine.add(0xE0, "shop-web-4", labels=compose_labels(4))
        outcome = scale_to(4)(engine, Recorded(journal=run.journal))
        # Without a journal it counts as one of the service's own.
        assert outcome.success is (not run.journal and not crashes), (step, outcome)
        assert theirs in engine.all, step
    assert step > 3
