"""Recovery of a slot whose swap has no journal any more."""

from typing import Any

import pytest

from tests.unit.docker.beds import Recorded, context_of, finder
from tests.unit.docker.documents import ALWAYS, NO
from tests.unit.docker.fake_docker import FakeDocker
from tutumd.engines.docker.recover.rollback import recover_slots

RUN = "0a1b2c3d"
NEXT, PREV = f"web-tutum-next-{RUN}", f"web-tutum-prev-{RUN}"
OLD, NEW, COPY = 1, 2, 3


def old(name: str, status: str, policy: dict[str, Any] = NO, finished: float | None = None) -> dict[str, Any]:
    return {"number": OLD, "name": name, "status": status, "finished": finished, "host": {"RestartPolicy": policy}}


def new(name: str, status: str = "created", **more: Any) -> dict[str, Any]:
    started = None if status == "created" else 20.0
    ours = {"number": NEW, "name": name, "status": status, "created": 10, "started": started}
    return {**ours, "host": {"RestartPolicy": ALWAYS}, **more}


def auto_removed(status: str, **more: Any) -> dict[str, Any]:
    return {"number": OLD, "name": "web", "status": status, "host": {"AutoRemove": True}, **more}


SPARE = {"number": COPY, "name": PREV, "created": 9, "status": "created", "started": None, "host": {"AutoRemove": True}}


@pytest.mark.parametrize(
    ("containers", "left"),
    [
        ([old("web", "running")], (OLD, "running", "no")),
        # Killed before anything changed.
        ([old("web", "running", ALWAYS), new(NEXT)], (OLD, "running", "always")),
        # A person stopped it in the meantime.
        ([old("web", "exited", ALWAYS, 30), new(NEXT)], (OLD, "exited", "always")),
        # Killed after the policy, after the stop, after the first rename, after the second.
        ([old("web", "running", NO), new(NEXT)], (OLD, "running", "always")),
        ([old("web", "exited", NO, 30), new(NEXT)], (OLD, "running", "always")),
        ([old(PREV, "exited", NO, 30), new(NEXT)], (OLD, "running", "always")),
        ([old(PREV, "exited", NO, 30), new("web")], (OLD, "running", "always")),
        # The replacement runs, or does not.
        ([old(PREV, "exited", NO, 15), new("web", "running")], (NEW, "running", "always")),
        ([old(PREV, "exited", NO, 15), new("web", "running", health="healthy")], (NEW, "running", "always")),
        ([old(PREV, "exited", NO, 15), new("web", "running", health="unhealthy")], (OLD, "running", "always")),
        ([old(PREV, "exited", NO, 15), new("web", "restarting")], (OLD, "running", "always")),
        # The original still runs, beside a copy that was created for the case that its stop deletes it.
        ([auto_removed("running", health="unhealthy"), SPARE], (OLD, "running", "no")),
        ([auto_removed("paused"), SPARE, new(NEXT)], (OLD, "paused", "always")),
        # It had been stopped before its replacement was created.
        ([old(PREV, "exited", NO, 5), new(NEXT)], (OLD, "exited", "always")),
        # Only one of them is left.
        ([SPARE], (COPY, "running", "no")),
        ([old(PREV, "exited", NO, 5)], (OLD, "running", "no")),
        ([new(NEXT)], (NEW, "created", "always")),
        # A person has removed the old one and created another.
        (
            [new(NEXT), {"number": COPY, "name": "web", "status": "created", "started": None, "created": 50}],
            (COPY, "created", "no"),
        ),
    ],
)
def test_a_swap_without_a_journal_leaves_one_container(
    containers: list[dict[str, Any]], left: tuple[int, str, str]
) -> None:
    engine = FakeDocker()
    for document in containers:
        engine.add(**document)
    group, _ = finder(engine, "name:web")()
    recover_slots(context_of(engine, Recorded()), group.slots, ())
    number, status, policy = left
    assert {name: entry[:3] for name, entry in engine.summary().items()} == {"web": (f"{number:064x}", status, policy)}
