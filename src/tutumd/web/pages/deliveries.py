"""Pages of deliveries: the calls that a handler received, their results, and redelivery."""

from dataclasses import replace

from fastapi import APIRouter, Response
from fastapi.concurrency import run_in_threadpool

from tutumd.application.redelivery import find_obstacle, redeliver
from tutumd.errors import ConflictError, InvalidInputError, NotFoundError, TooManyCallsError, TutumdError
from tutumd.model import DeliveryOutcome, Scope
from tutumd.web.messages.deliveries import (
    OUTCOMES,
    DeliveryText,
    describe_reason,
    hides_url,
    read_delivery_text,
)
from tutumd.web.pages.handler_routes import (
    BASE,
    GROUP_BASE,
    CalledSubject,
    Found,
    ReadSubject,
    outcome_filters,
    query_group_calls,
    read_outcome,
)
from tutumd.web.pages.visitors import Before, Number, SentForm, cut_page, fingerprint, if_there

router = APIRouter()

PAGE_SIZE = 30

_DELIVERY = f"{BASE}delivery/{{delivery_number}}/"


@router.get(f"{BASE}deliveries/")
@router.get(f"{GROUP_BASE}deliveries/")
def list_deliveries(found: ReadSubject, outcome: str = "", before: Before = None) -> Response:
    """Show the deliveries of a handler or a group, newest first: all, or those with one outcome."""
    chosen = read_outcome(outcome)
    received = found.deliveries(PAGE_SIZE + 1, outcome=chosen, before=before)
    here = f"{found.root}{found.place}deliveries/"
    return found.render(
        "deliveries.html",
        **found.values,
        **cut_page(received, PAGE_SIZE, here, before, outcome=chosen),
        filters=outcome_filters(here, chosen),
        is_filtered=chosen is not None or before is not None,
        all_href=here,
    )


@router.get(_DELIVERY)
@router.get(f"{GROUP_BASE}delivery/{{delivery_number}}/")
def show_delivery(found: ReadSubject, delivery_number: Number, again: Before = None) -> Response:
    """Show a delivery without the parts that grant access, and its result. `again` is the delivery that it repeats."""
    return _show_delivery(found, delivery_number, again=again)


@router.post(f"{_DELIVERY}redeliver/")
async def redeliver_delivery(found: CalledSubject, delivery_number: Number, form: SentForm) -> Response:
    """Call the handler with the content of a delivery, and show the resulting delivery.

    If the same form is sent again, it repeats that call: nothing is carried out twice.
    """
    web = found.web
    try:
        await redeliver(
            web.store,
            web.batches.store,
            web.admission_cache,
            found.user,
            service_uuid=found.handler.service_uuid,
            handler_uuid=found.handler.uuid,
            number=delivery_number,
            origin=found.origin,
            now=web.clock(),
            form_sha256=fingerprint(form),
        )
    except (ConflictError, InvalidInputError, NotFoundError, TooManyCallsError) as error:
        return await run_in_threadpool(_show_delivery, found, delivery_number, refused=error)
    made = await run_in_threadpool(_find_made, found, delivery_number)
    place = "deliveries/" if made is None else f"delivery/{made}/?again={delivery_number}"
    return found.go_to(found.place + place)


def _find_made(found: Found, after: int) -> int | None:
    """Return the number of the newest delivery from this visitor's address after another delivery.

    A form that was sent twice created one more delivery, marked as repeated, which contains nothing new.
    """
    address = found.origin.address
    own = (each for each in found.deliveries(10) if each.number > after and each.address == address)
    return next((each.number for each in own if each.outcome is not DeliveryOutcome.REPEATED), None)


def _show_delivery(
    found: Found, number: int, *, again: int | None = None, refused: TutumdError | None = None
) -> Response:
    """Return the page of a delivery. `refused` says why it was not redelivered."""
    delivery = if_there(found.delivery, number)
    if delivery is None:
        raise NotFoundError(
            f"there is no such delivery of this {found.kind}: the log keeps the newest, as far as its budget reaches"
        )
    repeated = if_there(found.delivery, again) if again else None
    # An address alone proves nothing.
    is_repeated = repeated is not None and repeated.number < number and repeated.raw == delivery.raw
    forbidden = "" if found.user.may(Scope.CALL) else "your key may not call handlers: it lacks the scope call"
    text = read_delivery_text(delivery.content)
    reason = describe_reason(delivery)
    if forbidden and hides_url(delivery, text, found.handler.uuid):
        why = "Its content is hidden: it has a handler's URL, or a binary body. A key with the scope call shows it."
        text = DeliveryText(headers=(), query=(), body="", kind="", notes=(why,))
        delivery, reason = replace(delivery, user_agent="hidden"), "hidden" if reason else ""
    made = delivery.outcome in (DeliveryOutcome.QUEUED, DeliveryOutcome.JOINED)
    return found.render(
        "delivery.html",
        refused=refused,
        **found.values,
        delivery=delivery,
        text=text,
        outcome=OUTCOMES[delivery.outcome],
        group_calls=found.store.group_calls(found.user, query_group_calls(delivery)).objects if made else (),
        reason=reason,
        obstacle=find_obstacle(delivery)
        or forbidden
        or ("let its sender send it again" if found.kind == "group" else ""),
        may_try=text.is_stored and not forbidden,
        repeated=again if is_repeated else None,
    )
