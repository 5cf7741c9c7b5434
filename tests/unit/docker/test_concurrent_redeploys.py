"""Two redeploys at once, of services one of which depends on the other."""

import itertools
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import pytest

from tests.support.runs import Killed
from tests.unit.docker.beds import (
    CRASHING,
    NEW,
    OLD,
    Recorded,
    RunOfAnotherAction,
    context_of,
    finder,
    redeploy,
    with_neighbours,
)
from tests.unit.docker.documents import compose_labels
from tests.unit.docker.fake_docker import FakeDocker
from tutumd.engines.docker.apply.redeploy import redeploy as redeploy_service
from tutumd.engines.docker.apply.redeploy import replaced_names
from tutumd.engines.docker.look.containers import InspectedContainer
from tutumd.engines.docker.look.services import ContainerGroup
from tutumd.errors import EngineRefusedError, EngineUnavailableError

OLD_NAME = "neighbour"


def parent_and_sidecar(*, pushed: bool = False) -> FakeDocker:
    """The service `shop-web-1` lives in the network of `parent`, which is another service."""
    engine = FakeDocker(pushed=pushed)
    parent = engine.add(9, "parent", networks={})
    engine.add(1, "shop-web-1", host={"NetworkMode": f"container:{parent}"}, labels=compose_labels(1), networks={})
    return engine


def gone() -> tuple[ContainerGroup, Sequence[InspectedContainer]]:
    raise EngineRefusedError("the service is gone")


def test_a_redeploy_takes_turns_for_all_that_it_replaces_also_when_it_is_resumed() -> None:
    engine = parent_and_sidecar()
    find = finder(engine, "name:parent")
    assert replaced_names(context_of(engine, Recorded()), find) == {"parent", "shop-web-1"}
    assert replaced_names(context_of(engine, Recorded()), finder(engine)) == {"shop-web-1"}

    class Interrupted(Recorded):
        def save(self, journal: Mapping[str, object]) -> None:
            super().save(journal)
            if journal["phase"] == "swap":
                raise Killed("before the first swap")

    run = Interrupted()
    with pytest.raises(Killed):
        redeploy_service(context_of(engine, run), find)
    assert replaced_names(context_of(engine, Recorded(journal=run.journal)), gone) == {"parent", "shop-web-1"}


def test_a_container_that_is_replaced_with_its_dependency_is_not_recovered() -> None:
    engine = parent_and_sidecar()
    # The redeploy of the other service parked this one, and created its successor, a moment ago.
    engine.add(10, "parent-tutum-prev-0f0f0f0f", networks={}, status="exited", finished=50)
    (old,) = [raw for raw in engine.all.values() if raw["Name"] == "/shop-web-1"]
    old["Name"], old["State"]["Status"] = "/shop-web-1-tutum-prev-0f0f0f0f", "exited"
    engine.add(11, "shop-web-1-tutum-next-0f0f0f0f", status="created", started=None, labels=compose_labels(1))
    before = engine.summary()
    with pytest.raises(EngineUnavailableError, match="is being redeployed at present"):
        redeploy(engine, Recorded())
    assert engine.summary() == before


@pytest.mark.parametrize("cut_off", [False, True], ids=["found out after the pull", "found out by another process"])
def test_a_redeploy_that_waits_for_a_dependency_undoes_its_preparation(*, cut_off: bool) -> None:
    engine = parent_and_sidecar(pushed=True)

    class Interrupted(Recorded):
        def check(self) -> None:
            if engine.tagged == NEW and "parent-tutum-next-0f0f0f0f" not in engine.summary():
                engine.add(10, "parent-tutum-next-0f0f0f0f", networks={})
                if cut_off:
                    raise Killed("after the pull")
            super().check()

    run = Interrupted()
    if cut_off:
        with pytest.raises(Killed):
            redeploy(engine, run)
        run = Interrupted(journal=run.journal)
    with pytest.raises(EngineUnavailableError, match="is being redeployed at present"):
        redeploy(engine, run)
    # An action that has a journal is never given up, and would wait for what was cut off forever.
    assert run.journal == {}
    assert engine.tagged == OLD
    assert "shop-web-1" in engine.summary()


def test_a_refused_preparation_removes_no_container_that_has_run() -> None:
    engine, run = parent_and_sidecar(), Recorded()
    # This action parked the container, and then its journal was lost with the database.
    (sidecar,) = [raw for raw in engine.all.values() if raw["Name"] == "/shop-web-1"]
    sidecar["Name"], sidecar["State"]["Status"] = f"/shop-web-1-tutum-prev-{run.action_uuid[:8]}", "exited"
    before = engine.summary()
    with pytest.raises(EngineUnavailableError, match="is being redeployed itself"):
        redeploy_service(context_of(engine, run), finder(engine, "name:parent"))
    assert engine.summary() == before


def test_an_image_that_another_redeploy_has_pulled_keeps_its_name() -> None:
    engine = parent_and_sidecar(pushed=True)

    class Interrupted(Recorded):
        def save(self, journal: Mapping[str, object]) -> None:
            super().save(journal)
            engine.add(10, "parent-tutum-next-0f0f0f0f", networks={})

    run = Interrupted()
    with pytest.raises(EngineUnavailableError):
        redeploy(engine, run)
    del engine.all[next(key for key, raw in engine.all.items() if "-tutum-next-" in raw["Name"])]
    # The neighbour's redeploy succeeded: the name means the new image, and rightly.
    engine.tagged = NEW
    engine.images_by_name[NEW]["Config"]["Crashes"] = True
    assert redeploy(engine, Recorded(journal=run.journal)).rolled_back
    assert engine.tagged == NEW


@pytest.mark.parametrize("newest", [None, CRASHING], ids=["good", "bad"])
def test_a_dependent_may_be_redeployed_at_any_moment(newest: Mapping[str, Any] | None) -> None:
    def redeploy_sidecar(engine: FakeDocker) -> None:
        find = finder(engine, "name:sidecar")
        with suppress(EngineUnavailableError):
            redeploy_service(context_of(engine, RunOfAnotherAction()), find)

    running = dict.fromkeys(with_neighbours().summary(), "running")
    for step in itertools.count(1):
        engine, run = with_neighbours(newest), Recorded(kill_at=step)
        for raw in engine.all.values():
            # Only the image of the service itself may be bad.
            raw["Config"]["Image"] = "app" if raw["Name"] == "/shop-web-1" else OLD_NAME
        engine.images_by_name[OLD_NAME] = engine.images_by_name[OLD]
        try:
            redeploy(engine, run)
            break
        except Killed:
            redeploy_sidecar(engine)
        following = Recorded(journal=run.journal)
        outcome = redeploy(engine, following)
        assert outcome.success or outcome.rolled_back, (step, outcome)
        assert {name: entry[1] for name, entry in engine.summary().items()} == running, step
        parent = engine.summary()["shop-web-1"][0]
        assert engine.all[engine.summary()["sidecar"][0]]["HostConfig"]["NetworkMode"] == f"container:{parent}", step
    assert step > 15
