"""What a visitor does to a service: redeploy it after a look at the plan, scale, start, stop, terminate, forget it."""

from functools import partial

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from tutumd.application import services as rules
from tutumd.errors import ConflictError, InvalidInputError
from tutumd.model import User, Verb
from tutumd.web.context import context, parse_uuid
from tutumd.web.pages.deeds import with_deed
from tutumd.web.pages.engine_answers import ask
from tutumd.web.pages.rendering import render
from tutumd.web.pages.service import read_unfinished, render_service
from tutumd.web.pages.service_buttons import command, name_in_command
from tutumd.web.pages.visitors import Admin, Caller, Operator, SentForm, field

router = APIRouter(prefix="/service/{uuid}")

_MAX_DIGITS = 9


@router.get("/redeploy/")
def show_plan(request: Request, visitor: Caller, uuid: str) -> Response:
    """Show what a redeploy would do, and the button that does it."""
    web = context(request)
    service = web.store.service(visitor, parse_uuid(uuid))
    name = name_in_command(web.store, visitor, service)
    plan, missing = ask(request, visitor, service, partial(rules.plan, web.store, visitor, service.uuid))
    return render(
        request,
        "service_plan.html",
        service=service,
        at=f"{web.public_path}/service/{service.uuid}",
        plan=plan,
        missing=missing,
        unfinished=read_unfinished(web.store, visitor, service.uuid),
        command=command("redeploy", name),
        dry_run=command("redeploy", name, "--dry-run"),
    )


@router.post("/redeploy/")
def redeploy(request: Request, visitor: Caller, uuid: str) -> Response:
    """Redeploy a service, and show the action."""
    return _act(request, visitor, uuid, Verb.REDEPLOY)


@router.post("/start/")
def start(request: Request, visitor: Operator, uuid: str) -> Response:
    """Start a service, and show the action."""
    return _act(request, visitor, uuid, Verb.START)


@router.post("/stop/")
def stop(request: Request, visitor: Operator, uuid: str) -> Response:
    """Stop a service, and show the action."""
    return _act(request, visitor, uuid, Verb.STOP)


@router.post("/terminate/")
def terminate(request: Request, visitor: Admin, uuid: str) -> Response:
    """Terminate a service, and show the action."""
    return _act(request, visitor, uuid, Verb.TERMINATE)


@router.post("/forget/")
def forget(request: Request, visitor: Operator, uuid: str) -> Response:
    """Forget a service that is gone, and show the others."""
    uuid = parse_uuid(uuid)
    try:
        context(request).store.forget(visitor, uuid)
    except ConflictError as error:
        return render_service(request, visitor, uuid, error)
    return _go_to(request, with_deed("/services/", "forgotten"))


@router.post("/scale/")
def scale(request: Request, visitor: Operator, uuid: str, form: SentForm) -> Response:
    """Set the number of containers, and show the action; the service, if nothing runs that could be scaled."""
    web, uuid = context(request), parse_uuid(uuid)
    text = field(form, "target").strip()
    try:
        document = {"target_num_containers": _parse_target(text, web.server_cap)}
        origin = web.read_origin(request.scope)
        _, action = rules.change(web.store, visitor, uuid, document, server_cap=web.server_cap, origin=origin)
    except (InvalidInputError, ConflictError) as error:
        return render_service(request, visitor, uuid, error, typed_target=text)
    address = f"/action/{action.uuid}/" if action else with_deed(f"/service/{uuid}/", "scaled")
    return _go_to(request, address)


def _parse_target(text: str, server_cap: int) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > _MAX_DIGITS or int(text) > server_cap:
        raise InvalidInputError(f"type a number from 0 to {server_cap}, got {text[:50]!r}")
    return int(text)


def _act(request: Request, visitor: User, uuid: str, verb: Verb) -> Response:
    web, uuid = context(request), parse_uuid(uuid)
    try:
        _, action = rules.act(web.store, visitor, uuid, verb, web.read_origin(request.scope))
    except ConflictError as error:  # it has gone on since the page was loaded
        return render_service(request, visitor, uuid, error)
    if action is None:
        return _go_to(request, with_deed("/services/", "forgotten"))
    return _go_to(request, f"/action/{action.uuid}/")


def _go_to(request: Request, path: str) -> RedirectResponse:
    # 303: the browser follows with GET, and loading the page again repeats nothing.
    return RedirectResponse(context(request).public_path + path, 303, headers={"Cache-Control": "no-store"})
