"""Recovery of a slot whose swap has no journal any more."""

from typing import Any

import pytest

from tests.unit.docker.documents import ALWAYS, NO, identity, inspected
from tests.unit.docker.test_steps import NEW, NEXT, OLD, PREV, new, old, step
from tutumd.engines.docker.api import SwapStep
from tutumd.engines.docker.look.containers import InspectedContainer
from tutumd.engines.docker.look.services import Slot, group_by_service
from tutumd.engines.docker.recover.rollback import recovery_steps


def slot(*containers: InspectedContainer) -> Slot:
    (service,) = group_by_service(containers)
    return service.slots[0]


REMOVE_OLD, REMOVE_NEW = step("remove", OLD), step("remove", NEW)
BACK = step("rename", OLD, name="web")
POLICY = step("policy", OLD, policy=ALWAYS)
START = step("start", OLD)
STOP_NEW = step("stop", NEW)
REMOVE_OLD_COPY = step("remove", identity(3))


def auto_removed(status: str, **more: Any) -> InspectedContainer:
    return inspected(1, "web", status=status, host={"AutoRemove": True}, **more)


def spare() -> InspectedContainer:
    return inspected(3, PREV, status="created", created=9, started=None, host={"AutoRemove": True})


@pytest.mark.parametrize(
    ("containers", "steps"),
    [
        ([old("web", "running")], ()),
        # Killed before anything changed.
        ([old("web", "running", ALWAYS), new(NEXT)], (REMOVE_NEW,)),
        # A person stopped it in the meantime.
        ([old("web", "exited", ALWAYS, 30), new(NEXT)], (REMOVE_NEW,)),
        # Killed after the policy, after the stop, after the first rename, after the second.
        ([old("web", "running", NO), new(NEXT)], (POLICY, REMOVE_NEW)),
        ([old("web", "exited", NO, 30), new(NEXT)], (POLICY, START, REMOVE_NEW)),
        ([old(PREV, "exited", NO, 30), new(NEXT)], (BACK, POLICY, START, REMOVE_NEW)),
        ([old(PREV, "exited", NO, 30), new("web")], (STOP_NEW, REMOVE_NEW, BACK, POLICY, START)),
        # The replacement runs, or does not.
        ([old(PREV, "exited", NO, 15), new("web", "running")], (REMOVE_OLD,)),
        ([old(PREV, "exited", NO, 15), new("web", "running", health="healthy")], (REMOVE_OLD,)),
        (
            [old(PREV, "exited", NO, 15), new("web", "running", health="unhealthy")],
            (STOP_NEW, REMOVE_NEW, BACK, POLICY, START),
        ),
        ([old(PREV, "exited", NO, 15), new("web", "restarting")], (STOP_NEW, REMOVE_NEW, BACK, POLICY, START)),
        # The original still runs, beside a copy that was created for the case that its stop deletes it.
        ([auto_removed("running", health="starting"), spare()], (REMOVE_OLD_COPY,)),
        ([auto_removed("running", health="unhealthy"), spare()], (REMOVE_OLD_COPY,)),
        ([auto_removed("running", restarts=1), spare()], (REMOVE_OLD_COPY,)),
        ([auto_removed("paused"), spare(), new(NEXT)], (REMOVE_OLD_COPY, REMOVE_NEW)),
        # It had been stopped before its replacement was created.
        ([old(PREV, "exited", NO, 5), new(NEXT)], (BACK, POLICY, REMOVE_NEW)),
        ([old(PREV, "exited", NO, 5), new("web")], (REMOVE_OLD,)),
        # Only one of the two is left.
        ([old(PREV, "exited", NO, 5)], (BACK, START)),
        ([new(NEXT)], (step("rename", NEW, name="web"),)),
    ],
)
def test_a_swap_without_a_journal_leaves_one_container(
    containers: list[InspectedContainer], steps: tuple[SwapStep, ...]
) -> None:
    assert recovery_steps(slot(*containers)) == steps
