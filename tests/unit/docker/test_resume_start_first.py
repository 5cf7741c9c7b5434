"""A server killed between any two steps of a run that starts the new container first, or takes neighbours along."""

import itertools
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from tests.support.runs import Killed
from tests.unit.docker.documents import compose_labels, identity, image
from tests.unit.docker.fake_docker import FakeDocker
from tests.unit.docker.test_resume import (
    CRASHING,
    NEW,
    OLD,
    Case,
    EndingIn,
    Recorded,
    every_kill,
    every_lost_database,
    redeploy,
)
from tutumd.errors import EngineUnavailableError
from tutumd.model import Phase


@dataclass(frozen=True, kw_only=True)
class Named(Case):
    """One container that others find by name in networks of its own, so that its replacement can be started first."""

    networks: Mapping[str, Any] = field(default_factory=lambda: {"front": {}})
    in_swarm: bool = False
    pushed: bool = False
    more: Mapping[str, Any] = field(default_factory=dict)

    def engine(self) -> FakeDocker:
        engine = FakeDocker(newest=self.newest and deepcopy(self.newest), in_swarm=self.in_swarm, pushed=self.pushed)
        engine.add(
            1,
            "shop-web-1",
            host={"RestartPolicy": dict(self.policy), "NetworkMode": "front", **self.more},
            networks=deepcopy(dict(self.networks)),
            labels=compose_labels(1),
        )
        return engine


NAMED: dict[str, dict[str, Any]] = {
    "by its name": {"front": {}},
    "by its name and an alias": {"front": {"Aliases": ["www"]}, "back": {}},
    "by aliases as compose gives them": {"front": {"Aliases": ["shop-web-1", "web"]}},
}


def renewed(how: str) -> dict[str, Any]:
    """Return the networks of a new container, which has its name as an alias, too."""
    aliases = {network: endpoint.get("Aliases", []) for network, endpoint in NAMED[how].items()}
    return {network: {"Aliases": list(dict.fromkeys([*given, "shop-web-1"]))} for network, given in aliases.items()}


@pytest.mark.parametrize("in_swarm", [False, True], ids=["no node", "swarm node"])
@pytest.mark.parametrize("how", NAMED)
def test_clients_find_a_container_by_name_throughout_a_redeploy(how: str, in_swarm: bool) -> None:
    engine = Named(networks=NAMED[how], in_swarm=in_swarm).engine()
    aliases = {alias for endpoint in NAMED[how].values() for alias in endpoint.get("Aliases", ())}
    engine.watched = ("shop-web-1", *sorted(aliases))
    run = Recorded()
    outcome = redeploy(engine, run)
    assert outcome.success, outcome
    (new,) = outcome.containers_after
    assert engine.summary() == {"shop-web-1": (new, "running", "always", NEW)}
    assert engine.all[new]["NetworkSettings"]["Networks"] == renewed(how)
    for name in engine.watched:
        assert engine.leads_to(name) == {new}
    assert engine.unreachable == []


@pytest.mark.parametrize("age", [0, 1])
@pytest.mark.parametrize("in_swarm", [False, True], ids=["no node", "swarm node"])
@pytest.mark.parametrize("how", NAMED)
def test_a_killed_start_first_redeploy_is_finished(how: str, in_swarm: bool, age: int) -> None:
    ends = every_kill(Named(networks=NAMED[how], in_swarm=in_swarm), redeploy, age)
    assert len(ends) > 11
    for step, engine, outcome in ends:
        assert outcome.success, (step, outcome)
        (new,) = outcome.containers_after
        assert engine.summary() == {"shop-web-1": (new, "running", "always", NEW)}, step
        assert engine.all[new]["NetworkSettings"]["Networks"] == renewed(how), step
        assert engine.leads_to("shop-web-1") == {new}, step


@pytest.mark.parametrize("refused", ["", "connect", "disconnect", "rename", "stop", "policy"])
@pytest.mark.parametrize("in_swarm", [False, True], ids=["no node", "swarm node"])
@pytest.mark.parametrize("how", NAMED)
def test_a_start_first_redeploy_that_fails_is_rolled_back(how: str, in_swarm: bool, refused: str) -> None:
    case = Named(newest=None if refused else CRASHING, networks=NAMED[how], in_swarm=in_swarm)
    before = case.engine().summary()

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
            if outcome.success:
                # It was killed before the engine refused.
                assert refused
                continue
        else:
            if outcome.success:
                # Nothing of this kind is done on the way.
                assert refused in ("connect", "disconnect")
                break
        assert outcome.rolled_back, (step, outcome)
        assert engine.summary() == before, step
        (old,) = before.values()
        assert engine.all[old[0]]["NetworkSettings"]["Networks"] == NAMED[how], step
        assert engine.leads_to("shop-web-1") == {old[0]}, step
        if run.steps < step:
            break


@pytest.mark.parametrize("in_swarm", [False, True], ids=["no node", "swarm node"])
@pytest.mark.parametrize("how", NAMED)
def test_a_lost_database_does_not_lose_a_service_that_starts_first(how: str, in_swarm: bool) -> None:
    for step, engine, outcome in every_lost_database(Named(networks=NAMED[how], in_swarm=in_swarm)):
        assert outcome.success, (step, outcome)
        (new,) = outcome.containers_after
        assert engine.summary() == {"shop-web-1": (new, "running", "always", NEW)}, step
        found = engine.all[new]["NetworkSettings"]["Networks"]
        assert {network: sorted(endpoint["Aliases"]) for network, endpoint in found.items()} == {
            network: sorted(endpoint["Aliases"]) for network, endpoint in renewed(how).items()
        }, step
        assert engine.leads_to("shop-web-1") == {new}, step


@pytest.mark.parametrize("in_swarm", [False, True], ids=["no node", "swarm node"])
@pytest.mark.parametrize("how", NAMED)
def test_clients_find_one_of_the_two_throughout_a_rollback(how: str, in_swarm: bool) -> None:
    engine = Named(networks=NAMED[how], in_swarm=in_swarm).engine()
    before = engine.summary()
    aliases = {alias for endpoint in NAMED[how].values() for alias in endpoint.get("Aliases", ())}
    (old,) = engine.all

    class Failing(Recorded):
        def log(self, line: str, phase: Phase | None = None) -> None:
            super().log(line, phase)
            if line.startswith("giving the old containers"):
                engine.watched = ("shop-web-1", *sorted(aliases))
                (new,) = engine.all.keys() - {old}
                engine.all[new]["State"]["Health"] = {"Status": "unhealthy"}

    outcome = redeploy(engine, Failing())
    assert outcome.rolled_back, outcome
    assert engine.summary() == before
    assert engine.all[old]["NetworkSettings"]["Networks"] == NAMED[how]
    # Between two renames in a row the name leads nowhere, which cannot be helped.
    assert [gap for gap in engine.unreachable if gap != f"shop-web-1 before rename {old}"] == []


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


REMOVED = Named(
    pushed=True, networks={"bridge": {}}, more={"AutoRemove": True, "NetworkMode": "bridge"}, policy={"Name": "no"}
)


@pytest.mark.parametrize("age", [0, 1])
def test_a_container_that_its_stop_deletes_is_replaced(age: int) -> None:
    for step, engine, outcome in every_kill(REMOVED, redeploy, age):
        assert outcome.success, (step, outcome)
        (new,) = outcome.containers_after
        assert engine.summary() == {"shop-web-1": (new, "running", "no", NEW)}, step


def test_a_copy_replaces_a_container_that_its_stop_deleted() -> None:
    case = replace(REMOVED, newest=CRASHING)
    for step, engine, outcome in every_kill(case, redeploy, 0):
        assert outcome.rolled_back, (step, outcome)
        (kept,) = outcome.containers_after
        assert engine.summary() == {"shop-web-1": (kept, "running", "no", OLD)}, step
        assert "shop-web-1 failed: it ended, and as it was started with --rm the engine deleted it" in outcome.reason
        assert "run the image without --rm to see why" in outcome.reason
        assert "a copy of it was put in its place" in outcome.reason or kept == outcome.containers_before[0]


def test_a_lost_database_does_not_lose_a_container_that_its_stop_deletes() -> None:
    for step, engine, outcome in every_lost_database(REMOVED):
        (new,) = outcome.containers_after
        assert engine.summary() == {"shop-web-1": (new, "running", "no", NEW)}, step


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


def with_neighbours(newest: Mapping[str, Any] | None = None) -> FakeDocker:
    """A service in whose network a sidecar lives, to which another container is linked."""
    engine = Named(newest=newest).engine()
    parent = next(iter(engine.all))
    engine.add(2, "sidecar", host={"NetworkMode": f"container:{parent}"}, networks={})
    engine.add(3, "linker", host={"Links": ["/sidecar:/linker/db"]})
    for raw in engine.all.values():
        raw["Config"]["Image"] = "app"
    return engine


@pytest.mark.parametrize("newest", [None, CRASHING], ids=["good", "bad"])
def test_dependents_are_re_created_and_rolled_back_with_a_container(newest: Mapping[str, Any] | None) -> None:
    before = with_neighbours().summary()
    for step in itertools.count(1):
        engine, run = with_neighbours(newest), Recorded(kill_at=step)
        try:
            outcome = redeploy(engine, run)
        except Killed:
            outcome = redeploy(engine, Recorded(journal=run.journal))
        after = engine.summary()
        if newest is not None:
            assert outcome.rolled_back, (step, outcome)
            assert after == before, step
        else:
            assert outcome.success, (step, outcome)
            assert outcome.containers_after == (after["shop-web-1"][0],)
            assert "re-created with it, since they depend on it: sidecar, linker" in outcome.reason
            assert {name: entry[1] for name, entry in after.items()} == dict.fromkeys(before, "running"), step
            assert not {entry[0] for entry in before.values()} & {entry[0] for entry in after.values()}
            mode = engine.all[after["sidecar"][0]]["HostConfig"]["NetworkMode"]
            assert mode == f"container:{after['shop-web-1'][0]}", step
        if run.steps < step:
            break
    assert step > 15


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
