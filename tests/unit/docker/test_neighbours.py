"""Two redeploys at once, of services one of which depends on the other."""

import itertools
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pytest

from tests.support.runs import Killed
from tests.unit.docker.documents import compose_labels
from tests.unit.docker.fake_host import FakeHost
from tests.unit.docker.test_kills import CRASHING, NEW, OLD, FakeRunOfAnother, Recorded, finder, redeploy, trial
from tests.unit.docker.test_kills_beside import with_neighbours
from tutumd.engines.docker.redeploy import Redeployer
from tutumd.errors import EngineUnavailableError

OLD_NAME = "neighbour"


def parent_and_sidecar(*, pushed: bool = False) -> FakeHost:
    """The service `shop-web-1` lives in the network of `parent`, which is another service."""
    host = FakeHost(pushed=pushed)
    parent = host.add(9, "parent", networks={})
    host.add(1, "shop-web-1", host={"NetworkMode": f"container:{parent}"}, labels=compose_labels(1), networks={})
    return host


def test_a_container_that_follows_another_one_is_not_taken_for_a_leftover() -> None:
    host = parent_and_sidecar()
    # The redeploy of the other service parked this one, and created its successor, a moment ago.
    host.add(10, "parent-tutum-prev-0f0f0f0f", networks={}, status="exited", finished=50)
    (old,) = [raw for raw in host.all.values() if raw["Name"] == "/shop-web-1"]
    old["Name"], old["State"]["Status"] = "/shop-web-1-tutum-prev-0f0f0f0f", "exited"
    host.add(11, "shop-web-1-tutum-next-0f0f0f0f", status="created", started=None, labels=compose_labels(1))
    before = host.summary()
    with pytest.raises(EngineUnavailableError, match="is being redeployed at present"):
        redeploy(host, Recorded())
    assert host.summary() == before


@pytest.mark.parametrize("cut_off", [False, True], ids=["found out after the pull", "found out by another process"])
def test_a_redeploy_that_waits_for_a_neighbour_keeps_nothing_of_its_preparation(*, cut_off: bool) -> None:
    host = parent_and_sidecar(pushed=True)

    class Meanwhile(Recorded):
        def check(self) -> None:
            if host.tagged == NEW and "parent-tutum-next-0f0f0f0f" not in host.summary():
                host.add(10, "parent-tutum-next-0f0f0f0f", networks={})
                if cut_off:
                    raise Killed("after the pull")
            super().check()

    run = Meanwhile()
    if cut_off:
        with pytest.raises(Killed):
            redeploy(host, run)
        run = Meanwhile(journal=run.journal)
    with pytest.raises(EngineUnavailableError, match="is being redeployed at present"):
        redeploy(host, run)
    # An action that has a journal is never given up, and would wait for what was cut off for ever.
    assert run.journal == {}
    assert host.tagged == OLD
    assert "shop-web-1" in host.summary()


def test_an_image_that_a_neighbour_brought_meanwhile_keeps_its_name() -> None:
    host = parent_and_sidecar(pushed=True)

    class Meanwhile(Recorded):
        def save(self, journal: Mapping[str, object]) -> None:
            super().save(journal)
            host.add(10, "parent-tutum-next-0f0f0f0f", networks={})

    run = Meanwhile()
    with pytest.raises(EngineUnavailableError):
        redeploy(host, run)
    del host.all[next(key for key, raw in host.all.items() if "-tutum-next-" in raw["Name"])]
    # The neighbour's redeploy succeeded: the name means the new image, and rightly.
    host.tagged = NEW
    host.images[NEW]["Config"]["Crashes"] = True
    assert redeploy(host, Recorded(journal=run.journal)).rolled_back
    assert host.tagged == NEW


@pytest.mark.parametrize("newest", [None, CRASHING], ids=["good", "bad"])
def test_a_follower_may_be_redeployed_at_any_moment(newest: Mapping[str, Any] | None) -> None:
    def redeploy_sidecar(host: FakeHost) -> None:
        find = finder(host, "name:sidecar")
        with suppress(EngineUnavailableError):
            Redeployer(host=host, trial=trial(host), find=find, run=FakeRunOfAnother()).redeploy()

    running = dict.fromkeys(with_neighbours().summary(), "running")
    for step in itertools.count(1):
        host, run = with_neighbours(newest), Recorded(kill_at=step)
        for raw in host.all.values():
            # Only the image of the service itself may be bad.
            raw["Config"]["Image"] = "app" if raw["Name"] == "/shop-web-1" else OLD_NAME
        host.images[OLD_NAME] = host.images[OLD]
        try:
            redeploy(host, run)
            break
        except Killed:
            redeploy_sidecar(host)
        following = Recorded(journal=run.journal)
        outcome = redeploy(host, following)
        assert outcome.success or outcome.rolled_back, (step, outcome)
        assert {name: one[1] for name, one in host.summary().items()} == running, step
        parent = host.summary()["shop-web-1"][0]
        assert host.all[host.summary()["sidecar"][0]]["HostConfig"]["NetworkMode"] == f"container:{parent}", step
    assert step > 15
