"""The old container of a start-first redeploy, which clients no longer find."""

from collections.abc import Mapping
from typing import Any

from tests.unit.docker.documents import ALWAYS, identity, inspected
from tutumd.engines.docker.apply.steps import detach_step, reattach_steps
from tutumd.engines.docker.look.containers import InspectedContainer
from tutumd.engines.docker.plan.journal import Swap, SwapStep

RUN = "0a1b2c3d"
PREV = f"web-tutum-prev-{RUN}"
OLD, NEW = identity(1), identity(2)
SWAP = Swap(
    name="web",
    old=OLD,
    new=NEW,
    image="app",
    run=True,
    ran=True,
    paused=False,
    policy=ALWAYS,
    start_first=True,
    endpoints={"bridge": {}, "front": {"Aliases": ["www"]}, "back": {}},
)


def old(name: str, networks: Mapping[str, Any], status: str = "running") -> InspectedContainer:
    return inspected(1, name, status=status, networks=networks)


def test_a_detached_container_keeps_its_addresses() -> None:
    before = old("web", {**SWAP.endpoints, "front": {"Aliases": ["www"], "IPAddress": "10.0.0.2"}})
    again = SwapStep(
        verb="connect", container=OLD, network="front", endpoint={"IPAMConfig": {"IPv4Address": "10.0.0.2"}}
    )
    assert list(reattach_steps(SWAP, before, old(PREV, {"bridge": {}}))) == [again]
    assert list(reattach_steps(SWAP, before, old(PREV, {"bridge": {}}, "exited"))) == []
    # Clients do not find it, as it has no alias there; and it is not detached again by its name.
    hidden = old(PREV, {"front": {"Aliases": None}})
    assert detach_step(SWAP, RUN, hidden, inspected(2, "web"), in_swarm=False) is None
