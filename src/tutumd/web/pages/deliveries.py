"""Pages of deliveries: what a handler received, what became of it, and sending it again."""

from shlex import quote
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse, Response

from tutumd.application.delivery_text import describe_outcome, describe_wish, read_delivery_text
from tutumd.application.redelivery import find_obstacle, redeliver
from tutumd.errors import ConflictError, InvalidInputError, TooManyCallsError, TutumdError
from tutumd.model import Delivery, DeliveryOutcome, Handler, Scope, Service, User
from tutumd.web.context import context, parse_uuid
from tutumd.web.errors import STATUSES
from tutumd.web.pages.rendering import render
from tutumd.web.pages.visitors import Caller, Reader

router = APIRouter()

PAGE_SIZE = 30
_MAX_NUMBER = 2**62
_NEWEST = 10

Number = Annotated[int, Path(ge=1, le=_MAX_NUMBER)]
DeliveryNumber = Annotated[int | None, Query(ge=1, le=_MAX_NUMBER)]
_HANDLER = "/service/{service_uuid}/handler/{number}"
_DELIVERY = f"{_HANDLER}/delivery/{{delivery_number}}"


@router.get(f"{_HANDLER}/deliveries/")
def list_deliveries(
    request: Request,
    visitor: Reader,
    service_uuid: str,
    number: Number,
    outcome: str = "",
    before: DeliveryNumber = None,
) -> Response:
    """Show what a handler received, newest first: all, or those of one outcome."""
    service, handler = _find(request, visitor, service_uuid, number)
    chosen = next((each for each in DeliveryOutcome if each.value == outcome), None)
    found = context(request).store.service_deliveries(
        visitor, service.uuid, handler_number=number, outcome=chosen, before=before, limit=PAGE_SIZE + 1
    )
    shown = found[:PAGE_SIZE]
    return render(
        request,
        "deliveries.html",
        service=service,
        handler=handler,
        label=handler.name or f"handler {number}",
        rows=[(delivery, describe_wish(delivery, handler.operation)) for delivery in shown],
        outcomes=[each.value for each in DeliveryOutcome],
        outcome=chosen.value if chosen else "",
        older=shown[-1].number if len(found) > PAGE_SIZE else None,
        is_newest=before is None,
    )


@router.get(f"{_DELIVERY}/")
def show_delivery(
    request: Request,
    visitor: Reader,
    service_uuid: str,
    number: Number,
    delivery_number: Number,
    again: DeliveryNumber = None,
) -> Response:
    """Show what was received, without what grants access, and what became of it. `again`: which one it repeats."""
    service, handler = _find(request, visitor, service_uuid, number)
    return _show(request, visitor, service, handler, delivery_number, again=again)


@router.post(f"{_DELIVERY}/redeliver/")
async def redeliver_delivery(
    request: Request, visitor: Caller, service_uuid: str, number: Number, delivery_number: Number
) -> Response:
    """Call the handler with the content of a delivery, and show the delivery that this makes."""
    web = context(request)
    service, handler = await run_in_threadpool(_find, request, visitor, service_uuid, number)
    try:
        await redeliver(
            web.store,
            web.batches.store,
            web.admission_cache,
            visitor,
            service_uuid=service.uuid,
            handler_uuid=handler.uuid,
            number=delivery_number,
            origin=web.read_origin(request.scope),
            now=web.clock(),
        )
    except (ConflictError, InvalidInputError, TooManyCallsError) as error:
        return await run_in_threadpool(_show, request, visitor, service, handler, delivery_number, error=error)
    made = await run_in_threadpool(_find_made, request, visitor, service, number, delivery_number)
    path = f"{web.public_path}/service/{service.uuid}/handler/{number}"
    address = f"{path}/deliveries/" if made is None else f"{path}/delivery/{made}/?again={delivery_number}"
    return RedirectResponse(address, 303, headers={"Cache-Control": "no-store"})


def _find(request: Request, visitor: User, service_uuid: str, number: int) -> tuple[Service, Handler]:
    store, uuid = context(request).store, parse_uuid(service_uuid)
    return store.service(visitor, uuid), store.handler_by_number(visitor, uuid, number)


def _find_made(request: Request, visitor: User, service: Service, number: int, after: int) -> int | None:
    """Return the number of the newest delivery that this visitor's browser made since another one."""
    origin = context(request).read_origin(request.scope)
    found = context(request).store.service_deliveries(visitor, service.uuid, handler_number=number, limit=_NEWEST)
    made = (each.number for each in found if each.number > after and each.address == origin.address)
    return next(made, None)


def _show(
    request: Request,
    visitor: User,
    service: Service,
    handler: Handler,
    number: int,
    *,
    again: int | None = None,
    error: TutumdError | None = None,
) -> Response:
    delivery = context(request).store.delivery_by_number(visitor, service.uuid, handler.number, number)
    forbidden = "" if visitor.may(Scope.CALL) else "your key may not call handlers: it has no scope call"
    label, name = handler.name or f"handler {handler.number}", handler.name or "HANDLER"
    status = 200 if error is None else next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)
    return render(
        request,
        "delivery.html",
        status,
        service=service,
        handler=handler,
        label=label,
        delivery=delivery,
        text=read_delivery_text(delivery.content),
        outcome=describe_outcome(delivery),
        wish=describe_wish(delivery, handler.operation),
        obstacle=find_obstacle(delivery) or forbidden,
        command=f"tutum webhook-handler redeliver {quote(service.full_name)} {quote(name)} {number}",
        repeated=again if again and _is_same(request, visitor, service, delivery, again) else None,
        error=str(error) if error else "",
    )


def _is_same(request: Request, visitor: User, service: Service, delivery: Delivery, other: int) -> bool:
    """Return whether another delivery of the handler has the same content: an address alone proves nothing."""
    if delivery.handler_number is None:
        return False
    try:
        earlier = context(request).store.delivery_by_number(visitor, service.uuid, delivery.handler_number, other)
    except TutumdError:
        return False
    return earlier.number < delivery.number and earlier.raw == delivery.raw
