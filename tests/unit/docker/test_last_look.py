"""The verdict of a redeploy comes from its new containers, in whatever phase it is resumed."""

import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from tests.support.runs import Killed
from tests.unit.docker.beds import NEW, OLD, Case, EndingIn, Named, Recorded, context_of, finder, redeploy
from tests.unit.docker.documents import identity, image, inspected
from tests.unit.docker.fake_docker import FakeDocker
from tutumd.engines.docker.apply.redeploy import redeploy as redeploy_service
from tutumd.engines.docker.look.readiness import assess
from tutumd.errors import EngineRefusedError
from tutumd.model import Outcome

CASES = {"stop-first": Case(states=["running"]), "start-first": Named(), "two": Case()}


def end(engine: FakeDocker, new: str, how: str) -> None:
    """Let somebody else end a container."""
    if how == "removed":
        engine.remove_container(new, v=True, force=True)
    else:
        engine.request("POST", f"/containers/{new}/stop")
        engine.all[new]["State"]["ExitCode"] = 137


@pytest.mark.parametrize("how", ["removed", "killed"])
@pytest.mark.parametrize("name", CASES)
def test_a_new_container_that_ended_while_no_server_ran_is_no_success(name: str, how: str) -> None:
    superseded = image(0xE0, digests=[f"app@sha256:{identity(0xE0)}"])
    ends = []
    for step in itertools.count(1):
        engine, run = CASES[name].engine(), Recorded(kill_at=step, pulled=superseded["RepoDigests"])
        # Its removal is one more step, after that of the old containers.
        engine.dangling = (superseded,)
        before = engine.summary()
        try:
            redeploy(engine, run)
        except Killed:
            news = [
                key for key, raw in engine.all.items() if (raw["Image"], raw["State"]["Status"]) == (NEW, "running")
            ]
        else:
            break
        for new in news[:1]:
            end(engine, new, how)
        olds = {owner for owner, *_ in before.values()} & engine.all.keys()
        outcome = redeploy(engine, Recorded(journal=run.journal, pulled=superseded["RepoDigests"]))
        assert outcome.success is not bool(news), (step, outcome)
        assert set(outcome.containers_after) == set(engine.all), step
        assert bool(outcome.image_after) is bool(outcome.containers_after), step
        if not news:
            continue
        ends.append(outcome.rolled_back)
        reason = "it was removed by somebody else" if how == "removed" else "it exited with 137"
        assert reason in outcome.reason, step
        assert outcome.rolled_back is (len(olds) == len(before)), (step, outcome)
        if outcome.rolled_back:
            assert engine.summary() == before, step
        else:
            assert "is gone already and could not be restored" in outcome.reason, step
    assert set(ends) == {True, False}


def test_a_service_whose_new_container_ends_while_the_old_one_is_removed_is_restored() -> None:
    class Ending(FakeDocker):
        def remove_container(self, reference: str, *, v: bool, force: bool) -> None:
            super().remove_container(reference, v=v, force=force)
            for new in [key for key, raw in self.all.items() if raw["Image"] == NEW]:
                self.all[new]["State"].update(Status="exited", ExitCode=7)

    engine = Ending()
    engine.add(1, "web")
    outcome = redeploy_named(engine)
    assert not outcome.success
    assert "it exited with 7" in outcome.reason
    assert "a copy of it was put in its place, without the files" in outcome.reason
    assert (outcome.image_after, outcome.containers_after) == (OLD, tuple(engine.all))


def redeploy_named(engine: FakeDocker, run: Recorded | None = None) -> Outcome:
    return redeploy_service(context_of(engine, run or Recorded()), finder(engine, "name:web"))


class Restarted(FakeDocker):
    """An engine on which a new container has exited, and runs again."""

    def start(self, reference: str) -> None:
        super().start(reference)
        self.all[reference]["RestartCount"] = 3
        self.all[reference]["State"]["FinishedAt"] = self.all[reference]["State"]["StartedAt"]


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [({"exitCode": "7"}, "it exited with 7, restarted 3 times"), (None, "it exited, restarted 3 times")],
)
def test_a_restart_of_a_new_container_is_a_failure_with_its_exit_code(
    attributes: Mapping[str, str] | None, reason: str
) -> None:
    engine = Restarted()
    engine.add(1, "web")

    class Told(Recorded):
        def advance(self, kind: str, count: int) -> None:
            if attributes is not None and kind.endswith(" ran"):
                engine.events = [{"Actor": {"ID": kind.removesuffix(" ran"), "Attributes": attributes}}]

    outcome = redeploy_named(engine, Told())
    assert outcome.rolled_back
    assert outcome.reason == f"the new container of web failed: {reason}"


@pytest.mark.parametrize(("looks", "success"), [(1, True), (9, False)], ids=["for a moment", "for longer"])
def test_an_unhealthy_container_is_believed_only_at_a_second_look(looks: int, success: bool) -> None:
    class Failing(FakeDocker):
        left = looks

        def inspect_container(self, reference: str) -> Any:
            raw: dict[str, Any] = dict(super().inspect_container(reference))
            if raw["Image"] == NEW and raw["State"]["Status"] == "running":
                raw["State"]["Health"] = {"Status": "unhealthy" if self.left > 0 else "healthy"}
                self.left -= 1
            return raw

    engine = Failing()
    engine.add(1, "web")
    ticks = itertools.count()
    context = context_of(engine, Recorded(), stable_s=0, drain_s=0, clock=lambda: next(ticks) / 4)
    outcome = redeploy_service(context, finder(engine, "name:web"))
    assert outcome.success is success, outcome


def test_a_new_container_that_is_restarted_by_hand_is_no_failure() -> None:
    class Interrupted(FakeDocker):
        looks = 0

        def inspect_container(self, reference: str) -> Any:
            raw: dict[str, Any] = dict(super().inspect_container(reference))
            if raw["Image"] == NEW and raw["State"]["Status"] == "running":
                self.looks += 1
                if self.looks == 3:
                    raw["State"] = {**raw["State"], "Status": "exited", "ExitCode": 137}
            return raw

    engine = Interrupted()
    engine.add(1, "web")
    ticks = itertools.count()
    context = context_of(engine, Recorded(), stable_s=2, drain_s=0, clock=lambda: next(ticks) / 4)
    outcome = redeploy_service(context, finder(engine, "name:web"))
    assert engine.looks > 3
    assert outcome.success, outcome


def test_a_cancel_leaves_new_containers_that_nobody_has_watched_no_success() -> None:
    engine = Case(states=["running"]).engine()
    before = engine.summary()
    killed = Recorded(kill_at=1)
    while killed.journal.get("phase") != "commit":
        engine, killed = Case(states=["running"]).engine(), Recorded(kill_at=killed.steps + 1)
        with pytest.raises(Killed):
            redeploy(engine, killed)
    ticks = itertools.count()
    run = EndingIn("commit", killed.journal)
    outcome = redeploy_service(context_of(engine, run, drain_s=0, clock=lambda: next(ticks) / 4), finder(engine))
    assert (outcome.success, outcome.rolled_back) == (False, True)
    assert "it is not running steadily yet" in outcome.reason
    assert engine.summary() == before


def test_a_resumed_redeploy_replaces_no_container_that_cannot_be_inspected() -> None:
    engine = Case(states=["running"]).engine()
    before = engine.summary()
    killed = Recorded(kill_at=1)
    while killed.journal.get("phase") != "pull":
        killed = Recorded(kill_at=killed.steps + 1)
        with pytest.raises(Killed):
            redeploy(engine, killed)

    def find() -> Any:
        group, containers = finder(engine)()
        slots = tuple(replace(slot, members=(replace(slot.container, fault="RWLayer is nil"),)) for slot in group.slots)
        return replace(group, slots=slots), containers

    with pytest.raises(EngineRefusedError, match=r"cannot be inspected, so it was left as it is: .*RWLayer is nil"):
        redeploy_service(context_of(engine, Recorded(journal=killed.journal)), find)
    assert engine.summary() == before


@pytest.mark.parametrize("has_clients", [True, False])
def test_old_containers_are_kept_only_for_clients(has_clients: bool) -> None:
    engine, run = Named().engine(), Recorded()
    engine.has_clients = has_clients
    assert redeploy(engine, run).success
    kept = [line for line in run.lines if line.startswith("keeping both containers for 15 s")]
    assert bool(kept) is has_clients


def test_a_label_keeps_the_old_container_whoever_is_there() -> None:
    engine, run = Named().engine(), Recorded()
    engine.has_clients = False
    for raw in engine.all.values():
        raw["Config"]["Labels"]["tutum.redeploy.drain"] = "4.5"
    assert redeploy(engine, run).success
    assert "keeping both containers for 4.5 s, so that proxies look the name up again" in run.lines


@pytest.mark.parametrize(
    ("document", "held_s", "expected"),
    [
        ({"status": "running"}, 2.9, None),
        ({"status": "running"}, 3.0, ""),
        ({"status": "running", "health": "starting"}, 99, None),
        ({"status": "running", "health": "healthy"}, 2.9, None),
        ({"status": "running", "health": "healthy"}, 3.0, ""),
        ({"status": "running", "health": "unhealthy"}, 0, None),
        ({"status": "running", "health": "unhealthy"}, 2, "it is unhealthy: checked"),
        ({"status": "running", "restarts": 2, "exit_code": 7}, 99, "it exited with 7, restarted 2 times"),
        ({"status": "restarting", "exit_code": 3, "restarts": 1}, 0, "it exited with 3, restarted once"),
        ({"status": "exited", "exit_code": 0}, 1.4, None),
        ({"status": "exited", "exit_code": 0}, 1.5, "it exited with 0"),
        ({"status": "paused"}, 0, ""),
        ({"status": "paused", "health": "unhealthy"}, 9, ""),
        ({"status": "created", "started": None}, 0, None),
    ],
)
def test_a_new_container_is_assessed(document: dict[str, Any], held_s: float, expected: str | None) -> None:
    container = inspected(2, "web", **document)
    assert assess(container, held_s, 3.0, 1.5, exit_code=container.exit_code) == expected
