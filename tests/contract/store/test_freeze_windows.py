"""Freeze windows in the store: which redeploys wait for them, who sees them, and what removes them."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.support.history import look, redeploy
from tests.support.stores import ORIGIN, StoreBed, query, snapshot
from tutumd.errors import ConflictError, NotFoundError, Reason
from tutumd.model import ActionState, AuditEvent, Hold, HoldKind, Operation, Query, User, Verb
from tutumd.model.freeze import MAX_WINDOWS, FreezeWindow, NewFreezeWindow
from tutumd.store.queue.holds import read_freezes

WEEKEND = {"begins": "Fri 16:00", "ends": "Mon 06:00", "reason": "weekend"}
_WEDNESDAY, _SATURDAY, _MONDAY = (datetime(2026, 1, day, 6, tzinfo=UTC) for day in (7, 10, 12))


@pytest.fixture
def ada(bed: StoreBed) -> User:
    """A member who owns `web` in the stack `shop`, which another member shares."""
    bed.clock.now = _SATURDAY
    ada = bed.store.add_user("ada", is_admin=False)
    bed.store.add_user("bob", is_admin=False)
    show(bed, web="ada", db="bob")
    return ada


def show(bed: StoreBed, **owners: str) -> None:
    """Let the engine show services of the stack `shop` with their owners, and the service `lone`."""
    shop = (replace(snapshot(name, owner=owner), stack="shop") for name, owner in owners.items())
    bed.sync(*shop, snapshot("lone"))


def freeze(bed: StoreBed, by: User, service: str | None = None, **values: Any) -> FreezeWindow:
    uuid = service and bed.service_uuid(service)
    return bed.store.add_freeze_window(by, NewFreezeWindow(**{"service_uuid": uuid, **WEEKEND, **values}))


def frozen(bed: StoreBed) -> set[str]:
    """Return the services whose redeploys would not start now."""
    uuids = {bed.service_uuid(name): name for name in ("web", "db", "lone")}
    with bed.database.read() as connection:
        return {uuids[uuid] for uuid in read_freezes(connection, list(uuids), bed.clock())}


def windows(bed: StoreBed, viewer: User, **filters: str) -> list[str]:
    return [each.uuid for each in bed.store.freeze_windows(viewer, Query(filters=filters)).objects]


@pytest.mark.dialect
def test_a_window_holds_what_its_owner_may_operate(bed: StoreBed, ada: User) -> None:
    for by, values, held in [
        (ada, {"service": "web"}, {"web"}),
        (ada, {"stack": "shop"}, {"web"}),
        (bed.admin, {"stack": "shop"}, {"web", "db"}),
        (bed.admin, {"service": "db"}, {"db"}),
        (bed.admin, {}, {"web", "db", "lone"}),
    ]:
        window = freeze(bed, by, **values)
        assert frozen(bed) == held, values
        bed.store.remove_freeze_window(by, window.uuid)
    assert frozen(bed) == set()

    freeze(bed, ada, "web")
    show(bed, web="bob", db="bob")
    assert frozen(bed) == set()


@pytest.mark.dialect
def test_a_burst_into_which_a_freeze_begins_is_one_redeploy_after_it(bed: StoreBed, ada: User) -> None:
    bed.clock.now = _WEDNESDAY
    handler = bed.handler("web")
    freeze(bed, ada, "web", begins="2026-01-07 06:10", ends="2026-01-07 08:00")
    calls = [bed.call(handler)]
    bed.clock.move(600)
    calls += [bed.call(handler) for _ in range(20)]
    assert set(calls) == {calls[0]}
    assert bed.claim() is None
    until = datetime(2026, 1, 7, 8, tzinfo=UTC)
    reason = Reason("frozen-because", ("2026-01-07 06:10 to 2026-01-07 08:00 (UTC)", "weekend"))
    action = bed.store.action(bed.admin, calls[0])
    assert action.holds == (Hold(kind=HoldKind.FREEZE, until=until, reason=reason, by="ada"),)
    assert action.held_until == until
    bed.clock.now = datetime(2026, 1, 7, 8, tzinfo=UTC)
    assert bed.claimed().action.uuid == calls[0]
    assert bed.claim() is None


@pytest.mark.dialect
def test_a_call_that_waits_starts_when_the_window_is_removed(bed: StoreBed, ada: User) -> None:
    held = [bed.call(bed.handler("web")), bed.call(bed.handler("lone"))]
    first, second = freeze(bed, bed.admin), freeze(bed, ada, "web", reason="another")
    assert bed.claim() is None

    bed.store.remove_freeze_window(bed.admin, first.uuid)
    assert bed.claimed().action.uuid == held[1]
    assert bed.claim() is None
    bed.store.remove_freeze_window(ada, second.uuid)
    assert bed.claimed().action.uuid == held[0]


@pytest.mark.dialect
def test_windows_that_begin_and_end_apply_without_any_write(bed: StoreBed, ada: User) -> None:
    bed.clock.now = _WEDNESDAY
    freeze(bed, ada, "web")
    first = bed.call(bed.handler("web"))
    bed.clock.now = _SATURDAY
    assert bed.claim() is None
    bed.clock.now = _MONDAY
    assert bed.claimed().action.uuid == first


@pytest.mark.dialect
def test_a_rollback_an_override_and_other_verbs_pass(bed: StoreBed, ada: User) -> None:
    bed.sync(look("a"))
    redeploy(bed, "b")
    freeze(bed, bed.admin)
    web = bed.service_uuid("web")
    held = bed.call(bed.handler("web"))
    passing = [bed.call(bed.handler("web", Operation.SCALEUP))]
    rolled_back = bed.store.roll_back(bed.admin, web, image=None, hold=False, reason="", origin=ORIGIN)
    assert bed.store.action(bed.admin, held).state is ActionState.CANCELED
    passing.append(rolled_back.uuid)
    for uuid in passing:
        claim = bed.claimed()
        assert claim.action.uuid == uuid
        bed.finish(claim)
    held = bed.call(bed.handler("web"))
    assert bed.claim() is None
    bed.store.submit(bed.admin, web, Verb.REDEPLOY, target=None, origin=ORIGIN, override=True)
    assert bed.claimed().action.uuid == held


@pytest.mark.dialect
def test_a_retry_waits_and_what_runs_is_not_interrupted(bed: StoreBed, ada: User) -> None:
    runs = bed.call(bed.handler("web"))
    claim = bed.claimed()
    window = freeze(bed, ada, "web")
    bed.finish(claim, success=False)
    retried = bed.store.retry(ada, runs, ORIGIN)
    assert bed.claim() is None
    bed.store.remove_freeze_window(ada, window.uuid)
    assert bed.claimed().action.uuid == retried.uuid


def test_a_window_goes_with_its_user_and_with_its_service(bed: StoreBed, ada: User) -> None:
    held = bed.call(bed.handler("web"))
    freeze(bed, ada, "web")
    freeze(bed, ada, stack="shop")
    of_lone = freeze(bed, bed.admin, "lone")
    assert bed.claim() is None
    bed.store.remove_user("ada")
    assert windows(bed, bed.admin) == [of_lone.uuid]
    assert bed.claimed().action.uuid == held

    lone = bed.service_uuid("lone")
    bed.show("web")
    bed.store.forget(bed.admin, lone)
    assert windows(bed, bed.admin) == []


def test_members_see_the_windows_that_hold_their_services(bed: StoreBed, ada: User) -> None:
    bob = bed.store.user_named("bob")
    of_web, of_server = freeze(bed, ada, "web"), freeze(bed, bed.admin)
    of_shop = freeze(bed, bed.admin, stack="shop")
    of_lone = freeze(bed, bed.admin, "lone")
    own = freeze(bed, bob, stack="shop")

    assert windows(bed, ada) == [of_web.uuid, of_server.uuid, of_shop.uuid]
    assert windows(bed, bob) == [of_server.uuid, of_shop.uuid, own.uuid]
    assert len(windows(bed, bed.admin)) == 5
    assert windows(bed, bed.admin, service=bed.service_uuid("lone")) == [of_server.uuid, of_lone.uuid]
    assert windows(bed, ada, service=bed.service_uuid("lone")) == []
    with pytest.raises(NotFoundError):
        bed.store.remove_freeze_window(ada, own.uuid)


def test_a_window_says_until_when_it_applies(bed: StoreBed, ada: User) -> None:
    window = freeze(bed, ada, "web")
    assert (window.active_until, window.owner, window.service_name) == (_MONDAY, "ada", "shop/web")
    bed.clock.now = _MONDAY
    [window] = bed.store.freeze_windows(ada, query(uuid=window.uuid)).objects
    assert window.active_until is None


def test_a_window_names_a_service_or_stack_of_its_owner(bed: StoreBed, ada: User) -> None:
    for values in ({"stack": "none"}, {"service": "lone"}):
        with pytest.raises(NotFoundError):
            freeze(bed, ada, **values)


@pytest.mark.dialect
def test_windows_that_are_over_make_room_for_another(bed: StoreBed, ada: User) -> None:
    past = [freeze(bed, ada, "web", begins="2025-12-24", ends=f"2026-01-0{day}").uuid for day in range(1, 4)]
    for number in range(MAX_WINDOWS - 3):
        freeze(bed, ada, "web", reason=str(number))
    assert freeze(bed, ada, "web", reason="another")
    left = windows(bed, ada)
    assert len(left) == MAX_WINDOWS - 2
    assert not {*past} & {*left}


def test_windows_of_others_do_not_use_up_the_limit(bed: StoreBed, ada: User) -> None:
    for number in range(MAX_WINDOWS):
        freeze(bed, ada, "web", reason=str(number))
    show(bed, web="bob", db="bob")
    assert freeze(bed, bed.store.user_named("bob"), "web")
    assert freeze(bed, bed.admin, "web")


@pytest.mark.dialect
def test_a_service_that_leaves_a_frozen_stack_or_owner_is_released(bed: StoreBed, ada: User) -> None:
    freeze(bed, ada, stack="shop")
    held = bed.call(bed.handler("web"))
    assert bed.claim() is None
    show(bed, web="bob", db="bob")
    assert bed.claimed().action.uuid == held


def test_an_equal_window_is_not_created_again(bed: StoreBed, ada: User) -> None:
    first = freeze(bed, ada, "web")
    assert freeze(bed, ada, "web").uuid == first.uuid
    assert freeze(bed, ada, "web", reason="another").uuid != first.uuid
    entries = bed.store.audit(bed.admin).entries
    added = [entry for entry in entries if entry.what == AuditEvent.FREEZE_ADDED]
    assert [entry.details for entry in added] == [
        "Fri 16:00 to Mon 06:00 (UTC), another",
        "Fri 16:00 to Mon 06:00 (UTC), weekend",
    ]


@pytest.mark.dialect
@pytest.mark.parametrize("values", [{"service": "web"}, {"stack": "shop"}, {}])
def test_simultaneous_requests_do_not_exceed_the_limit(bed: StoreBed, ada: User, values: dict[str, str]) -> None:
    by = ada if values else bed.admin

    def add(number: int) -> bool:
        try:
            freeze(bed, by, **values, reason=str(number))
        except ConflictError:
            return False
        return True

    with ThreadPoolExecutor(3) as pool:
        added = list(pool.map(add, range(MAX_WINDOWS + 5)))
    assert added.count(True) == MAX_WINDOWS
    assert freeze(bed, bed.admin, "lone")
