"""Pages that connect a sender: choose a service and a sender, see what to enter there, watch the first call arrive."""

import secrets
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response

from tutumd.application import connect as rules
from tutumd.application import handlers
from tutumd.application.connect_form import list_fields
from tutumd.application.connection import MAX_DELIVERIES, judge_connection
from tutumd.application.sender_guide import (
    WHAT_SENDERS_SEE,
    fill_entries,
    find_reach_problem,
    write_command,
    write_example,
)
from tutumd.application.senders import SENDERS, Sender, find_sender, group_senders
from tutumd.errors import NOT_FOUND, InvalidInputError, NotFoundError
from tutumd.model import Handler, Scope, Service, User
from tutumd.model import Query as ListQuery
from tutumd.web.context import context, parse_uuid
from tutumd.web.pages.rendering import render
from tutumd.web.pages.visitors import Caller, Operator, Reader, SentForm, field, is_secure
from tutumd.web.uris import call_uri

router = APIRouter()

_MAX_SERVICES = 20
_MAX_SEARCH = 200
_MAX_SAME_NAME = 100

Number = Annotated[int, Path(ge=1, le=2**62)]
_HANDLER = "/service/{service_uuid}/handler/{number}/connect"


@router.get("/connect/")
def choose_service(request: Request, visitor: Reader, q: str = "") -> Response:
    """Show the services to connect, or those that match a search."""
    search = q.strip()[:_MAX_SEARCH]
    found = context(request).store.service_list(visitor, search=search, limit=_MAX_SERVICES + 1)
    return render(
        request,
        "connect.html",
        search=search,
        services=[each.service for each in found.services[:_MAX_SERVICES]],
        has_more=len(found.services) > _MAX_SERVICES,
    )


@router.get("/service/{service_uuid}/connect/")
def choose_sender(request: Request, visitor: Reader, service_uuid: str, sender: str = "") -> Response:
    """Show the senders; or for one of them, what to choose."""
    service = context(request).store.service(visitor, parse_uuid(service_uuid))
    if sender not in SENDERS:
        return render(request, "connect_sender.html", service=service, groups=group_senders())
    chosen = SENDERS[sender]
    return _show_form(request, visitor, service, chosen)


@router.post("/service/{service_uuid}/connect/")
def connect(request: Request, visitor: Operator, service_uuid: str, form: SentForm) -> Response:
    """Create a handler, and show what to enter at its sender. The same form, sent again, creates nothing."""
    web = context(request)
    service, sender = web.store.service(visitor, parse_uuid(service_uuid)), SENDERS.get(field(form, "sender"))
    if sender is None:
        raise NotFoundError(NOT_FOUND)
    sent, secret = {name: field(form, name) for name in form}, _new_secret(sender)
    try:
        document = rules.make_document(sender, rules.read_choice(sender, sent), secret)
        same_name = ListQuery(filters={"name": document["name"]}, limit=_MAX_SAME_NAME)
        others = web.store.handlers(visitor, service.uuid, same_name).objects
        made = rules.find_repeated(others, document, _parse_moment(field(form, "since")))
        if made is not None:
            return _show_made(request, visitor, service, made, sender)
        [handler] = handlers.create(web.store, visitor, service.uuid, [document], cipher=web.cipher, now=web.clock())
    except InvalidInputError as error:
        return _show_form(request, visitor, service, sender, sent, str(error))
    return _show_made(request, visitor, service, handler, sender, secret if "verify" in document else "")


@router.get(f"{_HANDLER}/")
def wait_for_call(
    request: Request,
    visitor: Reader,
    service_uuid: str,
    number: Number,
    sender: str = "",
    after: Annotated[int, Query(ge=0, le=2**62)] = 0,
) -> Response:
    """Show each check of the newest call, from `after` on, or that none has arrived."""
    web = context(request)
    service, handler = _find(request, visitor, service_uuid, number)
    received = web.store.service_deliveries(visitor, service.uuid, handler_number=number, limit=MAX_DELIVERIES)
    caller = find_sender(sender, _preset(handler))
    newer = [delivery for delivery in received if delivery.number > after]
    return render(
        request,
        "connect_wait.html",
        service=service,
        handler=handler,
        label=handler.name or f"handler {number}",
        key=caller.key if caller else "",
        sender_name=caller.name if caller else "",
        resend=caller.resend if caller else "",
        connection=judge_connection(caller, handler, newer),
        problem=find_reach_problem(make_call_url(request, handler), caller) if caller else None,
        senders_errors=WHAT_SENDERS_SEE,
        may_call=visitor.may(Scope.CALL),
        may_operate=visitor.may(Scope.OPERATE),
        has_secret="verify" in handler.options,
    )


@router.post(f"{_HANDLER}/")
def show_url(request: Request, visitor: Caller, service_uuid: str, number: Number, form: SentForm) -> Response:
    """Show the URL again, without the secret."""
    service, handler = _find(request, visitor, service_uuid, number)
    sender = find_sender(field(form, "sender"), _preset(handler)) or SENDERS["curl"]
    return _show_made(request, visitor, service, handler, sender)


@router.post(f"{_HANDLER}/secret/")
def replace_secret(request: Request, visitor: Operator, service_uuid: str, number: Number, form: SentForm) -> Response:
    """Replace the secrets of a handler by a new one, and show it."""
    web = context(request)
    service, handler = _find(request, visitor, service_uuid, number)
    verify = handlers.public_options(handler)["verify"]
    if verify is None:
        raise InvalidInputError("this handler checks no secret: set its field verify first")
    secret = rules.make_secret(verify["preset"], secrets.token_bytes(32))
    settings = {name: value for name, value in verify.items() if name != "secrets_set"}
    changed = handlers.change(
        web.store,
        visitor,
        service.uuid,
        handler.uuid,
        {"verify": {**settings, "secrets": [secret]}},
        cipher=web.cipher,
        now=web.clock(),
    )
    sender = find_sender(field(form, "sender"), verify["preset"]) or SENDERS["curl"]
    return _show_made(request, visitor, service, changed, sender, secret)


def make_call_url(request: Request, handler: Handler) -> str:
    """Return the whole URL of a handler, which is a password: by the public URL, else as the visitor came here."""
    scheme = "https" if is_secure(request) else "http"
    base = context(request).public_url or f"{scheme}://{request.url.netloc}"
    return base + call_uri(handler.service_uuid, handler.uuid)


def _find(request: Request, visitor: User, service_uuid: str, number: int) -> tuple[Service, Handler]:
    store, uuid = context(request).store, parse_uuid(service_uuid)
    return store.service(visitor, uuid), store.handler_by_number(visitor, uuid, number)


def _preset(handler: Handler) -> str:
    return str(handler.options.get("verify", {}).get("preset", ""))


def _new_secret(sender: Sender) -> str:
    return rules.make_secret(str((sender.verify or {}).get("preset", "")), secrets.token_bytes(32))


def _parse_moment(text: str) -> datetime:
    """Return the moment of a form's field; if it is none, one after all others."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return datetime.max.replace(tzinfo=UTC)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _show_form(
    request: Request,
    visitor: User,
    service: Service,
    sender: Sender,
    sent: dict[str, str] | None = None,
    error: str = "",
) -> Response:
    choice = rules.propose(sender, service.image_name)
    return render(
        request,
        "connect_form.html",
        400 if error else 200,
        service=service,
        sender=sender,
        fields=list_fields(sender, choice, sent),
        error=error,
        since=(sent or {}).get("since") or context(request).clock().isoformat(),
        command=write_command(service.full_name, rules.make_document(sender, choice, "")),
        forbidden="" if visitor.may(Scope.OPERATE) else "your key may not create handlers: it has no scope operate",
    )


def _show_made(
    request: Request, visitor: User, service: Service, handler: Handler, sender: Sender, secret: str = ""
) -> Response:
    url, document = make_call_url(request, handler), rules.read_document(handler)
    received = context(request).store.service_deliveries(visitor, service.uuid, handler_number=handler.number, limit=1)
    return render(
        request,
        "connect_made.html",
        service=service,
        handler=handler,
        sender=sender,
        url=url,
        secret=secret,
        lacks_secret="verify" in document and not secret,
        entries=fill_entries(sender, document, url, secret),
        example=write_example(sender, document, url, secret),
        problem=find_reach_problem(url, sender),
        after=received[0].number if received else 0,
    )
