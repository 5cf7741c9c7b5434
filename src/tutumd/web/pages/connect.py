"""Pages that connect a sender: choose a service and a sender, and what shall count; then the handler is created."""

import secrets

from fastapi import APIRouter, Request
from fastapi.responses import Response

from tutumd.application import handlers
from tutumd.errors import NOT_FOUND, ConflictError, InvalidInputError, NotFoundError, TutumdError
from tutumd.model import Query, Scope, Service, User
from tutumd.web.context import context, parse_uuid
from tutumd.web.messages.sender_guide import write_command
from tutumd.web.messages.senders import KIND_LABELS, NOTES, OPERATION_LABELS, SENDERS, Sender, group_senders
from tutumd.web.pages import connect_choice as rules
from tutumd.web.pages.connect_wait import show_entries
from tutumd.web.pages.handler_routes import ServiceUuid, find_handler
from tutumd.web.pages.rendering import render
from tutumd.web.pages.service_buttons import name_in_command
from tutumd.web.pages.visitors import Operator, Reader, SentForm, field, hash_form

router = APIRouter()

_MAX_SERVICES = 20
_MAX_SEARCH = 200
_MAX_NAMES = 100
_MADE_BY = {"filter": "patterns", "tag": "patterns"}
"""Inputs of the form that set a field of the handler with another name."""


@router.get("/connect/")
def choose_service(request: Request, visitor: Reader, q: str = "") -> Response:
    """Show the services to connect, or those that match a search."""
    search = q.strip()[:_MAX_SEARCH]
    store, filters = context(request).store, {"gone": "no", "search": search}
    found = store.services(visitor, Query(filters=filters, limit=_MAX_SERVICES, by_stack=True))
    return render(
        request,
        "connect.html",
        search=search,
        services=found.objects,
        has_more=found.total > _MAX_SERVICES,
        has_engines=len({group.engine for group in store.service_groups(visitor)}) > 1,
    )


@router.get("/service/{service_uuid}/connect/")
def choose_sender(request: Request, visitor: Reader, service_uuid: ServiceUuid, sender: str = "") -> Response:
    """Show the senders; or for one of them, what to choose."""
    service = context(request).store.service(visitor, parse_uuid(service_uuid))
    if sender not in SENDERS:
        return render(request, "connect_sender.html", service=service, groups=group_senders(), notes=NOTES)
    chosen = SENDERS[sender]
    return _show_form(request, visitor, service, chosen)


@router.post("/service/{service_uuid}/connect/")
def connect(request: Request, visitor: Operator, service_uuid: ServiceUuid, form: SentForm) -> Response:
    """Create a handler, and show what to enter at its sender. The same form, sent again, creates nothing."""
    web = context(request)
    service, sender = web.store.service(visitor, parse_uuid(service_uuid)), SENDERS.get(field(form, "sender"))
    if sender is None:
        raise NotFoundError(NOT_FOUND)
    sent = {name: field(form, name) for name in form}
    secret = rules.make_secret(str((sender.verify or {}).get("preset", "")), secrets.token_bytes(32))
    try:
        document = rules.make_document(sender, rules.read_choice(sender, sent), secret)
        handler, is_new = handlers.create_once(
            web.store, visitor, service.uuid, document, hash_form(form), cipher=web.cipher, now=web.clock()
        )
    except (InvalidInputError, ConflictError) as error:
        return _show_form(request, visitor, service, sender, sent, error)
    found = find_handler(request, visitor, service_uuid, handler.number)
    return show_entries(request, visitor, found, sender, secret if is_new and "verify" in document else "")


def _show_form(
    request: Request,
    visitor: User,
    service: Service,
    sender: Sender,
    sent: dict[str, str] | None = None,
    error: TutumdError | None = None,
) -> Response:
    web = context(request)
    others = web.store.handlers(visitor, service.uuid, Query(limit=_MAX_NAMES)).objects
    choice = rules.propose(sender, service.image_name, {each.name for each in others if each.name})
    place = _MADE_BY.get(error.field, error.field) if error else ""
    return render(
        request,
        "connect_form.html",
        400 if error else 200,
        service=service,
        sender=sender,
        kinds=[(kind.value, KIND_LABELS[kind]) for kind in sender.kinds if kind in KIND_LABELS],
        operations=[(each.value, OPERATION_LABELS[each]) for each in sender.operations],
        typed=rules.write_choice(choice) if sent is None else sent,
        errors={place if sent and place in sent else "": str(error)} if error else {},
        command=write_command(name_in_command(web.store, visitor, service), rules.make_document(sender, choice, "")),
        may_create=visitor.may(Scope.OPERATE),
    )
