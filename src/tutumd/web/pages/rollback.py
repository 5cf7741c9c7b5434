"""The images of a service, its rollback, and the hold of its redeploys."""

from collections.abc import Sequence
from functools import partial

from fastapi import APIRouter, Request
from fastapi.responses import Response

from tutumd.application import rollbacks as rules
from tutumd.errors import ConflictError, InvalidInputError, TutumdError
from tutumd.model import Action, ActionState, Scope, Service, ServiceImage, User, Verb, find_target
from tutumd.web.context import context, parse_uuid
from tutumd.web.errors import describe_error
from tutumd.web.pages.rendering import go_to, render
from tutumd.web.pages.service import ask, describe_images, read_unfinished, render_service
from tutumd.web.pages.service_buttons import command, name_in_command
from tutumd.web.pages.visitors import Form, Operator, Reader, SentForm

router = APIRouter(prefix="/service/{uuid}")


@router.get("/image/")
def show_images(request: Request, visitor: Reader, uuid: str) -> Response:
    """Show the images that a service ran, and where each is available. The page of the service requests it, too."""
    web = context(request)
    service = web.store.service(visitor, parse_uuid(uuid))
    found, missing = ask(request, visitor, service, partial(rules.images, web.store, visitor, service.uuid))
    available = {image.number: where for image, where in found or ()}
    can_operate = service.gone_since is None and visitor.may(Scope.OPERATE) and not service.rollback_refusal
    return render(
        request,
        "service_image_list.html",
        service=service,
        at=f"{web.public_path}/service/{service.uuid}",
        missing=missing,
        command=command("images", name_in_command(web.store, visitor, service)),
        **describe_images(web.store.images(visitor, service.uuid), available, can_operate=can_operate),
    )


@router.get("/rollback/")
def show_rollback(request: Request, visitor: Operator, uuid: str, image: str = "") -> Response:
    """Show the plan of a rollback to an image, by its number, or to the previous image."""
    return _show_rollback(request, visitor, context(request).store.service(visitor, parse_uuid(uuid)), image)


@router.post("/rollback/")
def roll_back(request: Request, visitor: Operator, uuid: str, form: SentForm) -> Response:
    """Roll a service back to an image, and show the action."""
    web = context(request)
    service = web.store.service(visitor, parse_uuid(uuid))
    try:
        action = rules.roll_back(
            web.store,
            visitor,
            service.uuid,
            image=form.get("image") or None,
            hold="hold" in form,
            reason=form.get("reason", ""),
            origin=web.read_origin(request.scope),
        )
    except (InvalidInputError, ConflictError) as error:
        return _show_rollback(request, visitor, service, form.get("image", ""), typed=form, error=error)
    return go_to(request, f"/action/{action.uuid}/")


def _show_rollback(
    request: Request,
    visitor: User,
    service: Service,
    number: str,
    *,
    typed: Form | None = None,
    error: TutumdError | None = None,
) -> Response:
    """Return the page with the plan; after a refused form with the error, and without asking the engine again."""
    web = context(request)
    images = web.store.images(visitor, service.uuid)
    image, refusal = _find_target(service, images, number)
    plan, missing = None, ""
    if image is not None and error is None:
        question = partial(rules.plan_rollback, web.store, visitor, service.uuid, str(image.number))
        plan, missing = ask(request, visitor, service, question)
    status, text, _ = describe_error(error) if error else (200, "", {})
    name = name_in_command(web.store, visitor, service)
    return render(
        request,
        "service_rollback.html",
        status,
        service=service,
        at=f"{web.public_path}/service/{service.uuid}",
        image=image,
        running=images[0] if images else None,
        refusal=refusal,
        not_restored=rules.NOT_ROLLED_BACK,
        plan=plan,
        missing=missing,
        meets=_describe_meeting,
        unfinished=read_unfinished(web.store, visitor, service.uuid),
        typed={"hold": "on"} if typed is None else typed,
        error=text,
        command=command("rollback", name, "--image", str(image.number)) if image else "",
    )


def _find_target(service: Service, images: Sequence[ServiceImage], number: str) -> tuple[ServiceImage | None, str]:
    """Return the image with a number, or the previous one; or None and why there is no rollback to it."""
    try:
        return find_target(images, number or None, service.rollback_refusal), ""
    except (InvalidInputError, ConflictError) as error:
        return None, f"{str(error).removesuffix('.')}."


def _describe_meeting(action: Action) -> str:
    """Return what a rollback does with an action that has not ended."""
    return _MEETINGS.get((action.verb, action.state is ActionState.PENDING), "the rollback waits for its end.")


_MEETINGS = {
    (Verb.REDEPLOY, True): "the rollback cancels it.",
    (Verb.REDEPLOY, False): "the rollback cancels it, and begins when the redeploy has been undone.",
    (Verb.ROLLBACK, True): "a rollback to the same image joins it, and any other replaces it.",
}


@router.post("/hold/")
def hold(request: Request, visitor: Operator, uuid: str, form: SentForm) -> Response:
    """Hold the redeploys of a service, and show it."""
    web, uuid = context(request), parse_uuid(uuid)
    try:
        rules.hold(web.store, visitor, uuid, until=form.get("until"), reason=form.get("reason", ""), now=web.clock())
    except (InvalidInputError, ConflictError) as error:
        return render_service(request, visitor, uuid, error, typed={"until": "", **form})
    return go_to(request, f"/service/{uuid}/", "held")


@router.post("/resume/")
def resume(request: Request, visitor: Operator, uuid: str) -> Response:
    """Remove the hold of a service, and show it."""
    uuid = parse_uuid(uuid)
    context(request).store.resume(visitor, uuid)
    return go_to(request, f"/service/{uuid}/", "resumed")
