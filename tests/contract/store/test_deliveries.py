"""Lists of deliveries: of a service, of one handler, of an outcome and of an action, in pages of both kinds."""

from dataclasses import replace

import pytest

from tests.support.stores import StoreBed, query
from tutumd.errors import NotFoundError, Reason
from tutumd.model import Delivery, DeliveryOutcome, Handler, NewHandler, Operation, Query


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


@pytest.mark.slow
@pytest.mark.parametrize("limit", [1, 4, 7, 100])
def test_pages_show_each_delivery_once_and_the_newest_first(bed: StoreBed, limit: int) -> None:
    redeploy, scaleup = fill(bed)
    of_handlers = [numbers(bed.deliveries(handler)) for handler in (redeploy, scaleup)]
    assert list(map(len, of_handlers)) == [12, 12]
    of_service = sorted(of_handlers[0] + of_handlers[1], reverse=True)
    for handler, expected in ((None, of_service), (redeploy, of_handlers[0]), (scaleup, of_handlers[1])):
        by_number: list[int] = []
        chosen = {"service": redeploy.service_uuid, "handler": handler and handler.number}
        while page := bed.store.deliveries(
            bed.admin, Query.newest(limit, **chosen, number__lt=by_number[-1] if by_number else None)
        ).objects:
            by_number += numbers(page)
        by_offset: list[int] = []
        given = Query.newest(limit, **chosen).filters
        while page := bed.store.deliveries(bed.admin, Query(filters=given, limit=limit, offset=len(by_offset))).objects:
            by_offset += numbers(page)
        assert by_number == by_offset == expected
        assert bed.store.deliveries(bed.admin, Query(filters=given, limit=limit, offset=3)).total == len(expected)


def test_deliveries_are_found_by_outcome(bed: StoreBed) -> None:
    redeploy, scaleup = fill(bed)

    def count(outcome: DeliveryOutcome, handler: Handler | None = None) -> int:
        chosen = Query.newest(100, service=redeploy.service_uuid, handler=handler and handler.number, outcome=outcome)
        found = bed.store.deliveries(bed.admin, chosen).objects
        assert {delivery.outcome for delivery in found} <= {outcome}
        return len(found)

    assert count(DeliveryOutcome.SKIPPED) == count(DeliveryOutcome.SKIPPED, scaleup) == 6
    assert count(DeliveryOutcome.SKIPPED, redeploy) == count(DeliveryOutcome.REFUSED) == 0
    assert count(DeliveryOutcome.QUEUED) + count(DeliveryOutcome.JOINED) == 18


def test_a_delivery_in_a_list_names_its_handler_and_leaves_out_its_content(bed: StoreBed) -> None:
    (made,) = bed.store.add_handlers(bed.admin, bed.service_uuid("web"), [NewHandler(name="github")])
    bed.accepted(made, content='{"body": "secret"}')
    (delivery,) = bed.deliveries(made)
    assert (delivery.handler_number, delivery.handler_name, delivery.content) == (made.number, "github", {})
    assert delivery.action_state == "Pending"
    one = bed.store.delivery(bed.admin, made.service_uuid, made.uuid, delivery.number)
    assert one == replace(delivery, content={"body": "secret"}, raw='{"body": "secret"}')
    assert made.uuid not in repr(one)


def test_calls_of_a_revoked_handler_are_shown_as_long_as_an_action_tells_of_them(bed: StoreBed) -> None:
    handler = bed.handler("web")
    bed.call(handler)
    bed.store.delete_handler(bed.admin, handler.service_uuid, handler.uuid)
    (delivery,) = bed.store.deliveries(bed.admin, query(service=handler.service_uuid)).objects
    assert delivery.handler_number is None


def test_an_action_lists_its_deliveries_and_counts_them(bed: StoreBed) -> None:
    handler = bed.handler("web")
    uuid = bed.call(handler)
    bed.call(handler)
    bed.call(handler)
    bed.finish(bed.claimed())
    bed.call(handler)
    page = bed.store.deliveries(bed.admin, Query(filters={"action": uuid}, limit=2))
    assert (numbers(page.objects), page.total) == (numbers(bed.deliveries(handler))[1:3], 3)


def test_a_member_reads_no_delivery_of_another_service(bed: StoreBed) -> None:
    member = bed.store.add_user("mia", is_admin=False)
    handler, other = bed.handler("web"), bed.handler("db")
    action = bed.call(handler)
    (delivery,) = bed.deliveries(handler)
    for read in (
        lambda: bed.store.deliveries(member, query(service=handler.service_uuid)),
        lambda: bed.store.deliveries(member, query(action=action)),
        lambda: bed.store.delivery(member, handler.service_uuid, handler.uuid, delivery.number),
        lambda: bed.store.delivery(bed.admin, other.service_uuid, other.uuid, delivery.number),
    ):
        with pytest.raises(NotFoundError):
            read()
    of_other = query(service=other.service_uuid, handler=str(handler.number))
    assert bed.store.deliveries(bed.admin, of_other).objects == ()
