"""Pages that connect a sender: choose a service, a sender, and the calls that count; then the handler is created. The
last pages show what to enter at the sender, and the checks of its first call.
"""

import re
import secrets
from collections.abc import Collection, Mapping
from itertools import chain, count
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from tutumd.application import handlers
from tutumd.application.admission.json_checks import split_texts
from tutumd.application.target_settings import make_secret as make_signing_secret
from tutumd.errors import NOT_FOUND, InvalidInputError, NotFoundError
from tutumd.model import Handler, Operation, Query, Scope, Service, User
from tutumd.model.images import split_image
from tutumd.web.context import context, parse_uuid
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
    Kind,
    Sender,
    find_sender,
    group_senders,
)
from tutumd.web.pages.group_form import create_from_form as create_group
from tutumd.web.pages.group_routes import find_group
from tutumd.web.pages.handler_form import create_from_form
from tutumd.web.pages.handler_routes import (
    BASE,
    CalledHandler,
    ChangedHandler,
    Found,
    FoundHandler,
    ReadHandler,
    find_handler,
)
from tutumd.web.pages.rendering import render
from tutumd.web.pages.service_buttons import name_in_command
from tutumd.web.pages.visitors import After, Operator, Reader, SentForm, fingerprint

router = APIRouter()

_MAX_SERVICES = 20
_MADE_BY = {"filter": "patterns", "tag": "patterns"}
"""Inputs of the form that set a field of the handler with another name."""
DEFAULT_CAP = "10"

_HARBOR_IMAGE = re.compile(r"(?!docker\.io/|ghcr\.io/|quay\.io/)[^/]*[.:][^/]*/(.+?)(:[^/]*)?")


@router.get("/connect/")
def choose_service(request: Request, visitor: Reader, q: str = "") -> Response:
    """Show the services to connect, or those that match a search."""
    search = q.strip()[:200]
    store, filters = context(request).store, {"gone": "no", "search": search}
    found = store.services(visitor, Query(filters=filters, limit=_MAX_SERVICES))
    return render(
        request,
        "connect.html",
        search=search,
        services=found.objects,
        has_more=found.total > _MAX_SERVICES,
        has_engines=len({group.engine for group in store.service_groups(visitor)}) > 1,
    )


@router.get("/service/{service_uuid}/connect/")
def choose_sender(request: Request, visitor: Reader, service_uuid: str, sender: str = "") -> Response:
    """Show the senders, or the form of one sender."""
    service = context(request).store.service(visitor, parse_uuid(service_uuid))
    if sender not in SENDERS:
        return render(request, "connect_sender.html", service=service, groups=group_senders(), notes=NOTES)
    return _show_form(request, visitor, service, SENDERS[sender])


@router.post("/service/{service_uuid}/connect/")
def connect(request: Request, visitor: Operator, service_uuid: str, form: SentForm) -> Response:
    """Create a handler, and show what to enter at its sender. If the same form is sent again, nothing is created."""
    service = context(request).store.service(visitor, parse_uuid(service_uuid))
    sender = SENDERS.get(form.get("sender", ""))
    if sender is None:
        raise NotFoundError(NOT_FOUND)
    secret = make_secret(sender.verify["preset"]) if sender.verify and form.get("verifies", "") else ""
    texts, errors = fill_form(sender, form, secret), _check_patterns(sender, form) | _check_reach(form)
    selector = list_reaches(sender, service).get(form.get("reach", ""), ("", {}))[1]
    if not errors and selector:
        group, is_new, errors = create_group(request, visitor, texts, selector, fingerprint(form))
        if group is not None:
            return show_entries(find_group(request, visitor, group.number), sender, secret if is_new else "")
    elif not errors:
        handler, is_new, errors = create_from_form(request, visitor, service, texts, fingerprint(form))
        if handler is not None:
            found = find_handler(request, visitor, service_uuid, handler.number)
            return show_entries(found, sender, secret if is_new else "")
    return _show_form(request, visitor, service, sender, form, errors)


def _show_form(
    request: Request,
    visitor: User,
    service: Service,
    sender: Sender,
    sent: Mapping[str, str] | None = None,
    errors: Mapping[str, str] | None = None,
) -> Response:
    web = context(request)
    others = web.store.handlers(visitor, service.uuid, Query(limit=100)).objects
    proposal = propose(sender, service.image_name, {each.name for each in others if each.name})
    placed = {_MADE_BY.get(name, name): text for name, text in (errors or {}).items()}
    return render(
        request,
        "connect_form.html",
        400 if errors else 200,
        service=service,
        sender=sender,
        kinds=[(kind.value, KIND_LABELS[kind]) for kind in sender.kinds if kind in KIND_LABELS],
        operations=[(each.value, OPERATION_LABELS[each]) for each in sender.operations],
        reaches=[(key, label) for key, (label, _) in list_reaches(sender, service).items()],
        typed=proposal if sent is None else sent,
        errors={name if sent and name in sent else "": text for name, text in placed.items()},
        command=write_command(name_in_command(web.store, visitor, service), fill_form(sender, proposal, "")),
        may_create=visitor.may(Scope.OPERATE),
    )


def propose(sender: Sender, image: str, taken: Collection[str] = ()) -> dict[str, str]:
    """Return the initial values of a sender's form. A checked box has the value `1`.

    Args:
        image: The service's.
        taken: Names of the service's other handlers: commands accept a handler's name only if it is unique.
    """
    kind = sender.kinds[0]
    harbor = _HARBOR_IMAGE.fullmatch(image.partition("@")[0]) if sender.key == "harbor" else None
    names = chain([sender.key], (f"{sender.key}-{number}" for number in count(2)))
    return {
        "name": next(name for name in names if name not in taken),
        "kind": kind.value,
        "patterns": {Kind.BRANCH: "main", Kind.IMAGE: find_tag(image)}.get(kind, ""),
        "repository": harbor[1] if harbor else "",
        "deploys_tag": "",
        "operation": sender.operations[0].value,
        "max_containers": DEFAULT_CAP,
        "skips_unchanged": "",
        "verifies": "1" if sender.verify else "",
    }


def find_tag(image: str) -> str:
    """Return the tag that an image reference names, or `latest`."""
    return image.partition("@")[0].rpartition("/")[2].partition(":")[2] or "latest"


def fill_form(sender: Sender, sent: Mapping[str, str], secret: str) -> dict[str, str]:
    """Return the texts of a handler's form that fits a sender.

    Args:
        sent: Fields of the sender's form, as `propose` returns them.
        secret: Secret for the sender, if the form requires one.
    """
    kind, operation = _find_kind(sender, sent), sender.operations[0].value
    if sent.get("operation") in sender.operations:
        operation = sent["operation"]
    patterns = sent.get("patterns", "")
    texts = {"name": sent.get("name", "").strip() or sender.key, "operation": operation}
    if sender.verify and sent.get("verifies"):
        texts |= {f"verify.{key}": value for key, value in sender.verify.items()} | {"verify.secrets": secret}
    match kind:
        case Kind.BRANCH:
            texts["filter.branch.branch"] = patterns
        case Kind.TAG | Kind.IMAGE:
            repository = sent.get("repository", "") if sender.names_repository else ""
            texts |= {"filter.tag.tag": patterns, "filter.tag.repository": repository}
        case Kind.ALERT:
            texts["filter.expression"] = "body.status == 'firing'"
    if operation == Operation.REDEPLOY and sent.get("skips_unchanged"):
        texts["skip_unchanged"] = "true"
    if operation == Operation.SCALEUP:
        texts["max_containers"] = sent.get("max_containers", "").strip() or DEFAULT_CAP
    elif sender.tag_source and sent.get("deploys_tag"):
        texts |= {"tag.allow": patterns, "tag.from": sender.tag_source}
    elif kind is Kind.ANY:
        texts["tag.allow"] = patterns
    return texts


def _find_kind(sender: Sender, sent: Mapping[str, str]) -> Kind:
    return next((kind for kind in sender.kinds if kind == sent.get("kind")), sender.kinds[0])


def _check_patterns(sender: Sender, sent: Mapping[str, str]) -> dict[str, str]:
    """Return the error of a form that names no branch or tag, although its sender calls for all of them."""
    kind = _find_kind(sender, sent)
    if kind in (Kind.ALERT, Kind.ANY) or split_texts(sent.get("patterns", "")):
        return {}
    word, example = ("branch", "main") if kind is Kind.BRANCH else ("tag", "v*")
    return {"patterns": f"name the {word} that counts, such as {example}"}


def _check_reach(sent: Mapping[str, str]) -> dict[str, str]:
    """Return the error of a form that would scale up or roll back several services."""
    if sent.get("reach") and sent.get("operation", "REDEPLOY") != Operation.REDEPLOY:
        return {"operation": "a call for several services redeploys them: choose redeploy, or only this service"}
    return {}


def list_reaches(sender: Sender, service: Service) -> dict[str, tuple[str, Mapping[str, Any]]]:
    """Return the services that a call may redeploy: labels and selectors of groups, as JSON; `{}` is no group."""
    reaches: dict[str, tuple[str, Mapping[str, Any]]] = {"": (f"only {service.full_name}", {})}
    image, stack = split_image(service.image_name)[0], service.part_of or service.stack
    if sender.kinds[0] is Kind.IMAGE and service.image_name:
        reaches["image"] = (f"all services that run {image} with the pushed tag", {"match": {"image": image}})
    if sender.kinds[0] in (Kind.IMAGE, Kind.ANY) and stack:
        reaches["stack"] = (f"all services of the stack {stack}", {"stack": stack, "engine": service.engine})
    return reaches


@router.get(f"{BASE}connect/")
def wait_for_call(found: ReadHandler, sender: str = "", after: After = 0) -> Response:
    """Show each check of the newest call after the delivery `after`, or that no call has arrived."""
    caller, state = _find_sender(found.handler, sender), judge_handler(found.handler, found.web.clock())
    connection = judge_connection(
        caller, found.handler, [each for each in found.deliveries(MAX_DELIVERIES) if each.number > after]
    )
    return render(
        found.request,
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
def show_url(found: CalledHandler, form: SentForm) -> Response:
    """Show the URL again, without the secret."""
    return show_entries(found, _find_sender(found.handler, form.get("sender", "")))


@router.post(f"{BASE}connect/secret/")
def replace_secret(found: ChangedHandler, form: SentForm) -> Response:
    """Replace the secrets of a handler by a new secret, and show it. If the same form is sent again, nothing is
    replaced.
    """
    sender, verify = (
        _find_sender(found.handler, form.get("sender", "")),
        handlers.public_options(found.handler)["verify"],
    )
    if verify is None:
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
    return render(
        found.request,
        "connect_made.html",
        **found.values,
        sender=sender,
        secret=secret,
        lacks_secret="verify" in handler.options and not secret,
        entries=fill_entries(sender, handler, url, secret),
        example=write_example(sender, handler, url, secret),
        problem=find_reach_problem(url, sender),
        watch=_watch(found, sender),
    )


def _watch(found: Found, sender: Sender) -> str:
    """Return the address, below the subject's page, of the page that shows the first call."""
    after = next((each.number for each in found.deliveries(1)), 0)
    return f"connect/?sender={sender.key}&after={after}" if isinstance(found, FoundHandler) else ""


def make_secret(preset: str) -> str:
    """Return a random secret of 32 bytes for a preset of `verify`."""
    return make_signing_secret() if preset == "standard-webhooks" else secrets.token_urlsafe(32)


def _find_sender(handler: Handler, key: str) -> Sender | None:
    return find_sender(key, str(handler.options.get("verify", {}).get("preset", "")))


def _identify_secrets(handler: Handler) -> str:
    """Return a text that changes with the secrets of a handler; empty if it has none."""
    verify = handler.options.get("verify")
    return fingerprint(verify["secrets"]) if verify else ""
