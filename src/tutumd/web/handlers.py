"""Webhook handlers below their service: list, create, get, delete."""

from typing import Annotated

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response
from pydantic import TypeAdapter

from tutumd.application import handlers as rules
from tutumd.application.queries import HANDLER_FILTERS, parse_query
from tutumd.web import render, schemas
from tutumd.web.auth import Viewer
from tutumd.web.body import Body, documented, parse
from tutumd.web.state import edge, parse_uuid

router = APIRouter(prefix=f"{render.PREFIX}/service/{{service_uuid}}/webhook/handler", tags=["webhook handlers"])

ServiceUuid = Annotated[str, Path(description="UUID of the service")]
HandlerUuid = Annotated[str, Path(description="UUID of the webhook handler")]

_NEW: TypeAdapter[schemas.HandlerIn | list[schemas.HandlerIn]] = TypeAdapter(
    schemas.HandlerIn | list[schemas.HandlerIn]
)
_ONE = TypeAdapter(schemas.HandlerIn)
_MANY = TypeAdapter(list[schemas.HandlerIn])


@router.get("/")
def list_handlers(request: Request, viewer: Viewer, service_uuid: ServiceUuid) -> schemas.ListOut[schemas.HandlerOut]:
    """List the webhook handlers of a service. Filters: uuid, uuid__startswith, name; pages: limit, offset."""
    query = parse_query(request.query_params.multi_items(), HANDLER_FILTERS)
    uuid = parse_uuid(service_uuid)
    found = edge(request).store.handlers(viewer, uuid, query)
    return render.page(f"{render.service_uri(uuid)}webhook/handler/", query, found, render.handler)


@router.post("/", status_code=201, openapi_extra=documented(_NEW))
def create_handlers(
    request: Request, viewer: Viewer, service_uuid: ServiceUuid, body: Body
) -> schemas.HandlerOut | list[schemas.HandlerOut]:
    """Create one webhook handler from an object, or several from a list: all of them or none."""
    is_list = body.lstrip()[:1] == b"["
    entries = parse(body, _MANY) if is_list else [parse(body, _ONE)]
    made = rules.create(
        edge(request).store,
        viewer,
        parse_uuid(service_uuid),
        [(entry.name, entry.operation) for entry in entries],
    )
    written = [render.handler(handler) for handler in made]
    return written if is_list else written[0]


@router.get("/{handler_uuid}/")
def get_handler(
    request: Request, viewer: Viewer, service_uuid: ServiceUuid, handler_uuid: HandlerUuid
) -> schemas.HandlerOut:
    """Get a webhook handler."""
    found = edge(request).store.handler(viewer, parse_uuid(service_uuid), parse_uuid(handler_uuid))
    return render.handler(found)


@router.delete("/{handler_uuid}/", status_code=204)
def delete_handler(request: Request, viewer: Viewer, service_uuid: ServiceUuid, handler_uuid: HandlerUuid) -> Response:
    """Revoke a webhook handler: once this is answered, no call to it is accepted."""
    edge(request).store.delete_handler(viewer, parse_uuid(service_uuid), parse_uuid(handler_uuid))
    return Response(status_code=204)


@router.get("/{handler_uuid}/delivery/")
def list_deliveries(
    request: Request, viewer: Viewer, service_uuid: ServiceUuid, handler_uuid: HandlerUuid
) -> schemas.ListOut[schemas.DeliveryOut]:
    """List the calls that a handler received, newest first. Pages: limit, offset."""
    query = parse_query(request.query_params.multi_items(), frozenset())
    service, handler = parse_uuid(service_uuid), parse_uuid(handler_uuid)
    found = edge(request).store.deliveries(viewer, service, handler, query)
    path = f"{render.service_uri(service)}webhook/handler/{handler}/delivery/"
    return render.page(path, query, found, render.delivery)
