"""Holds of services: their pending redeploys wait until the hold ends or is removed."""

from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa

from tests.support.stores import StoreBed
from tutumd.model import Operation, Verb
from tutumd.store.queue import holds
from tutumd.store.tables.accounts import users
from tutumd.store.tables.schema import new_uuid
from tutumd.store.tables.services import freeze_windows


def hold(bed: StoreBed, service: str, until: datetime | None = None) -> None:
    with bed.database.write() as connection:
        holds.hold_service(
            connection,
            bed.service_uuid(service),
            until=until,
            reason="incident 42",
            by="ada",
            is_of_rollback=False,
            now=bed.clock(),
        )


def resume(bed: StoreBed, service: str) -> bool:
    with bed.database.write() as connection:
        return holds.resume_service(connection, bed.service_uuid(service), bed.clock())


@pytest.mark.dialect
def test_a_hold_that_is_set_later_delays_a_pending_redeploy_until_it_is_removed(bed: StoreBed) -> None:
    uuid = bed.call(bed.handler("web"))
    hold(bed, "web")
    bed.clock.move(timedelta(days=10_000).total_seconds())
    assert bed.claim() is None
    assert resume(bed, "web") is True
    assert resume(bed, "web") is False
    assert bed.claimed().action.uuid == uuid


@pytest.mark.dialect
def test_a_hold_ends_by_itself(bed: StoreBed) -> None:
    uuid = bed.call(bed.handler("web"))
    hold(bed, "web", bed.clock() + timedelta(hours=4))
    bed.clock.move(4 * 3600 - 1)
    assert bed.claim() is None
    bed.clock.move(1)
    assert bed.claimed().action.uuid == uuid


def test_a_hold_delays_nothing_else(bed: StoreBed) -> None:
    bed.call(bed.handler("web"))
    bed.call(bed.handler("web", Operation.SCALEUP))
    other = bed.call(bed.handler("db"))
    hold(bed, "web")
    assert {bed.claimed().action.verb, bed.claimed().action.uuid} == {Verb.SCALEUP, other}
    assert bed.claim() is None


def freeze(bed: StoreBed, begins: str, ends: str) -> None:
    """Add a freeze window of the server, without a look at pending actions: it begins later."""
    with bed.database.write() as connection:
        user_uuid = connection.scalar(sa.select(users.c.uuid))
        window = {"begins": begins, "ends": ends, "tz": "UTC", "reason": "feast"}
        connection.execute(
            sa.insert(freeze_windows).values(uuid=new_uuid(), user_uuid=user_uuid, created=bed.clock(), **window)
        )


@pytest.mark.dialect
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


@pytest.mark.dialect
def test_a_clock_that_is_set_back_ends_a_debounce_but_no_hold(bed: StoreBed) -> None:
    for name in ("web", "db"):
        debounced = bed.handler(name, debounce=10)
        bed.send(debounced, bed.evaluate(debounced, debounce_s=10))
    hold(bed, "db", bed.clock() + timedelta(seconds=5))
    bed.clock.move(-3600)
    unheld = bed.claimed()
    assert unheld.service.name == "web"
    bed.finish(unheld)
    assert bed.claim() is None
    bed.clock.move(3605)
    assert bed.claim() is None
    bed.clock.move(5)
    assert bed.claimed().service.name == "db"
