"""Evidence of a round in which all went well, to be spoiled by tests."""

from dataclasses import replace
from typing import Any

from tests.faults.callers import Call
from tests.faults.evidence import Delivery, Down, Evidence
from tests.faults.journal import ASKED, BEGIN, CREATE, DONE, END, START, Containers, Entry

ACTION = "/api/v1/action/a1/"
FIRST, SECOND = 11, 12
"""Workers."""


def call(agent: str = "c1", **changes: Any) -> Call:
    """Make a call of SCALEUP by 1 that was accepted."""
    made = Call(agent=agent, service="web", operation="SCALEUP", amount=1, sent=1.0, status=202, action=ACTION)
    return replace(made, **changes)


def delivery(agent: str = "c1", **changes: Any) -> Delivery:
    """Make the delivery of such a call."""
    made = Delivery(agent=agent, service="web", operation="SCALEUP", amount=1, action=ACTION)
    return replace(made, **changes)


def entry(kind: str, at: float, call: str = "", name: str = "", **changes: Any) -> Entry:
    """Make a line of the engine's journal."""
    made = Entry(at=at, kind=kind, run="r1", worker=FIRST, action="a1", service="web", call=call, name=name)
    return replace(made, **changes)


def run(start: float, *names: str, calls: tuple[str, ...] = (CREATE, START), **changes: Any) -> list[Entry]:
    """Make a whole run that makes these calls for each container, one every 0.1 s."""
    entries = [entry(BEGIN, start, "SCALEUP", **changes)]
    at = start
    for name in names:
        for call in calls:
            at += 0.1
            entries += [entry(ASKED, at, call, name, **changes), entry(DONE, at + 0.05, call, name, **changes)]
    return [*entries, entry(END, at + 0.1, "SCALEUP", **changes)]


def evidence(**changes: Any) -> Evidence:
    """Make a round of one call that adds one container to one."""
    made = Evidence(
        calls=[call()],
        deliveries=[delivery()],
        actions={ACTION: ("Success", "")},
        entries=run(2.0, "web-1"),
        before=Containers(services={"web": {"web-0": True}}),
        after=Containers(services={"web": {"web-0": True, "web-1": True}}),
        shown={"web": (2, 2)},
    )
    return replace(made, **changes)


def down(at: float, *, is_stopped: bool = False) -> Down:
    """Lose the first worker."""
    return Down(worker=FIRST, at=at, is_stopped=is_stopped)
