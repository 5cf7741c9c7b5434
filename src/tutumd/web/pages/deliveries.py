"""Pages of deliveries: what a handler received, what became of it, and sending it again."""

from dataclasses import replace
from typing import Annotated

from fastapi import Path, Request
from fastapi import Query as Parameter
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse, Response

from tutumd.application.redelivery import find_obstacle, redeliver
from tutumd.errors import ConflictError, InvalidInputError, NotFoundError, TooManyCallsError, TutumdError
from tutumd.model import Delivery, DeliveryOutcome, Query, Scope, User
from tutumd.web.context import context
from tutumd.web.errors import STATUSES
from tutumd.web.messages.deliveries import (
    DeliveryText,
    describe_outcome,
    describe_reason,
    describe_wish,
    hides_url,
    read_delivery_text,
)
from tutumd.web.pages.handler_routes import (
    BASE,
    HAS_NEW_URL,
    FoundHandler,
    Number,
    ServiceUuid,
    find_handler,
    make_router,
)
from tutumd.web.pages.rendering import render
from tutumd.web.pages.visitors import Caller, Reader, SentForm, hash_form

router = make_router()

PAGE_SIZE = 30
_NEWEST = 10
_MAX_NUMBER = 2**62
_HIDDEN = "Its content is hidden: it has a handler's URL, or a binary body. A key with the scope call shows it."
_NOT_STORED = "there is no such delivery of this handler: the log keeps the newest, as far as its budget reaches"

DeliveryNumber = Annotated[int, Path(ge=1, le=_MAX_NUMBER)]
OtherNumber = Annotated[int | None, Parameter(ge=1, le=_MAX_NUMBER)]
_DELIVERY = f"{BASE}delivery/{{delivery_number}}/"


@router.get(f"{BASE}deliveries/")
def list_deliveries(
    request: Request,
    visitor: Reader,
    service_uuid: ServiceUuid,
    number: Number,
    outcome: str = "",
    before: OtherNumber = None,
) -> Response:
    """Show what a handler received, newest first: all, or those of one outcome."""
    found = find_handler(request, visitor, service_uuid, number)
    chosen = next((each for each in DeliveryOutcome if each.value == outcome), None)
    query = Query.newest(PAGE_SIZE + 1, service=found.service.uuid, handler=number, outcome=chosen, number__lt=before)
    received = context(request).store.deliveries(visitor, query).objects
    shown, here = received[:PAGE_SIZE], f"{found.path}deliveries/"
    filters = [("All", here, None, chosen is None)]
    filters += [(each.value, f"{here}?outcome={each.value}", None, each is chosen) for each in DeliveryOutcome]
    only = f"&outcome={chosen.value}" if chosen else ""
    return render(
        request,
        "deliveries.html",
        **found.values,
        rows=[(delivery, describe_wish(delivery, found.handler.operation)) for delivery in shown],
        filters=filters,
        is_filtered=chosen is not None or before is not None,
        all_href=here,
        older_href=f"{here}?before={shown[-1].number}{only}" if len(received) > PAGE_SIZE else "",
        newest_href="" if before is None else f"{here}?{only.removeprefix('&')}",
    )


@router.get(_DELIVERY)
def show_delivery(
    request: Request,
    visitor: Reader,
    service_uuid: ServiceUuid,
    number: Number,
    delivery_number: DeliveryNumber,
    again: OtherNumber = None,
) -> Response:
    """Show what was received, without what grants access, and what became of it. `again`: which one it repeats."""
    found = find_handler(request, visitor, service_uuid, number)
    return _show(request, visitor, found, delivery_number, again=again)


@router.get(f"{_DELIVERY}redeliver/")
def leave_redelivery(
    request: Request, visitor: Reader, service_uuid: ServiceUuid, number: Number, delivery_number: DeliveryNumber
) -> Response:
    """Lead to the delivery: it is sent again only by its button."""
    found = find_handler(request, visitor, service_uuid, number)
    return RedirectResponse(f"{found.path}delivery/{delivery_number}/", 303, headers={"Cache-Control": "no-store"})


@router.post(f"{_DELIVERY}redeliver/")
async def redeliver_delivery(
    request: Request,
    visitor: Caller,
    service_uuid: ServiceUuid,
    number: Number,
    delivery_number: DeliveryNumber,
    form: SentForm,
) -> Response:
    """Call the handler with the content of a delivery, and show the delivery that this makes.

    The same form, sent again, repeats that call: nothing is carried out twice.
    """
    web = context(request)
    found = await run_in_threadpool(find_handler, request, visitor, service_uuid, number)
    try:
        await redeliver(
            web.store,
            web.batches.store,
            web.admission_cache,
            visitor,
            service_uuid=found.service.uuid,
            handler_uuid=found.handler.uuid,
            number=delivery_number,
            origin=web.read_origin(request.scope),
            now=web.clock(),
            form_sha256=hash_form(form),
        )
    except (ConflictError, InvalidInputError, NotFoundError, TooManyCallsError) as error:
        return await run_in_threadpool(_refuse, request, visitor, found, delivery_number, error)
    made = await run_in_threadpool(_find_made, request, visitor, found, delivery_number)
    address = "deliveries/" if made is None else f"delivery/{made}/?again={delivery_number}"
    return RedirectResponse(found.path + address, 303, headers={"Cache-Control": "no-store"})


def _refuse(request: Request, visitor: User, found: FoundHandler, number: int, error: TutumdError) -> Response:
    """Show a delivery, and why it was not sent again."""
    now = find_handler(request, visitor, found.service.uuid, found.handler.number)
    has_new_url = isinstance(error, NotFoundError) and now.handler.uuid != found.handler.uuid
    return _show(request, visitor, now, number, error=ConflictError(HAS_NEW_URL) if has_new_url else error)


def _find_made(request: Request, visitor: User, found: FoundHandler, after: int) -> int | None:
    """Return the number of the newest delivery that came from this visitor's address since another one.

    A form that was sent twice made one more, as repeated, that says nothing new.
    """
    address = context(request).read_origin(request.scope).address
    query = Query.newest(_NEWEST, service=found.service.uuid, handler=found.handler.number)
    received = context(request).store.deliveries(visitor, query).objects
    own = (each for each in received if each.number > after and each.address == address)
    return next((each.number for each in own if each.outcome is not DeliveryOutcome.REPEATED), None)


def _show(
    request: Request,
    visitor: User,
    found: FoundHandler,
    number: int,
    *,
    again: int | None = None,
    error: TutumdError | None = None,
) -> Response:
    delivery = _read(request, visitor, found, number)
    if delivery is None:
        return render(request, "error.html", 404, heading="Not found", error=_NOT_STORED)
    repeated = _read(request, visitor, found, again) if again else None
    # An address alone proves nothing.
    is_repeated = repeated is not None and repeated.number < number and repeated.raw == delivery.raw
    forbidden = "" if visitor.may(Scope.CALL) else "your key may not call handlers: it lacks the scope call"
    text = read_delivery_text(delivery.content)
    reason = describe_reason(delivery)
    if forbidden and hides_url(delivery, text, found.handler.uuid):
        text = DeliveryText(headers=(), query=(), body="", kind="", notes=(_HIDDEN,))
        delivery, reason = replace(delivery, user_agent="hidden"), "hidden" if reason else ""
    return render(
        request,
        "delivery.html",
        200 if error is None else next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES),
        **found.values,
        delivery=delivery,
        text=text,
        outcome=describe_outcome(delivery),
        reason=reason,
        wish=describe_wish(delivery, found.handler.operation),
        obstacle=find_obstacle(delivery) or forbidden,
        may_try=text.is_stored and not forbidden,
        repeated=again if is_repeated else None,
        error=str(error) if error else "",
    )


def _read(request: Request, visitor: User, found: FoundHandler, number: int) -> Delivery | None:
    store = context(request).store
    try:
        return store.delivery(visitor, found.service.uuid, found.handler.uuid, number)
    except NotFoundError:
        return None
