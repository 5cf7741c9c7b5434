"""Containers that depend on the redeployed one: re-created or restored with it, also after a kill at any step."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.unit.docker.beds import (
    CRASHING,
    NEW,
    OLD,
    RESUMED,
    Named,
    Recorded,
    every_kill,
    redeploy,
    with_journal,
    with_neighbours,
)
from tests.unit.docker.documents import ALWAYS, NO, compose_labels, identity, image
from tests.unit.docker.fake_docker import FakeDocker
from tutumd.errors import EngineUnavailableError

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
