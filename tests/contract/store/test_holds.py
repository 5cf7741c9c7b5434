"""Holds of services: their redeploys wait, and nothing else does."""

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa

from tests.support.stores import ENGINE, ORIGIN, StoreBed, is_postgres, query
from tests.support.waiting import wait_until
from tutumd.errors import NotFoundError
from tutumd.model import ActionState, AuditEvent, AuditFilters, Evaluation, HoldKind, Operation, Verb
from tutumd.model.freeze import NewFreezeWindow
from tutumd.store.objects.actions import new_action
from tutumd.store.queue import holds
from tutumd.store.queue.holds import hold_service
from tutumd.store.queue.snapshots import lock_services
from tutumd.store.sql.database import Database
from tutumd.store.tables.accounts import users
from tutumd.store.tables.actions import actions
from tutumd.store.tables.schema import new_uuid
from tutumd.store.tables.services import freeze_windows, services

pytestmark = pytest.mark.dialect


def hold(bed: StoreBed, service: str, hours: float | None = None) -> None:
    until = None if hours is None else bed.clock() + timedelta(hours=hours)
    bed.store.hold(bed.admin, bed.service_uuid(service), until=until, reason="incident 42")


def freeze(bed: StoreBed, begins: str, ends: str) -> None:
    """Add a freeze window of the server that begins later."""
    with bed.database.write() as connection:
        user_uuid = connection.scalar(sa.select(users.c.uuid))
        window = {"begins": begins, "ends": ends, "tz": "UTC", "reason": "feast"}
        connection.execute(
            sa.insert(freeze_windows).values(uuid=new_uuid(), user_uuid=user_uuid, created=bed.clock(), **window)
        )


def test_all_calls_of_a_hold_are_carried_out_by_one_run_after_it(bed: StoreBed) -> None:
    web = bed.handler("web")
    earlier = bed.call(web)
    hold(bed, "web")
    bed.clock.move(timedelta(days=10_000).total_seconds())
    assert {bed.call(web) for _ in range(200)} == {earlier}
    assert bed.claim() is None
    (held,) = bed.store.held_actions(bed.admin)
    assert (held.uuid, held.deliveries, held.held_until) == (earlier, 201, None)
    bed.store.resume(bed.admin, web.service_uuid)
    bed.finish(bed.claimed())
    assert bed.claim() is None
    assert bed.store.held_actions(bed.admin) == ()


def test_a_caller_learns_what_holds_its_call(bed: StoreBed) -> None:
    web, debounced = bed.handler("web"), bed.handler("db", debounce=30)
    hold(bed, "web", 4)
    held = [[(each.kind, each.until) for each in bed.accepted(web).holds] for _ in range(2)]
    assert held == [[(HoldKind.HOLD, bed.clock() + timedelta(hours=4))]] * 2
    waits = [bed.accepted(debounced, Evaluation(version=0, debounce_s=30)).holds[0].kind for _ in range(2)]
    assert waits == [HoldKind.DEBOUNCE] * 2
    bed.store.resume(bed.admin, web.service_uuid)
    assert bed.accepted(web).holds == ()


def test_a_hold_ends_by_itself(bed: StoreBed) -> None:
    hold(bed, "web", 4)
    hold(bed, "db", 4)
    uuid = bed.call(bed.handler("web"))
    assert bed.store.action(bed.admin, uuid).held_until == bed.clock() + timedelta(hours=4)
    bed.clock.move(4 * 3600 - 1)
    assert bed.claim() is None
    bed.clock.move(1)
    assert bed.claimed().action.uuid == uuid
    assert bed.claim() is None, "no call was held on db"
    assert bed.store.service(bed.admin, bed.service_uuid("web")).hold is None
    assert not any(service.hold for service in bed.store.services(bed.admin, query()).objects)


def test_a_hold_delays_no_other_verb_and_no_other_service(bed: StoreBed) -> None:
    hold(bed, "web")
    web = bed.service_uuid("web")
    bed.call(bed.handler("web"))
    bed.call(bed.handler("web", Operation.SCALEUP))
    bed.store.submit(bed.admin, web, Verb.STOP, target=None, origin=ORIGIN)
    bed.call(bed.handler("db"))
    verbs = []
    while claim := bed.claim():
        verbs.append((claim.service.name, claim.action.verb))
        bed.finish(claim)
    assert sorted(verbs) == [("db", Verb.REDEPLOY), ("web", Verb.SCALEUP), ("web", Verb.STOP)]


def test_calls_before_and_after_another_verb_in_a_hold_are_one_run(bed: StoreBed) -> None:
    web = bed.handler("web")
    hold(bed, "web")
    held = bed.call(web)
    bed.store.submit(bed.admin, web.service_uuid, Verb.STOP, target=None, origin=ORIGIN)
    assert bed.call(web) == held
    assert bed.claimed().action.verb is Verb.STOP


def test_a_redeploy_that_has_begun_is_not_held(bed: StoreBed) -> None:
    web = bed.handler("web")
    uuid = bed.call(web)
    claim = bed.claimed()
    bed.queue.retry_later(claim, delay=timedelta(seconds=15), error="away")
    hold(bed, "web")
    bed.clock.move(15)
    again = bed.claimed()
    assert again.action.uuid == uuid
    bed.finish(again, success=False)
    retried = bed.store.retry(bed.admin, uuid, ORIGIN)
    assert [each.kind for each in retried.holds] == [HoldKind.HOLD]
    assert bed.claim() is None


def test_a_person_can_override_a_hold_and_the_held_calls_are_carried_out(bed: StoreBed) -> None:
    web = bed.handler("web")
    hold(bed, "web")
    held = bed.call(web)
    submit = partial(bed.store.submit, bed.admin, web.service_uuid, Verb.REDEPLOY, target=None, origin=ORIGIN)
    assert submit().holds
    overriding = submit(override=True)
    assert (overriding.uuid, overriding.holds) == (held, ())
    hold(bed, "web", 2)
    assert bed.claimed().action.uuid == held
    assert bed.store.action(bed.admin, bed.call(web)).holds, "the next one is held again"
    details = bed.store.audit(bed.admin, AuditFilters(what=AuditEvent.ACTION_SUBMITTED)).entries[0].details
    assert details == "REDEPLOY (joined a pending one), in spite of holds and freeze windows"


def test_a_hold_says_who_set_it_and_why_and_can_be_replaced_and_removed_twice(bed: StoreBed) -> None:
    web = bed.service_uuid("web")
    hold(bed, "web")
    uuid = bed.call(bed.handler("web"))
    held = bed.store.hold(bed.admin, web, until=bed.clock() + timedelta(hours=1), reason="").hold
    assert held is not None
    assert (held.by, held.reason, held.until, held.since) == (
        "admin",
        "",
        bed.clock() + timedelta(hours=1),
        bed.clock(),
    )
    (listed,) = (service.hold for service in bed.store.services(bed.admin, query(name="web")).objects)
    assert listed == held
    (reason,) = bed.store.action(bed.admin, uuid).holds
    assert (reason.kind, reason.by, reason.until, reason.reason.code) == (HoldKind.HOLD, "admin", held.until, "held")
    for _ in range(2):
        assert bed.store.resume(bed.admin, web).hold is None
    resumed = bed.store.audit(bed.admin, AuditFilters(what=AuditEvent.SERVICE_RESUMED)).entries
    assert len(resumed) == 1


def test_a_hold_that_replaces_the_hold_of_a_rollback_is_one_too(bed: StoreBed) -> None:
    web = bed.service_uuid("web")
    with bed.database.write() as connection:
        rollback: dict[str, Any] = {"until": None, "reason": "", "by": "alert", "is_of_rollback": True}
        hold_service(connection, web, now=bed.clock(), **rollback)
    hold(bed, "web", 1)
    held = bed.store.service(bed.admin, web).hold
    assert held is not None
    assert (held.by, held.is_of_rollback) == ("admin", True)
    bed.store.resume(bed.admin, web)
    hold(bed, "web")
    held = bed.store.service(bed.admin, web).hold
    assert held is not None
    assert not held.is_of_rollback


@pytest.mark.timeout(300)
def test_a_hold_that_is_just_being_set_stops_a_claim(bed: StoreBed, database_url: str) -> None:
    bed.call(bed.handler("web"))
    other = Database(database_url)
    with ThreadPoolExecutor(1) as pool:
        with other.write() as connection:
            web = bed.service_uuid("web")
            lock_services(connection, [web])
            hold_service(connection, web, until=None, reason="", by="ada", is_of_rollback=False, now=bed.clock())
            claiming = pool.submit(bed.claim)
            if is_postgres(other):
                wait_until(bed.is_waiting_for_a_lock, "the claim waits")
        assert claiming.result(120) is None
    other.close()


def test_nobody_holds_the_services_of_others(bed: StoreBed) -> None:
    bed.show("web", "db", owner="admin")
    ada = bed.store.add_user("ada", is_admin=False)
    hold(bed, "web")
    bed.call(bed.handler("web"))
    with pytest.raises(NotFoundError):
        bed.store.hold(ada, bed.service_uuid("web"), until=None, reason="")
    with pytest.raises(NotFoundError):
        bed.store.resume(ada, bed.service_uuid("web"))
    assert bed.store.held_actions(ada) == ()
    assert bed.claim() is None


def test_a_hold_outlasts_a_service_that_is_gone_but_not_one_that_is_forgotten(bed: StoreBed) -> None:
    hold(bed, "web")
    web = bed.service_uuid("web")
    uuid = bed.call(bed.handler("web"))
    bed.show("db")
    bed.show("web", "db")
    assert bed.store.service(bed.admin, web).hold
    assert bed.claim() is None
    bed.show("db")
    bed.store.forget(bed.admin, web)
    assert bed.store.actions(bed.admin, query(uuid=uuid)).objects[0].state is ActionState.CANCELED
    bed.show("web", "db")
    assert bed.store.service(bed.admin, web).hold is None
    bed.call(bed.handler("web"))
    bed.claimed()


def test_a_claim_sees_a_freeze_window_that_has_begun(bed: StoreBed) -> None:
    names = [f"s{number}" for number in range(100)]
    bed.show("web", *names)
    frozen = [bed.call(bed.handler(name)) for name in names]
    scaleup = bed.call(bed.handler("web", Operation.SCALEUP))
    freeze(bed, "2026-01-01 00:10", "2026-01-01 02:00")
    bed.clock.move(3600)
    assert bed.claimed().action.uuid == scaleup
    assert bed.claim() is None
    bed.clock.move(3600)
    assert bed.claimed().action.uuid == frozen[0]


def test_a_claim_applies_a_window_that_has_begun_to_many_services_at_once(
    bed: StoreBed, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"s{number}" for number in range(30)]
    bed.show(*names)
    for name in names:
        bed.call(bed.handler(name))
    freeze(bed, "2026-01-01 00:10", "2026-01-01 02:00")
    bed.clock.move(3600)
    refreshed: list[int] = []

    def refresh(connection: sa.Connection, services: Collection[str], now: datetime) -> bool:
        refreshed.append(len(services))
        return apply(connection, services, now)

    apply = holds.refresh
    monkeypatch.setattr(holds, "refresh", refresh)
    assert bed.claim() is None
    assert refreshed == [1, 29]


@pytest.mark.slow
def test_a_freeze_window_holds_thousands_of_redeploys_and_releases_them(bed: StoreBed) -> None:
    with bed.database.write() as connection:
        (row,) = connection.execute(sa.select(services).where(services.c.name == "web")).mappings()
        rows = [{**row, "uuid": new_uuid(), "selector": f"name:s{number}"} for number in range(10_000)]
        connection.execute(sa.insert(services), rows)
        pending = [
            new_action(each["uuid"], ENGINE.name, Verb.REDEPLOY, origin=ORIGIN, now=bed.clock()) for each in rows
        ]
        connection.execute(sa.insert(actions), pending)
    window = bed.store.add_freeze_window(bed.admin, NewFreezeWindow(begins="2026-01-01", ends="2026-02-01"))
    assert bed.claim() is None
    bed.store.remove_freeze_window(bed.admin, window.uuid)
    bed.claimed()


def test_a_clock_that_is_set_back_ends_a_debounce_but_no_hold(bed: StoreBed) -> None:
    for name in ("web", "db"):
        debounced = bed.handler(name, debounce=10)
        bed.send(debounced, bed.evaluate(debounced, debounce_s=10))
    hold(bed, "db", 5 / 3600)
    bed.clock.move(-3600)
    unheld = bed.claimed()
    assert unheld.service.name == "web"
    bed.finish(unheld)
    assert bed.claim() is None
    bed.clock.move(3605)
    assert bed.claim() is None
    bed.clock.move(5)
    assert bed.claimed().service.name == "db"
