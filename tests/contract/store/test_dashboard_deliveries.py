"""What pages read of deliveries: the newest of a service, of one handler and of an action, without totals."""

from dataclasses import replace

import pytest

from tests.support.stores import StoreBed, query
from tutumd.errors import NotFoundError
from tutumd.model import Delivery, DeliveryOutcome, Handler, NewHandler, Operation
from tutumd.reasons import Reason


def fill(bed: StoreBed) -> tuple[Handler, Handler]:
    """Let two handlers of `web` be called in turn, for several actions, with calls that have none, and others."""
    redeploy, scaleup = bed.handler("web"), bed.handler("web", Operation.SCALEUP, allowed_ips=["127.0.0.1"])
    other = bed.handler("db")
    for number in range(6):
        bed.call(redeploy)
        bed.call(other)
        bed.accepted(scaleup, bed.evaluate(scaleup))
        bed.send(scaleup, bed.evaluate(scaleup, skip=Reason(f"reason {number}")))
        bed.call(redeploy)
        if number % 2:
            bed.finish(bed.claimed())
    return redeploy, scaleup


def numbers(found: tuple[Delivery, ...]) -> list[int]:
    return [delivery.number for delivery in found]


def every(bed: StoreBed, handler: Handler) -> list[int]:
    page = bed.store.deliveries(bed.admin, handler.service_uuid, handler.uuid, query())
    return numbers(page.objects)


@pytest.mark.slow
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


@pytest.mark.parametrize("limit", [1, 5, 100])
def test_pages_show_each_delivery_of_one_handler(bed: StoreBed, limit: int) -> None:
    for handler in fill(bed):
        seen: list[int] = []
        before = None
        while page := bed.store.service_deliveries(
            bed.admin, handler.service_uuid, handler_number=handler.number, before=before, limit=limit
        ):
            seen += numbers(page)
            before = seen[-1]
        assert seen == every(bed, handler)
        assert len(seen) == 12


def test_deliveries_are_found_by_outcome(bed: StoreBed) -> None:
    redeploy, scaleup = fill(bed)

    def count(outcome: DeliveryOutcome, handler: Handler | None = None) -> int:
        number = None if handler is None else handler.number
        found = bed.store.service_deliveries(
            bed.admin, redeploy.service_uuid, handler_number=number, outcome=outcome, limit=100
        )
        assert {delivery.outcome for delivery in found} <= {outcome}
        return len(found)

    assert count(DeliveryOutcome.SKIPPED) == count(DeliveryOutcome.SKIPPED, scaleup) == 6
    assert count(DeliveryOutcome.SKIPPED, redeploy) == 0
    assert count(DeliveryOutcome.REFUSED) == 0
    assert count(DeliveryOutcome.QUEUED) + count(DeliveryOutcome.JOINED) == 18


def test_a_delivery_in_a_list_names_its_handler_and_leaves_out_its_content(bed: StoreBed) -> None:
    (made,) = bed.store.add_handlers(bed.admin, bed.service_uuid("web"), [NewHandler(name="github")])
    bed.accepted(made, content='{"body": "secret"}')
    (delivery,) = bed.store.service_deliveries(bed.admin, made.service_uuid)
    assert (delivery.handler_number, delivery.handler_name, delivery.content) == (made.number, "github", {})
    assert delivery.action_state == "Pending"
    one = bed.store.delivery_by_number(bed.admin, made.service_uuid, made.number, delivery.number)
    assert one == replace(delivery, content={"body": "secret"}, raw='{"body": "secret"}')
    assert made.uuid not in repr(one)


def test_calls_of_a_revoked_handler_are_shown_as_long_as_an_action_tells_of_them(bed: StoreBed) -> None:
    handler = bed.handler("web")
    bed.call(handler)
    bed.store.delete_handler(bed.admin, handler.service_uuid, handler.uuid)
    (delivery,) = bed.store.service_deliveries(bed.admin, handler.service_uuid)
    assert delivery.handler_number is None


def test_an_action_lists_its_deliveries_and_counts_them(bed: StoreBed) -> None:
    handler = bed.handler("web")
    uuid = bed.call(handler)
    bed.call(handler)
    bed.call(handler)
    bed.finish(bed.claimed())
    bed.call(handler)
    newest, number = bed.store.action_deliveries(bed.admin, uuid, limit=2)
    assert (numbers(newest), number) == (every(bed, handler)[1:3], 3)


def test_a_member_reads_no_delivery_of_another_service(bed: StoreBed) -> None:
    member = bed.store.add_user("mia", is_admin=False)
    handler = bed.handler("web")
    action = bed.call(handler)
    (delivery,) = bed.store.service_deliveries(bed.admin, handler.service_uuid)
    for read in (
        lambda: bed.store.service_deliveries(member, handler.service_uuid),
        lambda: bed.store.delivery_by_number(member, handler.service_uuid, handler.number, delivery.number),
        lambda: bed.store.action_deliveries(member, action),
        lambda: bed.store.delivery_by_number(bed.admin, bed.service_uuid("db"), handler.number, delivery.number),
    ):
        with pytest.raises(NotFoundError):
            read()
    other = bed.service_uuid("db")
    assert bed.store.service_deliveries(bed.admin, other, handler_number=handler.number) == ()
