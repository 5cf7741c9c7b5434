"""Pages that connect a sender: choose a service, a sender, and the calls that count; then the handler is created. The
last pages show what to enter at the sender, and the checks of its first call.
"""

import secrets

from fastapi import APIRouter, Response

from tutumd.application import handlers
from tutumd.application.target_settings import make_secret as make_signing_secret
from tutumd.errors import NOT_FOUND, InvalidInputError, NotFoundError, TutumdError
from tutumd.model import Handler, Query, Scope, Service
from tutumd.web.messages.connection import MAX_DELIVERIES, judge_connection
from tutumd.web.messages.handlers import judge_handler
from tutumd.web.messages.sender_guide import (
    WHAT_SENDERS_SEE,
    fill_entries,
    find_reach_problem,
    write_command,
    write_example,
)
from tutumd.web.messages.senders import (
    KIND_LABELS,
    NOTES,
    OPERATION_LABELS,
    SENDERS,
    Sender,
    find_sender,
    group_senders,
)
from tutumd.web.pages.connect_inputs import check_form, fill_form, list_reaches, propose
from tutumd.web.pages.handler_form import FORM_ERRORS, create_from_form
from tutumd.web.pages.handler_routes import (
    BASE,
    CalledSubject,
    ChangedSubject,
    Found,
    ReadSubject,
    find_subject,
)
from tutumd.web.pages.rendering import FormError, list_errors, start_of_urls
from tutumd.web.pages.visitors import After, Form, Operator, Reader, SentForm, ServiceOfPage, Visit, fingerprint

router = APIRouter()

_MAX_SERVICES = 20
_MADE_BY = {"filter": "patterns", "tag": "patterns"}
"""Inputs of the form that set a field of the handler with another name."""


@router.get("/connect/")
def choose_service(visit: Reader, q: str = "") -> Response:
    """Show the services to connect, or those that match a search."""
    search = q.strip()[:200]
    filters = {"gone": "no", "search": search}
    found = visit.store.services(visit.user, Query(filters=filters, limit=_MAX_SERVICES))
    return visit.render(
        "connect.html",
        search=search,
        services=found.objects,
        has_more=found.total > _MAX_SERVICES,
        has_engines=len({group.engine for group in visit.store.service_groups(visit.user)}) > 1,
    )


@router.get("/service/{uuid}/connect/")
def choose_sender(visit: Reader, service: ServiceOfPage, sender: str = "") -> Response:
    """Show the senders, or the form of one sender."""
    if sender not in SENDERS:
        return visit.render("connect_sender.html", service=service, groups=group_senders(), notes=NOTES)
    return _show_form(visit, service, SENDERS[sender])


@router.post("/service/{uuid}/connect/")
def connect(visit: Operator, service: ServiceOfPage, form: SentForm) -> Response:
    """Create a handler, and show what to enter at its sender. If the same form is sent again, nothing is created."""
    sender = SENDERS.get(form.get("sender", ""))
    if sender is None:
        raise NotFoundError(NOT_FOUND)
    secret = ""
    if sender.verify and not sender.issuer and form.get("verifies", ""):
        secret = make_secret(sender.verify["preset"])
    texts, errors = fill_form(sender, form, secret), check_form(sender, form)
    selector = list_reaches(sender, service).get(form.get("reach", ""), ("", {}))[1]
    owner = "" if selector else service.uuid
    try:
        if errors:
            raise FormError(errors)
        made, is_new = create_from_form(visit, owner, texts, fingerprint(form), selector)
    except FORM_ERRORS as error:
        return _show_form(visit, service, sender, form, error)
    return show_entries(find_subject(visit, owner, made.number), sender, secret if is_new else "")


def _show_form(
    visit: Visit,
    service: Service,
    sender: Sender,
    sent: Form | None = None,
    refused: TutumdError | None = None,
) -> Response:
    others = visit.store.handlers(visit.user, service.uuid, Query(limit=100)).objects
    issuers = [url for url, kind in visit.web.allowed_issuers.items() if kind == sender.issuer]
    proposal = propose(sender, service.image_name, {each.name for each in others if each.name}, issuers)
    if issuers and not visit.web.public_origin:
        proposal["audience"] = start_of_urls(visit.request)
    placed = {_MADE_BY.get(name, name): text for name, text in list_errors(refused).items()}
    return visit.render(
        "connect_form.html",
        refused=refused,
        service=service,
        sender=sender,
        kinds=[(kind.value, KIND_LABELS[kind]) for kind in sender.kinds if kind in KIND_LABELS],
        operations=[(each.value, OPERATION_LABELS[each]) for each in sender.operations],
        reaches=[(key, label) for key, (label, _) in list_reaches(sender, service).items()],
        issuers=[(url, url) for url in issuers],
        typed=proposal if sent is None else sent,
        errors={name if sent and name in sent else "": text for name, text in placed.items()},
        command=write_command(visit.name_in_command(service), fill_form(sender, proposal, "")),
        may_create=visit.user.may(Scope.OPERATE),
    )


@router.get(f"{BASE}connect/")
def wait_for_call(found: ReadSubject, sender: str = "", after: After = 0) -> Response:
    """Show each check of the newest call after the delivery `after`, or that no call has arrived."""
    caller, state = _find_sender(found.handler, sender), judge_handler(found.handler, found.web.clock())
    connection = judge_connection(
        caller, found.handler, [each for each in found.deliveries(MAX_DELIVERIES) if each.number > after]
    )
    return found.render(
        "connect_wait.html",
        **found.values,
        sender=caller,
        connection=connection,
        is_help_open=connection.stage not in ("connected", "failed"),
        state=state,
        is_closed=state.word not in ("active", "unused"),
        problem=find_reach_problem(found.call_url, caller) if caller else None,
        senders_errors=WHAT_SENDERS_SEE,
        fingerprint=_identify_secrets(found.handler),
    )


@router.post(f"{BASE}connect/")
def show_url(found: CalledSubject, form: SentForm) -> Response:
    """Show the URL again, without the secret."""
    return show_entries(found, _find_sender(found.handler, form.get("sender", "")))


@router.post(f"{BASE}connect/secret/")
def replace_secret(found: ChangedSubject, form: SentForm) -> Response:
    """Replace the secrets of a handler by a new secret, and show it. If the same form is sent again, nothing is
    replaced.
    """
    sender = _find_sender(found.handler, form.get("sender", ""))
    verify = handlers.public_options(found.handler)["verify"]
    if not verify or not verify["secrets_set"]:
        raise InvalidInputError("this handler checks no secret: edit who may call it first")
    if form.get("replaces", "") != _identify_secrets(found.handler):
        return show_entries(found, sender)
    secret = make_secret(verify["preset"])
    del verify["secrets_set"]
    found.change({"verify": verify | {"secrets": [secret]}})
    return show_entries(found, sender, secret)


def show_entries(found: Found, sender: Sender | None, secret: str = "") -> Response:
    """Return the page with the values to enter at a sender: the only page that shows the URL, and a new secret."""
    sender, handler, url = sender or SENDERS["curl"], found.handler, found.call_url
    verify = handler.options.get("verify", {})
    has_identity = verify.get("preset") == "oidc"
    newest = next((each.number for each in found.deliveries(1)), 0)
    return found.render(
        "connect_made.html",
        **found.values,
        sender=sender,
        secret=secret,
        lacks_secret=bool(verify) and not has_identity and not secret,
        has_identity=has_identity,
        entries=[] if has_identity else fill_entries(sender, handler, url, secret),
        example=write_example(sender, handler, url, secret),
        problem=find_reach_problem(url, sender),
        watch_at=found.watch and f"{found.watch}?sender={sender.key}&after={newest}",
    )


def make_secret(preset: str) -> str:
    """Return a random secret of 32 bytes for a preset of `verify`."""
    return make_signing_secret() if preset == "standard-webhooks" else secrets.token_urlsafe(32)


def _find_sender(handler: Handler, key: str) -> Sender | None:
    return find_sender(key, str(handler.options.get("verify", {}).get("preset", "")))


def _identify_secrets(handler: Handler) -> str:
    """Return a text that changes with the secrets of a handler; empty if it has none."""
    secrets = handler.options.get("verify", {}).get("secrets")
    return fingerprint(secrets) if secrets else ""
