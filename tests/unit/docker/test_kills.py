"""A server killed between any two steps of a run: the next one finishes it, or restores everything."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from tests.support.runs import Killed
from tests.unit.docker.beds import (
    CRASHING,
    NEW,
    OLD,
    Case,
    EndingIn,
    Named,
    Recorded,
    every_kill,
    redeploy,
    scale_to,
    shape,
    with_journal,
    with_neighbours,
    with_older_journal,
    without_journal,
)
from tests.unit.docker.documents import ALWAYS, NO, compose_labels, identity, image
from tests.unit.docker.fake_docker import FakeDocker
from tutumd.errors import EngineBusyError, EngineUnavailableError
from tutumd.model import Phase

RESUMED = {"journal": with_journal, "older journal": with_older_journal, "lost database": without_journal}
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


def unchanged() -> FakeDocker:
    engine = REMOVED.engine()
    (raw,) = engine.all.values()
    raw["Config"]["Labels"]["tutum.redeploy.skip-unchanged"] = "true"
    engine.newest = engine.tagged
    return engine


def test_an_unchanged_service_keeps_no_spare() -> None:
    engine = unchanged()
    before = engine.summary()
    outcome = redeploy(engine, Recorded())
    assert outcome.reason.startswith("skipped")
    assert engine.summary() == before


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


NAMES = ("shop-web-1", "sidecar", "linker")


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """A service with dependents, one of which may be stopped."""

    policy: Mapping[str, Any] = field(default_factory=lambda: ALWAYS)
    stopped: str = ""
    newest: Mapping[str, Any] | None = None

    def engine(self) -> FakeDocker:
        engine = with_neighbours(self.newest)
        for raw in engine.all.values():
            raw["HostConfig"]["RestartPolicy"] = dict(self.policy)
            if raw["Name"] == f"/{self.stopped}":
                raw["State"].update(Status="exited", FinishedAt=raw["State"]["StartedAt"])
        return engine


@pytest.mark.parametrize("resumed", ["journal", "lost database"])
@pytest.mark.parametrize("stopped", ["", "sidecar"], ids=["running", "one of them stopped"])
@pytest.mark.parametrize("policy", [ALWAYS, NO], ids=["restarted", "not restarted"])
def test_dependents_are_re_created_with_a_container(policy: Mapping[str, Any], stopped: str, resumed: str) -> None:
    case = Neighbours(policy=policy, stopped=stopped)
    before = case.engine().summary()
    for step, engine, outcome in every_kill(case.engine, redeploy, RESUMED[resumed], least=15):
        assert outcome.success, (step, outcome)
        after = engine.summary()
        assert outcome.containers_after == (after["shop-web-1"][0],)
        assert "re-created with it, since they depend on it: sidecar, linker" in outcome.reason
        assert set(after) == set(NAMES), (step, after)
        assert not {entry[0] for entry in before.values()} & {entry[0] for entry in after.values()}
        for name, (_, state, restarts, image_id) in after.items():
            assert (restarts, image_id) == (policy["Name"], NEW), (step, name, after)
            assert (state == "running") is (name != stopped), (step, name, after)
        mode = engine.all[after["sidecar"][0]]["HostConfig"]["NetworkMode"]
        assert mode == f"container:{after['shop-web-1'][0]}", step


def test_dependents_are_rolled_back_with_a_container() -> None:
    case = Neighbours(newest=CRASHING)
    before = case.engine().summary()
    for step, engine, outcome in every_kill(case.engine, redeploy, with_journal, least=15):
        assert outcome.rolled_back, (step, outcome)
        assert engine.summary() == before, step


def test_a_dependent_that_appears_during_the_pull_delays_the_redeploy() -> None:
    engine = Named().engine()
    (old,) = engine.all

    class Interrupted(Recorded):
        def check(self) -> None:
            super().check()
            if "sidecar" not in engine.summary():
                engine.add(2, "sidecar", host={"NetworkMode": f"container:{old}"}, networks={})

    run = Interrupted()
    with pytest.raises(EngineUnavailableError, match="containers that depend on web changed in the meantime"):
        redeploy(engine, run)
    assert run.journal == {}
    assert set(engine.summary()) == {"shop-web-1", "sidecar"}
    outcome = redeploy(engine, Recorded(journal=run.journal))
    assert outcome.success, outcome
    mode = engine.all[engine.summary()["sidecar"][0]]["HostConfig"]["NetworkMode"]
    assert mode == f"container:{engine.summary()['shop-web-1'][0]}"


@pytest.mark.parametrize("how", ["begins", "ended"])
def test_a_dependency_may_be_redeployed_during_the_pull(how: str) -> None:
    engine = FakeDocker()
    parent = engine.add(9, "parent", networks={})
    old = engine.add(
        1, "shop-web-1", host={"NetworkMode": f"container:{parent}"}, labels=compose_labels(1), networks={}
    )

    class Interrupted(Recorded):
        def save(self, journal: Mapping[str, object]) -> None:
            super().save(journal)
            if journal.get("phase") != "pull":
                return
            if how == "begins":
                engine.add(10, "parent-tutum-next-0f0f0f0f", networks={})
            else:
                # The other run has re-created this one as well.
                del engine.all[old]
                engine.add(2, "shop-web-1", labels=compose_labels(1), networks={})

    with pytest.raises(EngineUnavailableError, match=r"in the meantime|is being redeployed at present"):
        redeploy(engine, Interrupted())
    assert "shop-web-1" in engine.summary()
    assert not [name for name in engine.summary() if name.startswith("shop-web-1-")]


@pytest.mark.parametrize("newer", [True, False], ids=["a newer image", "the same image"])
def test_images_of_dependents_do_not_count_as_newer(newer: bool) -> None:
    engine = with_neighbours()
    theirs = image(0xD0)
    engine.images_by_name[theirs["Id"]] = engine.images_by_name["neighbour"] = theirs
    for raw in engine.all.values():
        if raw["Name"] in ("/sidecar", "/linker"):
            raw["Config"]["Image"] = "neighbour"
            raw["Image"] = theirs["Id"]
    superseded = image(0xE0, digests=[f"app@sha256:{identity(0xE0)}"])
    engine.dangling = (superseded,)
    if not newer:
        engine.tagged = engine.newest = OLD
    outcome = redeploy(engine, Recorded(pulled=superseded["RepoDigests"]))
    assert outcome.success, outcome
    assert engine.removed_images == ([superseded["Id"]] if newer else [])


class MovingTag(FakeDocker):
    """An engine on which somebody moves the tag back just before a container is created."""

    def create_container_from_config(self, config: Mapping[str, Any], name: str) -> Any:
        self.tagged = OLD
        return super().create_container_from_config(config, name)


def test_a_tag_that_moves_before_the_container_is_created_changes_nothing() -> None:
    engine = MovingTag()
    engine.add(1, "shop-web-1", status="running", host={"RestartPolicy": dict(ALWAYS)}, labels=compose_labels(1))
    before = engine.summary()
    with pytest.raises(EngineBusyError, match="changed on the engine while a container was created from it"):
        redeploy(engine, Recorded())
    assert engine.summary() == before


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
