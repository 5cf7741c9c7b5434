"""A server killed between any two steps of a rollback to an image: the next one finishes it, or restores everything."""

from collections.abc import Callable

import pytest

from tests.support.runs import FakeRun
from tests.unit.docker.beds import CRASHING, NEW, OLD, RESUMED, Case, Named, Recorded, every_kill, redeploy, shape
from tests.unit.docker.documents import ALWAYS
from tests.unit.docker.fake_docker import FakeDocker
from tutumd.engines.labels import IMAGE_BASE
from tutumd.errors import EngineRefusedError
from tutumd.model import Outcome, WantedImage

NAME = f"app@{NEW}"
CASES = {
    "start-first": (Named(pushed=True), ("running",)),
    "two in turn": (Case(pushed=True), ("running", "running")),
    "stopped": (Case(pushed=True, states=["exited", "exited"]), ("created", "created")),
}


def started(case: Case, *, is_here: bool) -> Callable[[], FakeDocker]:
    """Return the start of an engine on which `app` is the image that runs, and whose registry has the other one."""

    def start() -> FakeDocker:
        engine = case.engine()
        engine.in_registry.add(NAME)
        if is_here:
            engine.images_by_name[NAME] = engine.images_by_name[NEW]
        else:
            engine.pulled = {NAME: engine.images_by_name.pop(NEW)}
        return engine

    return start


def roll_back(engine: FakeDocker, run: FakeRun) -> Outcome:
    run.image = WantedImage(number=1, digest=NEW)
    return redeploy(engine, run)


@pytest.mark.parametrize("resumed", RESUMED)
@pytest.mark.parametrize("is_here", [True, False], ids=["here", "pulled"])
@pytest.mark.parametrize("name", CASES)
def test_a_killed_rollback_is_finished(name: str, resumed: str, *, is_here: bool) -> None:
    case, states = CASES[name]
    wanted = {f"shop-web-{number}": (state, ALWAYS["Name"], NEW) for number, state in enumerate(states, start=1)}
    for step, engine, outcome in every_kill(started(case, is_here=is_here), roll_back, RESUMED[resumed], least=7):
        assert outcome.success, (step, outcome)
        assert shape(engine) == wanted, step
        assert engine.tagged == OLD, "no tag has moved"
        for raw in engine.all.values():
            assert (raw["Config"]["Image"], raw["Config"]["Labels"][IMAGE_BASE]) == (NAME, "app"), step


@pytest.mark.parametrize("resumed", RESUMED)
def test_a_killed_rollback_that_fails_restores_what_ran(resumed: str) -> None:
    case = Named(pushed=True, newest=CRASHING)
    for step, engine, outcome in every_kill(started(case, is_here=True), roll_back, RESUMED[resumed], least=7):
        assert not outcome.success, step
        assert shape(engine) == {"shop-web-1": ("running", ALWAYS["Name"], OLD)}, step
        assert engine.tagged == OLD, step


def test_an_image_that_is_gone_everywhere_leaves_everything_as_it_is() -> None:
    for image in (WantedImage(number=1, digest=f"sha256:{'9' * 64}"), WantedImage(number=1, image_id="sha256:9")):
        engine = Named(pushed=True).engine()
        before, run = engine.summary(), Recorded(image=image)
        with pytest.raises(EngineRefusedError, match=r"manifest unknown|image #1 is gone from this engine"):
            redeploy(engine, run)
        assert (engine.summary(), run.journal) == (before, {})
