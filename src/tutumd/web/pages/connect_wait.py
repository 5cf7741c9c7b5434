"""The second half of connecting a sender: what to enter there, and each check of its first call."""

import hashlib
import json
import secrets
from typing import Annotated

from fastapi import Query as Parameter
from fastapi import Request
from fastapi.responses import RedirectResponse, Response

from tutumd.application import handlers
from tutumd.errors import InvalidInputError
from tutumd.model import Handler, Query, User
from tutumd.web.context import context
from tutumd.web.messages.connection import MAX_DELIVERIES, Stage, judge_connection
from tutumd.web.messages.handlers import judge_handler
from tutumd.web.messages.sender_guide import WHAT_SENDERS_SEE, fill_entries, find_reach_problem, write_example
from tutumd.web.messages.senders import SENDERS, Sender, find_sender
from tutumd.web.pages.connect_choice import make_secret, read_document
from tutumd.web.pages.handler_routes import (
    BASE,
    FoundHandler,
    Number,
    ServiceUuid,
    find_handler,
    make_call_url,
    make_router,
    rights_of,
)
from tutumd.web.pages.rendering import render
from tutumd.web.pages.visitors import Caller, Operator, Reader, SentForm, field

router = make_router()

_OPEN = ("active", "unused")


@router.get(f"{BASE}connect/")
def wait_for_call(
    request: Request,
    visitor: Reader,
    service_uuid: ServiceUuid,
    number: Number,
    sender: str = "",
    after: Annotated[int, Parameter(ge=0, le=2**62)] = 0,
) -> Response:
    """Show each check of the newest call behind the delivery `after`, or that none has arrived."""
    web, found = context(request), find_handler(request, visitor, service_uuid, number)
    query = Query.newest(MAX_DELIVERIES, service=found.service.uuid, handler=number)
    received = web.store.deliveries(visitor, query).objects
    caller, state = _find_sender(found.handler, sender), judge_handler(found.handler, web.clock())
    connection = judge_connection(caller, found.handler, [each for each in received if each.number > after])
    return render(
        request,
        "connect_wait.html",
        **found.values,
        **rights_of(visitor),
        sender=caller,
        connection=connection,
        is_help_open=connection.stage not in (Stage.CONNECTED, Stage.FAILED),
        state=state,
        is_closed=state.word not in _OPEN,
        problem=find_reach_problem(make_call_url(request, found.handler), caller) if caller else None,
        senders_errors=WHAT_SENDERS_SEE,
        fingerprint=_fingerprint(found.handler),
    )


@router.post(f"{BASE}connect/")
def show_url(request: Request, visitor: Caller, service_uuid: ServiceUuid, number: Number, form: SentForm) -> Response:
    """Show the URL again, without the secret."""
    found = find_handler(request, visitor, service_uuid, number)
    return show_entries(request, visitor, found, _find_sender(found.handler, field(form, "sender")))


@router.get(f"{BASE}connect/secret/")
def leave_secret(request: Request, visitor: Reader, service_uuid: ServiceUuid, number: Number) -> Response:
    """Lead to the checks: a secret is shown only in response to its button."""
    found = find_handler(request, visitor, service_uuid, number)
    return RedirectResponse(f"{found.path}connect/", 303, headers={"Cache-Control": "no-store"})


@router.post(f"{BASE}connect/secret/")
def replace_secret(
    request: Request, visitor: Operator, service_uuid: ServiceUuid, number: Number, form: SentForm
) -> Response:
    """Replace the secrets of a handler by a new one, and show it. The same form, sent again, replaces nothing."""
    web, found = context(request), find_handler(request, visitor, service_uuid, number)
    sender, verify = (
        _find_sender(found.handler, field(form, "sender")),
        handlers.public_options(found.handler)["verify"],
    )
    if verify is None:
        raise InvalidInputError("this handler checks no secret: edit who may call it first")
    if field(form, "replaces") != _fingerprint(found.handler):
        return show_entries(request, visitor, found, sender)
    secret = make_secret(verify["preset"], secrets.token_bytes(32))
    settings = {name: value for name, value in verify.items() if name != "secrets_set"}
    document = {"verify": {**settings, "secrets": [secret]}}
    handlers.change(
        web.store, visitor, found.service.uuid, found.handler.uuid, document, cipher=web.cipher, now=web.clock()
    )
    return show_entries(request, visitor, found, sender, secret)


def show_entries(
    request: Request, visitor: User, found: FoundHandler, sender: Sender | None, secret: str = ""
) -> Response:
    """Return the page that says what to enter at a sender: the one page that shows the URL, and a new secret."""
    sender = sender or SENDERS["curl"]
    handler, url = found.handler, make_call_url(request, found.handler)
    document = read_document(handler)
    query = Query.newest(1, service=found.service.uuid, handler=handler.number)
    received = context(request).store.deliveries(visitor, query).objects
    return render(
        request,
        "connect_made.html",
        **found.values,
        sender=sender,
        secret=secret,
        lacks_secret="verify" in document and not secret,
        entries=fill_entries(sender, document, url, secret),
        example=write_example(sender, handler, url, secret),
        problem=find_reach_problem(url, sender),
        after=received[0].number if received else 0,
    )


def _find_sender(handler: Handler, key: str) -> Sender | None:
    return find_sender(key, str(handler.options.get("verify", {}).get("preset", "")))


def _fingerprint(handler: Handler) -> str:
    """Return what changes with the secrets of a handler, and tells nothing of them; empty if it has none."""
    verify = handler.options.get("verify")
    return hashlib.sha256(json.dumps(verify["secrets"]).encode()).hexdigest()[:16] if verify else ""
