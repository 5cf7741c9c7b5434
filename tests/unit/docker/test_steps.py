"""The next step of a swap, forward and backward."""

from dataclasses import replace
from typing import Any

import pytest

from tests.unit.docker.documents import ALWAYS, NO, identity, inspected
from tutumd.engines.docker.api import SwapStep
from tutumd.engines.docker.apply.steps import NO_RESTART, backward_step, detach_step, forward_step, reattach_steps
from tutumd.engines.docker.look.containers import InspectedContainer
from tutumd.engines.docker.plan.journal import Swap

RUN = "0a1b2c3d"
NEXT, PREV = f"web-tutum-next-{RUN}", f"web-tutum-prev-{RUN}"
OLD, NEW = identity(1), identity(2)
SWAP = Swap(name="web", old=OLD, new=NEW, image="app", run=True, ran=True, paused=False, policy=ALWAYS)


def step(verb: str, container: str, **fields: Any) -> SwapStep:
    return SwapStep(verb=verb, container=container, **fields)


def old(name: str, status: str, policy: dict[str, Any] = NO, finished: float | None = None) -> InspectedContainer:
    return inspected(1, name, status=status, finished=finished, host={"RestartPolicy": policy})


def new(name: str, status: str = "created", *, created: float = 10, **more: Any) -> InspectedContainer:
    started = None if status == "created" else 20.0
    return inspected(2, name, status=status, created=created, started=started, host={"RestartPolicy": ALWAYS}, **more)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (old("web", "running", ALWAYS), new(NEXT), step("policy", OLD, policy=NO_RESTART)),
        (old("web", "running"), new(NEXT), step("stop", OLD)),
        (old("web", "exited"), new(NEXT), step("rename", OLD, name=PREV)),
        (old(PREV, "exited"), new(NEXT), step("rename", NEW, name="web")),
        (old(PREV, "exited"), new("web"), step("start", NEW)),
        (old(PREV, "exited"), new("web", "running"), None),
        (old(PREV, "exited"), new("web", "exited"), None),
        (None, new(NEXT), step("rename", NEW, name="web")),
        (old("web", "running", ALWAYS), None, None),
    ],
)
def test_the_next_step_forward(
    before: InspectedContainer | None, after: InspectedContainer | None, expected: SwapStep | None
) -> None:
    assert forward_step(SWAP, RUN, before, after) == expected


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (old(PREV, "exited"), new("web", "running"), step("stop", NEW)),
        (old(PREV, "exited"), new("web", "restarting"), step("stop", NEW)),
        (old(PREV, "exited"), new("web", "exited"), step("rename", NEW, name=NEXT)),
        (old(PREV, "exited"), new(NEXT, "exited"), step("rename", OLD, name="web")),
        (old("web", "exited"), new(NEXT, "exited"), step("policy", OLD, policy=ALWAYS)),
        (old("web", "exited", ALWAYS), new(NEXT, "exited"), step("start", OLD)),
        (old("web", "running", ALWAYS), new(NEXT, "exited"), step("remove", NEW)),
        (old("web", "running", ALWAYS), None, None),
        (None, new("web", "exited"), None),
    ],
)
def test_the_next_step_backward(
    before: InspectedContainer | None, after: InspectedContainer | None, expected: SwapStep | None
) -> None:
    assert backward_step(SWAP, RUN, before, after) == expected


START_FIRST = replace(SWAP, start_first=True, endpoints={"bridge": {}, "front": {"Aliases": ["www"]}, "back": {}})
PARK_OLD, NAME_NEW = (step("rename", OLD, name=PREV), step("rename", NEW, name="web"))


def connect(network: str, **endpoint: Any) -> SwapStep:
    return step("connect", NEW, network=network, endpoint=endpoint)


def in_networks(container: InspectedContainer, *networks: str) -> InspectedContainer:
    raw = {**container.raw, "NetworkSettings": {"Networks": {name: START_FIRST.endpoints[name] for name in networks}}}
    return replace(container, raw=raw)


def test_a_detached_container_keeps_its_addresses() -> None:
    before = in_networks(old("web", "running"), "bridge", "front", "back")
    settings = before.raw["NetworkSettings"]["Networks"]
    settings = {**settings, "front": {**settings["front"], "IPAddress": "10.0.0.2", "GlobalIPv6Address": ""}}
    before = replace(before, raw={**before.raw, "NetworkSettings": {"Networks": settings}})
    after = in_networks(old(PREV, "running"), "bridge")
    again = connect("front", IPAMConfig={"IPv4Address": "10.0.0.2"})
    assert list(reattach_steps(START_FIRST, before, after)) == [replace(again, container=OLD)]
    assert list(reattach_steps(START_FIRST, before, replace(after, status="exited"))) == []
    # Nobody finds it, as it has no alias there; and it is not found again by its name.
    hidden = replace(after, raw={**after.raw, "NetworkSettings": {"Networks": {"front": {"Aliases": None}}}})
    assert detach_step(START_FIRST, RUN, hidden, new("web", "running"), in_swarm=False) is None
