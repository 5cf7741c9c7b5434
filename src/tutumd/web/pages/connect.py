"""Pages that connect a sender: choose a service and a sender, and what shall count; then the handler is created."""

import re
from collections.abc import Collection, Mapping
from itertools import chain, count
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from tutumd.application import handlers
from tutumd.application.admission.json_checks import join_texts, split_texts
from tutumd.errors import NOT_FOUND, ConflictError, InvalidInputError, NotFoundError, TutumdError, about
from tutumd.model import Operation, Query, Scope, Service, User
from tutumd.web.context import context, parse_uuid
from tutumd.web.messages.sender_guide import write_command
from tutumd.web.messages.senders import KIND_LABELS, NOTES, OPERATION_LABELS, SENDERS, Kind, Sender, group_senders
from tutumd.web.pages.connect_wait import make_secret, show_entries
from tutumd.web.pages.form_inputs import Texts
from tutumd.web.pages.handler_routes import find_handler
from tutumd.web.pages.rendering import render
from tutumd.web.pages.service_buttons import name_in_command
from tutumd.web.pages.visitors import Operator, Reader, SentForm, field, hash_form

router = APIRouter()

_MAX_SERVICES = 20
_MAX_SEARCH = 200
_MAX_NAMES = 100
_MADE_BY = {"filter": "patterns", "tag": "patterns"}
"""Inputs of the form that set a field of the handler with another name."""
DEFAULT_CAP = "10"

_FIRING = "body.status == 'firing'"
_HARBOR_IMAGE = re.compile(r"(?!docker\.io/|ghcr\.io/|quay\.io/)[^/]*[.:][^/]*/(.+)")


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
        has_engines=len(found.engines) > 1,
    )


@router.get("/service/{service_uuid}/connect/")
def choose_sender(request: Request, visitor: Reader, service_uuid: str, sender: str = "") -> Response:
    """Show the senders; or for one of them, what to choose."""
    service = context(request).store.service(visitor, parse_uuid(service_uuid))
    if sender not in SENDERS:
        return render(request, "connect_sender.html", service=service, groups=group_senders(), notes=NOTES)
    return _show_form(request, visitor, service, SENDERS[sender])


@router.post("/service/{service_uuid}/connect/")
def connect(request: Request, visitor: Operator, service_uuid: str, form: SentForm) -> Response:
    """Create a handler, and show what to enter at its sender. The same form, sent again, creates nothing."""
    web = context(request)
    service, sender = web.store.service(visitor, parse_uuid(service_uuid)), SENDERS.get(field(form, "sender"))
    if sender is None:
        raise NotFoundError(NOT_FOUND)
    secret = make_secret(sender.verify["preset"]) if sender.verify else ""
    try:
        document = make_document(sender, form, secret)
        handler, is_new = handlers.create_once(
            web.store, visitor, service.uuid, document, hash_form(form), cipher=web.cipher, now=web.clock()
        )
    except (InvalidInputError, ConflictError) as error:
        return _show_form(request, visitor, service, sender, form, error)
    found = find_handler(request, visitor, service_uuid, handler.number)
    return show_entries(found, sender, secret if is_new and "verify" in document else "")


def _show_form(
    request: Request,
    visitor: User,
    service: Service,
    sender: Sender,
    sent: Texts | None = None,
    error: TutumdError | None = None,
) -> Response:
    web = context(request)
    others = web.store.handlers(visitor, service.uuid, Query(limit=_MAX_NAMES)).objects
    proposal = propose(sender, service.image_name, {each.name for each in others if each.name})
    place = _MADE_BY.get(error.field, error.field) if error else ""
    return render(
        request,
        "connect_form.html",
        400 if error else 200,
        service=service,
        sender=sender,
        kinds=[(kind.value, KIND_LABELS[kind]) for kind in sender.kinds if kind in KIND_LABELS],
        operations=[(each.value, OPERATION_LABELS[each]) for each in sender.operations],
        typed=proposal if sent is None else sent,
        errors={place if sent and place in sent else "": str(error)} if error else {},
        command=write_command(name_in_command(web.store, visitor, service), make_document(sender, proposal, "")),
        may_create=visitor.may(Scope.OPERATE),
    )


def propose(sender: Sender, image: str, taken: Collection[str] = ()) -> dict[str, str]:
    """Return what the form of a sender holds at first. A box that is checked holds `1`.

    Args:
        image: The service's.
        taken: Names of the service's other handlers: commands know a handler by its name only if it is the only one.
    """
    kind = sender.kinds[0]
    harbor = _HARBOR_IMAGE.fullmatch(image.partition("@")[0]) if sender.key == "harbor" else None
    names = chain([sender.key], (f"{sender.key}-{number}" for number in count(2)))
    return {
        "name": next(name for name in names if name not in taken),
        "kind": kind.value,
        "patterns": {Kind.BRANCH: "main", Kind.IMAGE: find_tag(image)}.get(kind, ""),
        "repository": _without_tag(harbor[1]) if harbor else "",
        "deploys_tag": "",
        "operation": sender.operations[0].value,
        "max_containers": DEFAULT_CAP,
        "verifies": "1" if sender.verify else "",
    }


def find_tag(image: str) -> str:
    """Return the tag that an image reference names, or `latest`."""
    return image.partition("@")[0].rpartition("/")[2].partition(":")[2] or "latest"


def make_document(sender: Sender, sent: Mapping[str, str], secret: str) -> dict[str, Any]:
    """Return the JSON object from which to create the handler that a form describes.

    Args:
        sent: Fields of the form, as `propose` returns them.
        secret: For the sender, if the form wants one.

    Raises:
        InvalidInputError: The branch or tag is missing.
    """
    kind = next((kind for kind in sender.kinds if kind.value == sent.get("kind")), sender.kinds[0])
    operation = next((each for each in sender.operations if each.value == sent.get("operation")), sender.operations[0])
    document: dict[str, Any] = {
        "name": sent.get("name", "").strip() or sender.key,
        "operation": operation.value,
    }
    if sender.verify and sent.get("verifies"):
        document["verify"] = {**sender.verify, "secrets": [secret]}
    patterns = split_texts(sent.get("patterns", ""))
    condition = _FIRING if kind is Kind.ALERT else _make_filter(sender, kind, patterns, sent)
    if condition:
        document["filter"] = condition
    if operation is Operation.SCALEUP:
        document["max_containers"] = _read_cap(sent.get("max_containers", "").strip() or DEFAULT_CAP)
    elif sender.tag_source and sent.get("deploys_tag"):
        document["tag"] = {"allow": patterns, "from": sender.tag_source}
    elif kind is Kind.ANY and patterns:
        document["tag"] = {"allow": patterns}
    return document


def _make_filter(sender: Sender, kind: Kind, patterns: list[str], sent: Mapping[str, str]) -> dict[str, Any]:
    """Return the filter for pushes of a branch or tag; empty if any call counts."""
    if kind is Kind.ANY:
        return {}
    word, example = ("branch", "main") if kind is Kind.BRANCH else ("tag", "v*")
    if not patterns:
        with about("patterns"):
            raise InvalidInputError(f"name the {word} that counts, such as {example}")
    repository = sent.get("repository", "").strip() if sender.names_repository else ""
    names = patterns if len(patterns) != 1 else join_texts(patterns)
    return {"preset": word, word: names} | ({"repository": repository} if repository else {})


def _read_cap(text: str) -> int | str:
    """Return the number; what is none, for the check of the field."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 9 else text


def _without_tag(repository: str) -> str:
    start, slash, last = repository.rpartition("/")
    return start + slash + last.partition(":")[0]
