"""Two installations that change one service at once, switched at random steps: each action succeeds in its turn."""

import random
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from threading import Semaphore, Thread
from typing import Any

import pytest

from tests.support.runs import FakeRun, Killed
from tests.unit.docker.beds import NEW, Case, Named, Recorded, context_of, finder
from tests.unit.docker.documents import EPOCH, inspected
from tests.unit.docker.fake_docker import FakeDocker
from tests.unit.docker.test_meddling import states
from tutumd.engines.docker.api import DockerApi
from tutumd.engines.docker.apply.redeploy import redeploy as redeploy_service
from tutumd.engines.docker.apply.redeploy import start_containers, stop_containers
from tutumd.engines.docker.apply.scale import Scaler
from tutumd.engines.docker.look.other_installations import describe_other_installations, require_free, undisturbed
from tutumd.engines.docker.look.readiness import ActionContext
from tutumd.engines.docker.look.services import FindGroup
from tutumd.errors import EngineBusyError, EngineRefusedError
from tutumd.model import Outcome, RunLimits

LIMITS = RunLimits(timeout_s=1_000)
Act = Callable[[ActionContext, FindGroup], Outcome]


class Turns:
    """Lets one of several threads run at a time, and another one go on at each step."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._steadiness = self._random.choice([0.0, 0.7, 0.95])
        self._gates: dict[str, Semaphore] = {}

    def play(self, actors: Mapping[str, Callable[[], None]]) -> None:
        """Run the actors to their ends."""
        threads = [Thread(target=self._act, args=(name, act)) for name, act in actors.items()]
        self._gates = {name: Semaphore(0) for name in actors}
        for thread in threads:
            thread.start()
        self._pass_on()
        for thread in threads:
            thread.join()

    def switch(self, name: str) -> None:
        """Go on with another actor now and then: mostly one does several steps while the others wait."""
        if self._random.random() < self._steadiness:
            return
        gate = self._gates[name]
        self._pass_on()
        gate.acquire()

    def _act(self, name: str, act: Callable[[], None]) -> None:
        self._gates[name].acquire()
        try:
            act()
        finally:
            # An actor with several threads may have passed on more than one turn to this one.
            gate = self._gates.pop(name)
            self._pass_on()
            while gate.acquire(blocking=False):
                self._pass_on()

    def _pass_on(self) -> None:
        if self._gates:
            self._random.choice(list(self._gates.values())).release()


class Installation:
    """One installation on a common engine, with an action that it tries until it ends."""

    def __init__(self, name: str, engine: FakeDocker, turns: Turns, act: Act, action: str) -> None:
        client: Any = Client(engine, turns, name)
        self.engine, self.turns, self.act = engine, turns, act
        self.name, self.action = name, action
        self.api = DockerApi(client, "/nonexistent", name)
        self.tries = 0
        self.outcome: Outcome | None = None
        self.error = ""

    def perform(self) -> None:
        """Perform the action, tried again whenever the other one is at work."""
        journal: Mapping[str, object] = {}
        while self.outcome is None and self.tries < 300:
            self.tries += 1
            run = Recorded(action_uuid=self.action, journal=journal)
            find = partial(require_free, self._find, self.api, run, LIMITS)
            try:
                self.outcome = self.act(context_of(self.engine, run, api=self.api), find)
            except EngineBusyError as error:
                self.error = str(error)
                journal = run.journal
                self.turns.switch(self.name)
            except EngineRefusedError as error:
                self.outcome = Outcome(success=False, reason=str(error))

    def _find(self) -> Any:
        self.turns.switch(self.name)
        return finder(self.engine)()


class Client:
    """The client of one installation: before each of its requests, the other installation may go on."""

    def __init__(self, engine: FakeDocker, turns: Turns, name: str) -> None:
        self._engine, self._turns, self._name = engine, turns, name

    def __getattr__(self, attribute: str) -> Any:
        value = getattr(self._engine, attribute)
        if callable(value) and attribute.isidentifier() and not attribute.startswith("_"):
            self._turns.switch(self._name)
        return value


def redeploy(context: ActionContext, find: FindGroup) -> Outcome:
    if not context.run.journal:
        find()
    return redeploy_service(context, find)


def stop(context: ActionContext, find: FindGroup) -> Outcome:
    return undisturbed(stop_containers(context, find()[0].containers), find, context.run)


def start(context: ActionContext, find: FindGroup) -> Outcome:
    return undisturbed(start_containers(context, find()[0].containers), find, context.run)


def scale_up(context: ActionContext, find: FindGroup) -> Outcome:
    return Scaler(context, find).scale(3)


def scale_down(context: ActionContext, find: FindGroup) -> Outcome:
    return Scaler(context, find).scale(1)


def play(engine: FakeDocker, seed: int, *acts: Act) -> list[Installation]:
    turns = Turns(seed)
    names = ("one", "two", "three")
    installations = [
        Installation(name, engine, turns, act, f"{number:08x}-0000")
        for number, (name, act) in enumerate(zip(names, acts, strict=False), start=0xA1)
    ]
    turns.play({each.name: each.perform for each in installations})
    for each in installations:
        assert each.outcome is not None, (seed, each.name, each.error)
        assert each.outcome.success, (seed, each.name, each.outcome)
    return installations


CASES = {"stop-first": Case(), "start-first": Named(), "one": Case(states=["running"])}


@pytest.mark.parametrize("seed", range(15))
@pytest.mark.parametrize("case", CASES)
def test_two_redeploys_of_one_service_take_turns(case: str, seed: int) -> None:
    engine = CASES[case].engine()
    before = states(engine)
    play(engine, seed, redeploy, redeploy)
    assert states(engine) == dict.fromkeys(before, ("running", NEW)), seed


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("other", [stop, start, scale_up, scale_down], ids=["stop", "start", "up", "down"])
def test_another_verb_waits_for_a_redeploy(other: Act, seed: int) -> None:
    engine = CASES["stop-first"].engine()
    for raw in engine.all.values():  # a replica is of the image that the others run
        raw["Image"] = NEW
    play(engine, seed, redeploy, other)
    numbers: dict[Act, int] = {scale_up: 3, scale_down: 1}
    assert len(engine.all) == numbers.get(other, 2), (seed, states(engine))
    assert not [name for name in engine.summary() if "-tutum-" in name], seed
    ended = {status for status, _ in states(engine).values()}
    assert ("running" in ended) is (other is not stop), (seed, states(engine))


def context_in(installation: str, engine: FakeDocker, run: FakeRun, timeout_s: float = 0) -> ActionContext:
    """Return the context of a run of an installation."""
    client: Any = engine
    api = DockerApi(client, "/nonexistent", installation, timeout_s)
    return context_of(engine, run, api=api)


def left_by(installation: str, step: int, timeout_s: float = 0) -> FakeDocker:
    """Return an engine with a redeploy that an installation began, and in which it was killed."""
    engine = CASES["one"].engine()
    with pytest.raises(Killed):
        run = Recorded(action_uuid="dead0000-0000", kill_at=step)
        redeploy_service(context_in(installation, engine, run, timeout_s), finder(engine))
    assert [name for name in engine.summary() if name.endswith("-dead0000")], engine.summary()
    return engine


@pytest.mark.parametrize("step", [5, 8, 11])
def test_what_a_dead_installation_left_is_cleared_up_once_a_redeploy_cannot_take_longer(step: int) -> None:
    engine, run = left_by("dead", step), Recorded(action_uuid="beef0000-0000")
    left, context = engine.summary(), context_in("alive", engine, run)
    find = partial(require_free, finder(engine), context.api, run, LIMITS)
    with pytest.raises(EngineBusyError, match=r"another tutumd is redeploying web .*2026-01-01 00:\d\d UTC"):
        redeploy_service(context, find)
    assert engine.summary() == left
    engine.now += 1_000 + 40
    assert redeploy_service(context, find).success
    assert states(engine) == {"shop-web-1": ("running", NEW)}


@pytest.mark.parametrize(("its_timeout_s", "longer_s"), [(3_600.0, 3_600), (60.0, 1_000)])
def test_an_installation_is_alive_for_the_longer_one_of_its_limit_and_the_own(
    its_timeout_s: float, longer_s: float
) -> None:
    engine, run = left_by("other", 8, its_timeout_s), Recorded(action_uuid="beef0000-0000")

    def find() -> None:
        require_free(finder(engine), context_in("mine", engine, run).api, run, LIMITS)

    engine.now += longer_s - 60
    with pytest.raises(EngineBusyError, match="another tutumd is redeploying web"):
        find()
    engine.now += 60 + 40
    find()


def test_an_installation_continues_what_it_began_itself_under_whatever_action() -> None:
    engine, run = left_by("mine", 12), Recorded(action_uuid="beef0000-0000")
    context = context_in("mine", engine, run)
    assert redeploy_service(context, partial(require_free, finder(engine), context.api, run, LIMITS)).success


def test_other_installations_are_described_for_a_week() -> None:
    now = (datetime.now(UTC) - EPOCH).total_seconds()

    def made(number: int, by: str, age_s: float = 60) -> Any:
        labels = {"tutum.action": "a1", "tutum.installation": by}
        return inspected(number, f"web-{number}", labels=labels, created=now - age_s)

    assert describe_other_installations([made(1, "mine.docker"), inspected(2, "db")], "mine.docker") == ""
    assert describe_other_installations([made(1, "mine.old-name")], "mine.docker") == "", "the engine was renamed"
    assert describe_other_installations([made(1, "other.docker", 8 * 86_400)], "mine.docker") == ""
    assert describe_other_installations([made(1, "other.docker")], "") == ""
    others = [made(number, "other.docker") for number in range(1, 6)]
    told = "another tutumd installation redeploys on this engine: web-1, web-2, web-3 and others"
    assert describe_other_installations(others, "mine.docker") == told
