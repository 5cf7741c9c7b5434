"""A server killed between any two steps of a run: the next one finishes it, or restores everything."""

import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from tests.support.runs import Killed
from tests.unit.docker.beds import (
    CRASHING,
    NEW,
    OLD,
    RESUMED,
    Case,
    EndingIn,
    Named,
    Recorded,
    every_kill,
    redeploy,
    shape,
    with_journal,
)
from tests.unit.docker.documents import ALWAYS, NO, compose_labels, identity
from tests.unit.docker.fake_docker import FakeDocker
from tutumd.errors import EngineBusyError
from tutumd.model import Phase

NAMED: dict[str, dict[str, Any]] = {
    "by its name": {"front": {}},
    "by its name and an alias": {"front": {"Aliases": ["www"]}, "back": {}},
    "by aliases as compose gives them": {"front": {"Aliases": ["shop-web-1", "web"]}},
}
REMOVED = Named(
    pushed=True, networks={"bridge": {}}, more={"AutoRemove": True, "NetworkMode": "bridge"}, policy={"Name": "no"}
)
FIXED_PORT = {"PortBindings": {"80/tcp": [{"HostPort": "8080"}]}}
# A case, and the states of its containers after a redeploy.
CASES: dict[str, tuple[Case, tuple[str, ...]]] = {
    "running": (Case(), ("running", "running")),
    "without a restart policy": (Case(policy=NO), ("running", "running")),
    "with a fixed port": (Case(states=["running"], more=FIXED_PORT), ("running",)),
    "stopped": (Case(states=["exited", "exited"]), ("created", "created")),
    "one of two stopped": (Case(states=["running", "exited"]), ("running", "created")),
    "paused": (Case(states=["paused"]), ("paused",)),
    "crash-looping": (Case(states=["restarting"]), ("running",)),
    "deleted by its stop": (REMOVED, ("running",)),
    **{
        f"found {how}{', swarm node' if in_swarm else ''}": (Named(networks=networks, in_swarm=in_swarm), ("running",))
        for how, networks in NAMED.items()
        for in_swarm in (False, True)
    },
}
START_FIRST = [name for name in CASES if name.startswith("found")]


def found_by(engine: FakeDocker, container: str) -> dict[str, set[str]]:
    """Return the aliases of a container by network."""
    networks = engine.all[container]["NetworkSettings"]["Networks"]
    return {network: set(endpoint.get("Aliases") or ()) for network, endpoint in networks.items()}


def check_found(engine: FakeDocker, case: Case, container: str, step: int = 0) -> None:
    """Check that clients find a new container, which has its name as an alias, too, and no other one."""
    networks = case.networks or {}
    wanted = {network: {*endpoint.get("Aliases", ()), "shop-web-1"} for network, endpoint in networks.items()}
    assert found_by(engine, container) == wanted, step
    assert engine.leads_to("shop-web-1") == {container}, step


@pytest.mark.parametrize("resumed", RESUMED)
@pytest.mark.parametrize("name", CASES)
def test_a_killed_redeploy_is_finished(name: str, resumed: str) -> None:
    case, states = CASES[name]
    # Only the journal knows that a container was paused.
    states = states if resumed == "journal" else tuple(state.replace("paused", "running") for state in states)
    wanted = {f"shop-web-{number}": (state, case.policy["Name"], NEW) for number, state in enumerate(states, start=1)}
    for step, engine, outcome in every_kill(case.engine, redeploy, RESUMED[resumed], least=7):
        assert outcome.success, (step, outcome)
        found = shape(engine)
        if resumed != "journal":
            found = {key: (entry[0].replace("paused", "running"), *entry[1:]) for key, entry in found.items()}
        assert found == wanted, step
        assert set(outcome.containers_after) == set(engine.all), step
        if name in START_FIRST:
            check_found(engine, case, outcome.containers_after[0], step)


@pytest.mark.parametrize("resumed", ["journal", "older journal"])
@pytest.mark.parametrize(
    "name", ["running", "with a fixed port", "without a restart policy", "one of two stopped", *START_FIRST]
)
def test_a_killed_redeploy_that_fails_is_rolled_back(name: str, resumed: str) -> None:
    case = replace(CASES[name][0], newest=CRASHING)
    before, networks = case.engine().summary(), found_by(case.engine(), identity(1))
    for step, engine, outcome in every_kill(case.engine, redeploy, RESUMED[resumed], least=7):
        assert not outcome.success, (step, outcome)
        assert outcome.rolled_back, step
        assert "shop-web-1 failed: it exited with 3" in outcome.reason or resumed != "journal", (step, outcome)
        assert engine.summary() == before, step
        assert found_by(engine, identity(1)) == networks, step
        assert outcome.containers_after == outcome.containers_before
        assert outcome.image_after == outcome.image_before


@pytest.mark.parametrize("refused", ["connect", "disconnect", "rename", "stop", "policy"])
@pytest.mark.parametrize("name", START_FIRST)
def test_a_start_first_redeploy_that_the_engine_refuses_is_rolled_back(name: str, refused: str) -> None:
    case, _ = CASES[name]
    before, networks = case.engine().summary(), found_by(case.engine(), identity(1))

    class Refusing(Recorded):
        def save(self, journal: Mapping[str, object]) -> None:
            super().save(journal)
            engine.refuse = "" if journal.get("phase") == "restore" else refused

    for step in itertools.count(1):
        engine, run = case.engine(), Refusing(kill_at=step)
        try:
            outcome = redeploy(engine, run)
        except Killed:
            engine.refuse = ""
            outcome = redeploy(engine, Recorded(journal=run.journal))
            if outcome.success:  # it was killed before the engine refused
                continue
        if outcome.success:
            assert refused in ("connect", "disconnect"), "nothing of this kind is done on the way"
            break
        assert outcome.rolled_back, (step, outcome)
        assert engine.summary() == before, step
        assert found_by(engine, identity(1)) == networks, step
        assert engine.leads_to("shop-web-1") == {identity(1)}, step
        if run.steps < step:
            break


@pytest.mark.parametrize("name", START_FIRST)
def test_clients_find_a_container_by_name_throughout_a_redeploy(name: str) -> None:
    case, _ = CASES[name]
    engine = case.engine()
    engine.watched = ("shop-web-1", *sorted(set().union(*found_by(engine, identity(1)).values())))
    outcome = redeploy(engine, Recorded())
    assert outcome.success, outcome
    (new,) = outcome.containers_after
    check_found(engine, case, new)
    for alias in engine.watched:
        assert engine.leads_to(alias) == {new}
    assert engine.unreachable == []


@pytest.mark.parametrize("name", START_FIRST)
def test_clients_find_one_of_the_two_throughout_a_rollback(name: str) -> None:
    engine = CASES[name][0].engine()
    before, networks = engine.summary(), found_by(engine, identity(1))

    class Failing(Recorded):
        def log(self, line: str, phase: Phase | None = None) -> None:
            super().log(line, phase)
            if line.startswith("giving the old containers"):
                engine.watched = ("shop-web-1", *sorted(set().union(*networks.values())))
                (new,) = engine.all.keys() - {identity(1)}
                engine.all[new]["State"]["Health"] = {"Status": "unhealthy"}

    outcome = redeploy(engine, Failing())
    assert outcome.rolled_back, outcome
    assert engine.summary() == before
    assert found_by(engine, identity(1)) == networks
    # Between two renames in a row no container has the name, which cannot be avoided.
    assert [gap for gap in engine.unreachable if gap != f"shop-web-1 before rename {identity(1)}"] == []


@pytest.mark.parametrize("left", [False, True], ids=["before the old one leaves", "after the old one left"])
@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ({"Status": "restarting", "ExitCode": 3}, "it exited with 3"),
        ({"Status": "exited", "ExitCode": 3}, "it exited with 3"),
        ({"Status": "running", "Health": {"Status": "unhealthy"}}, "it is unhealthy"),
    ],
)
def test_a_new_container_that_fails_at_the_end_is_rolled_back(
    state: Mapping[str, Any], reason: str, left: bool
) -> None:
    engine = Named().engine()
    before = engine.summary()
    (old,) = engine.all

    def fail(stopped: str = old) -> None:
        if stopped == old:
            (new,) = engine.all.keys() - {old}
            engine.all[new]["State"].update(state)

    class Failing(Recorded):
        def save(self, journal: Mapping[str, object]) -> None:
            super().save(journal)
            if journal["phase"] == "leave" and not left:
                fail()

    engine.on_stop = fail if left else engine.on_stop
    outcome = redeploy(engine, Failing())
    assert not outcome.success
    assert outcome.rolled_back, outcome
    assert outcome.reason == f"the new container of shop-web-1 failed: {reason}"
    assert engine.summary() == before
    assert engine.leads_to("shop-web-1") == {old}


def test_a_copy_replaces_a_container_that_its_stop_deleted() -> None:
    for step, engine, outcome in every_kill(replace(REMOVED, newest=CRASHING).engine, redeploy, with_journal):
        assert outcome.rolled_back, (step, outcome)
        (kept,) = outcome.containers_after
        assert engine.summary() == {"shop-web-1": (kept, "running", "no", OLD)}, step
        assert "shop-web-1 failed: it ended, and as it was started with --rm the engine deleted it" in outcome.reason
        assert "run the image without --rm to see why" in outcome.reason
        assert "a copy of it was put in its place" in outcome.reason or kept == outcome.containers_before[0]


def unchanged(label: str = "true") -> FakeDocker:
    engine = REMOVED.engine()
    (raw,) = engine.all.values()
    raw["Config"]["Labels"]["tutum.redeploy.skip-unchanged"] = label
    engine.newest = engine.tagged
    return engine


@pytest.mark.parametrize(("label", "wish"), [("true", None), ("false", True), ("true", False), ("false", None)])
def test_an_unchanged_service_is_left_alone_if_its_calls_or_its_label_say_so(label: str, wish: bool | None) -> None:
    engine = unchanged(label)
    before = engine.summary()
    outcome = redeploy(engine, Recorded(skip_unchanged=wish))
    may_skip = label == "true" if wish is None else wish
    assert outcome.success and outcome.reason.startswith("Skipped: ") is may_skip
    assert (engine.summary() == before) is may_skip, "no spare is kept either"


def test_variables_of_a_call_count_as_a_change() -> None:
    engine = unchanged()
    outcome = redeploy(engine, Recorded(variables={"GREETING": "hello"}))
    (new,) = outcome.containers_after
    assert outcome.success
    assert "GREETING=hello" in engine.all[new]["Config"]["Env"]


def test_no_spare_is_kept_of_a_container_that_was_never_stopped() -> None:
    engine = REMOVED.engine()
    before = engine.summary()
    outcome = redeploy(engine, EndingIn("swap"))
    assert outcome.rolled_back, outcome
    assert engine.summary() == before
    assert outcome.containers_after == outcome.containers_before


class MovingTag(FakeDocker):
    """An engine on which somebody moves the tag back just before a container is created."""

    def create_container_from_config(self, config: Mapping[str, Any], name: str, platform: str) -> Any:
        self.tagged = OLD
        return super().create_container_from_config(config, name, platform)


def test_a_tag_that_moves_before_the_container_is_created_changes_nothing() -> None:
    engine = MovingTag()
    engine.add(1, "shop-web-1", status="running", host={"RestartPolicy": dict(ALWAYS)}, labels=compose_labels(1))
    before = engine.summary()
    with pytest.raises(EngineBusyError, match="changed on the engine while a container was created from it"):
        redeploy(engine, Recorded())
    assert engine.summary() == before


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
