"""Webhook handlers below their service: list, create, get, change, rotate, try out, delete."""

import json
from itertools import chain
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response
from pydantic import TypeAdapter

from tutumd.application import handlers as rules
from tutumd.application.admission.evaluate import Admitted, Explanation, Hidden, Received, Skipped
from tutumd.application.queries import HANDLER_FILTERS, parse_query, parse_unused
from tutumd.errors import InvalidInputError
from tutumd.web.api import render, schemas
from tutumd.web.auth import Viewer
from tutumd.web.body import Body, documented, documented_list, parse
from tutumd.web.context import context, parse_uuid

router = APIRouter(prefix=render.PREFIX, tags=["webhook handlers"])

ServiceUuid = Annotated[str, Path(description="UUID of the service")]
HandlerUuid = Annotated[str, Path(description="UUID of the webhook handler")]
BASE = "/service/{service_uuid}/webhook/handler"

_NEW: TypeAdapter[schemas.HandlerIn | list[schemas.HandlerIn]] = TypeAdapter(
    schemas.HandlerIn | list[schemas.HandlerIn]
)
_ONE = TypeAdapter(schemas.HandlerIn)
_MANY = TypeAdapter(list[schemas.HandlerIn])
_ROTATE = TypeAdapter(schemas.RotateIn)
_TEST = TypeAdapter(schemas.TestIn)


@router.get(f"{BASE}/", openapi_extra=documented_list(HANDLER_FILTERS))
def list_handlers(request: Request, viewer: Viewer, service_uuid: ServiceUuid) -> schemas.ListOut[schemas.HandlerOut]:
    """List the webhook handlers of a service. Filters: uuid, uuid__startswith, name; pages: limit, offset."""
    query = parse_query(request.query_params.multi_items(), HANDLER_FILTERS)
    uuid = parse_uuid(service_uuid)
    found = context(request).store.handlers(viewer, uuid, query)
    path = f"{render.service_uri(uuid)}webhook/handler/"
    return render.page(path, query, found, render.handler)


@router.post(f"{BASE}/", status_code=201, openapi_extra=documented(_NEW))
def create_handlers(
    request: Request, viewer: Viewer, service_uuid: ServiceUuid, body: Body
) -> schemas.HandlerOut | list[schemas.HandlerOut]:
    """Create one webhook handler from an object, or several from a list: all of them or none."""
    is_list = body.lstrip()[:1] == b"["
    entries = parse(body, _MANY) if is_list else [parse(body, _ONE)]
    found = context(request)
    made = rules.create(
        found.store,
        viewer,
        parse_uuid(service_uuid),
        [_sent(entry) for entry in entries],
        cipher=found.cipher,
        now=found.clock(),
    )
    written = [render.handler(handler) for handler in made]
    return written if is_list else written[0]


@router.get(f"{BASE}/{{handler_uuid}}/")
def get_handler(
    request: Request, viewer: Viewer, service_uuid: ServiceUuid, handler_uuid: HandlerUuid
) -> schemas.HandlerOut:
    """Get a webhook handler."""
    return render.handler(context(request).store.handler(viewer, parse_uuid(service_uuid), parse_uuid(handler_uuid)))


@router.patch(f"{BASE}/{{handler_uuid}}/", openapi_extra=documented(_ONE))
def change_handler(
    request: Request, viewer: Viewer, service_uuid: ServiceUuid, handler_uuid: HandlerUuid, body: Body
) -> schemas.HandlerOut:
    """Change fields of a webhook handler; those that are absent stay, null resets."""
    found = context(request)
    changed = rules.change(
        found.store,
        viewer,
        parse_uuid(service_uuid),
        parse_uuid(handler_uuid),
        _sent(parse(body, _ONE)),
        cipher=found.cipher,
        now=found.clock(),
    )
    return render.handler(changed)


@router.post(f"{BASE}/{{handler_uuid}}/rotate/", status_code=201, openapi_extra=documented(_ROTATE))
def rotate_handler(
    request: Request, viewer: Viewer, service_uuid: ServiceUuid, handler_uuid: HandlerUuid, body: Body
) -> schemas.HandlerOut:
    """Give a webhook handler a new URL; the old one may still be called, and nothing else, for `grace` seconds."""
    sent = parse(body or b"{}", _ROTATE)
    found = context(request)
    rotated = rules.rotate(
        found.store,
        viewer,
        parse_uuid(service_uuid),
        parse_uuid(handler_uuid),
        sent.grace,
        now=found.clock(),
    )
    return render.handler(rotated)


@router.post(f"{BASE}/{{handler_uuid}}/test/", openapi_extra=documented(_TEST))
def try_handler(
    request: Request, viewer: Viewer, service_uuid: ServiceUuid, handler_uuid: HandlerUuid, body: Body
) -> schemas.TestOut:
    """Tell what a call would do, and why. Nothing is done."""
    found = context(request)
    sent = parse(body or b"{}", _TEST)
    handler = found.store.handler(viewer, parse_uuid(service_uuid), parse_uuid(handler_uuid))
    text = sent.body if isinstance(sent.body, str) else json.dumps(sent.body)
    for part in (text, sent.address, *chain(*sent.headers.items(), *sent.query.items())):
        if any("\ud800" <= char <= "\udfff" for char in part):
            raise InvalidInputError("a test must not contain halves of characters: no call can carry them")
    received = Received(
        headers=list(sent.headers.items()),
        query=list(sent.query.items()),
        body=text.encode(),
        address=sent.address,
        now=found.clock(),
    )
    return _explained(rules.try_out(handler, received, cipher=found.cipher))


@router.delete(f"{BASE}/{{handler_uuid}}/", status_code=204)
def delete_handler(request: Request, viewer: Viewer, service_uuid: ServiceUuid, handler_uuid: HandlerUuid) -> Response:
    """Revoke a webhook handler: once this is answered, no call to it is accepted."""
    context(request).store.delete_handler(viewer, parse_uuid(service_uuid), parse_uuid(handler_uuid))
    return Response(status_code=204)


@router.get("/webhook/handler/", openapi_extra=documented_list(frozenset({"unused_days"})))
def list_unused_handlers(request: Request, viewer: Viewer) -> schemas.ListOut[schemas.UnusedHandlerOut]:
    """List the handlers of all services that were not called for `unused_days`; pages: limit, offset."""
    before, query = parse_unused(request.query_params.multi_items(), context(request).clock())
    found = context(request).store.unused_handlers(viewer, before, query)
    return render.page(
        f"{render.PREFIX}/webhook/handler/",
        query,
        found,
        lambda handler: schemas.UnusedHandlerOut(
            **render.handler(handler).model_dump(), service=render.service_uri(handler.service_uuid)
        ),
    )


def _sent(entry: schemas.HandlerIn) -> rules.Sent:
    return rules.Sent(
        named=entry.model_dump(include={"name", "operation"}, exclude_unset=True), options=entry.model_extra or {}
    )


def _explained(found: Explanation) -> schemas.TestOut:
    verdict = found.verdict
    fields: dict[str, Any] = {"verdict": "invalid", "status": 400, "reason": found.error}
    if isinstance(verdict, Admitted):
        fields = {"verdict": "go", "status": 202, "reason": ""}
    elif isinstance(verdict, Skipped):
        fields = {"verdict": "skipped", "status": 200, "reason": verdict.reason}
    elif isinstance(verdict, Hidden):
        fields = {"verdict": "not_found", "status": 404, "reason": verdict.reason}
    elif verdict is not None:
        fields = {"verdict": "unauthorized", "status": 401, "reason": verdict.reason}
    return schemas.TestOut(
        **fields,
        tag=verdict.tag if isinstance(verdict, Admitted) else None,
        variable=verdict.variable[0]
        if isinstance(verdict, Admitted) and verdict.variable and not verdict.notes
        else None,
        notes=list(verdict.notes) if isinstance(verdict, Admitted) else [],
        steps=[schemas.StepOut(check=step.check, passes=step.passes, why=step.why) for step in found.steps],
    )
