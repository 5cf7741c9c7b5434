"""Replicas: each is added or removed once, also after a kill at any step."""

import itertools

import pytest

from tests.support.runs import Killed
from tests.unit.docker.beds import OLD, RESUMED, Case, Recorded, every_kill, scale_to, shape, with_journal
from tests.unit.docker.documents import compose_labels, image


def test_scaling_up_adds_each_replica_once() -> None:
    case = Case(newest=image(0xA0))
    for step, engine, outcome in every_kill(case.engine, scale_to(4), with_journal):
        assert outcome.success, (step, outcome)
        assert shape(engine) == {f"shop-web-{number}": ("running", "always", OLD) for number in (1, 2, 3, 4)}, step
        assert set(outcome.containers_after) == set(engine.all)


def test_replicas_that_fail_are_removed() -> None:
    case = Case(newest=image(0xA0, Crashes=True))
    before = case.engine().summary()
    for step, engine, outcome in every_kill(case.engine, scale_to(4), with_journal):
        assert not outcome.success, (step, outcome)
        assert engine.summary() == before, step
        assert outcome.containers_after == outcome.containers_before


@pytest.mark.parametrize("resumed", ["journal", "older journal"])
def test_scaling_down_removes_the_highest_numbers(resumed: str) -> None:
    case = Case(states=["running"] * 4)
    for step, engine, outcome in every_kill(case.engine, scale_to(2), RESUMED[resumed], least=2):
        assert outcome.success, (step, outcome)
        assert set(engine.summary()) == {"shop-web-1", "shop-web-2"}, step


def test_a_scaling_past_its_deadline_adds_nothing() -> None:
    engine = Case(newest=image(0xA0)).engine()
    before = engine.summary()
    outcome = scale_to(4)(engine, Recorded(deadline_s=0))
    assert outcome.reason == "shop-web-3 was not added, and the action did not end within 0 s"
    assert not outcome.success
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
