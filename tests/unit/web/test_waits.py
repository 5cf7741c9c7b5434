"""The sentences of what pending actions wait for."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from tutumd.errors import Reason
from tutumd.model import Hold, HoldKind
from tutumd.model.freeze import NewFreezeWindow
from tutumd.web.messages.actions import describe_wait

END = datetime(2026, 12, 1, 18, tzinfo=UTC)
WINDOW = NewFreezeWindow(begins="Fri 16:00", ends="Mon 06:00", tz="Europe/Berlin")


def hold(kind: HoldKind, reason: Reason, by: str = "", until: datetime | None = END) -> Hold:
    return Hold(kind=kind, until=until, reason=reason, by=by)


def wait(waits_for: str, *holds: Hold) -> str:
    action: Any = type("Waiting", (), {"holds": holds, "waits_for": waits_for})
    return describe_wait(action)


def test_a_wait_lists_all_that_holds_an_action() -> None:
    assert wait(
        "",
        hold(HoldKind.DEBOUNCE, Reason("debounce")),
        hold(HoldKind.HOLD, Reason("held-because", ("incident 42",)), "ada"),
        hold(HoldKind.FREEZE, replace(WINDOW, reason="weekend").why, "bob"),
    ) == (
        "waiting for more calls (debounce); "
        "held: incident 42 (by ada, until 2026-12-01 18:00 UTC); "
        "freeze window Fri 16:00 to Mon 06:00 (Europe/Berlin): weekend (by bob, until 2026-12-01 18:00 UTC)"
    )
    assert wait("no worker", hold(HoldKind.HOLD, Reason("held"), "ada", None)) == "held (by ada); no worker"
    assert wait("", hold(HoldKind.FREEZE, WINDOW.why, "bob", None)).startswith("freeze window Fri 16:00 to Mon 06:00")
    before = hold(HoldKind.PREDECESSOR, Reason("predecessor", ("shop/db, shop/cache", "12")), until=None)
    assert wait("", before) == "waits for shop/db, shop/cache of group call 12"
    assert wait("waiting for its turn") == "waiting for its turn"
