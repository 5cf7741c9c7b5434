"""Holds of services: their pending redeploys wait until the hold ends or is removed."""

from datetime import datetime, timedelta

import pytest

from tests.support.stores import StoreBed
from tutumd.model import Operation, Verb
from tutumd.store.queue import holds


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
