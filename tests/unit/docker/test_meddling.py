"""Somebody else removes, renames or creates containers in the middle of a redeploy."""

import itertools
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import pytest

from tests.support.runs import Killed
from tests.unit.docker.beds import CRASHING, NEW, OLD, Case, Named, Recorded, redeploy
from tests.unit.docker.documents import compose_labels, container
from tests.unit.docker.fake_docker import FakeDocker
from tests.unit.docker.test_last_look import end
from tutumd.errors import EngineUnavailableError

STRANGER = "f" * 64
CASES = {"start-first": Named(networks={"front": {"Aliases": ["www"]}}), "stop-first": Case(states=["running"])}
WEB = "shop-web-1"


def states(engine: FakeDocker) -> dict[str, tuple[str, str]]:
    """State and image of each container by name."""
    return {name: (status, image) for name, (_, status, _, image) in engine.summary().items()}


class Meddled(Recorded):
    """A run before a step of which somebody else acts, at most once."""

    def __init__(self, engine: FakeDocker, step: int, act: Callable[[FakeDocker], None]) -> None:
        super().__init__()
        self._engine, self._step, self._act = engine, step, act
        self.has_acted, self.acted_in = False, ""

    def check(self) -> None:
        super().check()
        if self.steps == self._step:
            self.has_acted, self.acted_in = True, str(self.journal.get("phase"))
            self._act(self._engine)


def create_again(engine: FakeDocker) -> None:
    raw = container(0xF, WEB, created=engine.now, started=engine.now, labels=compose_labels(1))
    raw["Id"] = STRANGER
    engine.all[STRANGER] = raw


def remove_and_create(engine: FakeDocker) -> None:
    """docker rm -f NAME; docker run --name NAME"""
    for key in [key for key, raw in engine.all.items() if raw["Name"] == f"/{WEB}"]:
        engine.remove_container(key, v=True, force=True)
    create_again(engine)


def rename_and_create(engine: FakeDocker) -> None:
    """docker rename NAME kept; docker run --name NAME"""
    for raw in engine.all.values():
        if raw["Name"] == f"/{WEB}":
            raw["Name"] = "/kept"
    create_again(engine)


@pytest.mark.parametrize("act", [remove_and_create, rename_and_create])
@pytest.mark.parametrize("case", CASES)
def test_a_container_that_somebody_creates_in_its_place_is_left_alone(
    case: str, act: Callable[[FakeDocker], None]
) -> None:
    phases = set()
    for step in itertools.count(1):
        engine = CASES[case].engine()
        run = Meddled(engine, step, act)
        outcome = None
        with suppress(EngineUnavailableError):  # before anything changed: it begins anew
            outcome = redeploy(engine, run)
        if not run.has_acted:
            break
        running = {raw["Id"]: raw["Name"] for raw in engine.all.values() if raw["State"]["Status"] == "running"}
        assert {key for key, name in running.items() if name != "/kept"} == {STRANGER}, (step, outcome)
        assert not [name for name in engine.summary() if "-tutum-next-" in name], (step, outcome)
        if outcome is not None:
            assert not outcome.success, (step, outcome)
            assert "somebody else" in outcome.reason, (step, outcome)
            phases.add(run.acted_in)
    assert phases >= {"swap", "commit"}


@pytest.mark.parametrize("how", ["removed", "killed"])
@pytest.mark.parametrize("case", CASES)
def test_a_service_of_which_somebody_else_ends_the_new_container_is_restored(case: str, how: str) -> None:
    def end_new(engine: FakeDocker) -> None:
        for new in [key for key, raw in engine.all.items() if raw["Image"] == NEW]:
            end(engine, new, how)

    before = states(CASES[case].engine())
    for step in itertools.count(1):
        engine = CASES[case].engine()
        run = Meddled(engine, step, end_new)
        with suppress(EngineUnavailableError):
            outcome = redeploy(engine, run)
            if not run.has_acted:
                break
            if not outcome.success:
                assert states(engine) == before, (step, outcome)
                assert set(outcome.containers_after) == set(engine.all), (step, outcome)
    assert step > 10


def test_a_new_container_that_is_removed_with_the_old_one_leaves_a_copy_of_the_old_one() -> None:
    class Recreating(FakeDocker):
        def remove_container(self, reference: str, *, v: bool, force: bool) -> None:
            super().remove_container(reference, v=v, force=force)
            for new in [key for key, raw in self.all.items() if raw["Image"] == NEW]:
                del self.all[new]

    engine = Recreating()
    engine.add(1, WEB, labels=compose_labels(1), config={"Image": "app", "Env": ["TOKEN=s3cret"]})
    run = Recorded()
    outcome = redeploy(engine, run)
    assert not outcome.success
    assert "a copy of it was put in its place" in outcome.reason
    assert states(engine) == {WEB: ("running", OLD)}
    (copy,) = engine.all.values()
    assert copy["Config"]["Env"] == ["TOKEN=s3cret"]
    assert "s3cret" not in str(run.journals), "the database would store what may be a secret"
    assert outcome.containers_after == (copy["Id"],)


@pytest.mark.parametrize("case", CASES)
def test_a_failed_redeploy_restores_the_networks_exactly(case: str) -> None:
    """Whatever the step at which a new container ends, and also if the worker was killed there."""

    def networks(engine: FakeDocker) -> object:
        return {raw["Id"]: raw["NetworkSettings"] for raw in engine.all.values()}

    for newest, plain in itertools.product((None, CRASHING), (False, True)):
        named = replace(CASES[case], newest=newest)
        if plain and isinstance(named, Named):
            named = replace(named, networks={"front": {}})
        before = networks(named.engine())
        for step in itertools.count(1):
            engine, run = named.engine(), Recorded(kill_at=step)
            try:
                redeploy(engine, run)
                break
            except Killed:
                for new in [key for key, raw in engine.all.items() if raw["Image"] == NEW]:
                    end(engine, new, "killed")
                outcome = redeploy(engine, Recorded(journal=run.journal))
            if outcome.rolled_back:
                assert networks(engine) == before, (step, outcome)
