"""What pages read of deliveries: the newest of a service, of one handler and of an action, without totals."""

import pytest

from tests.support.stores import StoreBed, query
from tutumd.model import Delivery, Handler, Operation
from tutumd.store import action_deliveries


def file_all(bed: StoreBed) -> None:
    """File the deliveries by their actions, as SQLite's intake does after many calls."""
    if not bed.database.is_postgres:
        with bed.database.write() as connection:
            while action_deliveries.file(connection):
                pass


def fill(bed: StoreBed) -> tuple[Handler, Handler]:
    """Let two handlers of `web` be called in turn, for several actions, with calls that have none, and others."""
    redeploy, scaleup = bed.handler("web"), bed.handler("web", Operation.SCALEUP, allowed_ips=["127.0.0.1"])
    other = bed.handler("db")
    for number in range(6):
        bed.call(redeploy)
        bed.call(other)
        bed.accepted(scaleup, bed.evaluate(scaleup))
        bed.send(scaleup, bed.evaluate(scaleup, skip=f"reason {number}"))
        bed.call(redeploy)
        if number == 2:
            file_all(bed)
        if number % 2:
            bed.finish(bed.claimed())
    return redeploy, scaleup


def numbers(found: tuple[Delivery, ...]) -> list[int]:
    return [delivery.number for delivery in found]


def every(bed: StoreBed, handler: Handler) -> list[int]:
    page = bed.store.deliveries(bed.admin, handler.service_uuid, handler.uuid, query())
    return numbers(page.objects)


@pytest.mark.parametrize("limit", [1, 4, 7, 100])
def test_pages_show_each_delivery_of_a_service_once_and_the_newest_first(bed: StoreBed, limit: int) -> None:
    redeploy, scaleup = fill(bed)
    wanted = sorted(every(bed, redeploy) + every(bed, scaleup), reverse=True)
    seen: list[int] = []
    before = None
    while page := bed.store.service_deliveries(bed.admin, redeploy.service_uuid, before=before, limit=limit):
        assert len(page) <= limit
        seen += numbers(page)
        before = seen[-1]
    assert seen == wanted
    assert len(seen) == 24
