"""The images of a service, its rollback, and the hold of its redeploys."""

from collections.abc import Sequence
from functools import partial

from fastapi import APIRouter, Response

from tutumd.application import rollbacks as rules
from tutumd.errors import ConflictError, InvalidInputError, TutumdError
from tutumd.model import Scope, Service, ServiceImage, Verb, find_target
from tutumd.web.pages.service import ask, describe_images, read_unfinished, render_service
from tutumd.web.pages.service_buttons import command
from tutumd.web.pages.visitors import Form, Operator, Reader, SentForm, ServiceOfPage, Uuid, Visit

router = APIRouter(prefix="/service/{uuid}")


@router.get("/image/")
def show_images(visit: Reader, service: ServiceOfPage) -> Response:
    """Show the images that a service ran, and where each is available. The page of the service requests it, too."""
    found, missing = ask(visit, service, partial(rules.images, visit.store, visit.user, service.uuid))
    available = {image.number: where for image, where in found or ()}
    can_operate = service.gone_since is None and visit.user.may(Scope.OPERATE) and not service.rollback_refusal
    return visit.render(
        "service_image_list.html",
        service=service,
        at=f"{visit.root}/service/{service.uuid}",
        missing=missing,
        command=command("images", visit.name_in_command(service)),
        **describe_images(visit.store.images(visit.user, service.uuid), available, can_operate=can_operate),
    )


@router.get("/rollback/")
def show_rollback(visit: Operator, service: ServiceOfPage, image: str = "") -> Response:
    """Show the plan of a rollback to an image, by its number, or to the previous image."""
    return _show_rollback(visit, service, {"image": image, "hold": "on"})


@router.post("/rollback/")
def roll_back(visit: Operator, service: ServiceOfPage, form: SentForm) -> Response:
    """Roll a service back to an image, and show the action."""
    try:
        action = rules.roll_back(
            visit.store,
            visit.user,
            service.uuid,
            image=form.get("image") or None,
            hold="hold" in form,
            reason=form.get("reason", ""),
            origin=visit.origin,
        )
    except (InvalidInputError, ConflictError) as error:
        return _show_rollback(visit, service, form, error)
    return visit.go_to(f"/action/{action.uuid}/")


def _show_rollback(visit: Visit, service: Service, typed: Form, refused: TutumdError | None = None) -> Response:
    """Return the page with the plan; after a refused form with the error, and without asking the engine again."""
    images = visit.store.images(visit.user, service.uuid)
    image, refusal = _find_target(service, images, typed.get("image", ""))
    plan, missing = None, ""
    if image is not None and refused is None:
        question = partial(rules.plan_rollback, visit.store, visit.user, service.uuid, str(image.number))
        plan, missing = ask(visit, service, question)
    name = visit.name_in_command(service)
    return visit.render(
        "service_rollback.html",
        refused=refused,
        service=service,
        at=f"{visit.root}/service/{service.uuid}",
        image=image,
        running=images[0] if images else None,
        refusal=refusal,
        not_restored=rules.NOT_ROLLED_BACK,
        plan=plan,
        missing=missing,
        meetings=_MEETINGS,
        unfinished=read_unfinished(visit.store, visit.user, service.uuid),
        typed=typed,
        command=command("rollback", name, "--image", str(image.number)) if image else "",
    )


def _find_target(service: Service, images: Sequence[ServiceImage], number: str) -> tuple[ServiceImage | None, str]:
    """Return the image with a number, or the previous one; or None and why there is no rollback to it."""
    try:
        return find_target(images, number or None, service.rollback_refusal), ""
    except (InvalidInputError, ConflictError) as error:
        return None, f"{str(error).removesuffix('.')}."


# What a rollback does with an action that is pending, or runs. It waits for the end of any other action.
_MEETINGS = {
    (Verb.REDEPLOY, True): "the rollback cancels it.",
    (Verb.REDEPLOY, False): "the rollback cancels it, and begins when the redeploy has been undone.",
    (Verb.ROLLBACK, True): "a rollback to the same image joins it, and any other replaces it.",
}


@router.post("/hold/")
def hold(visit: Operator, uuid: Uuid, form: SentForm) -> Response:
    """Hold the redeploys of a service, and show it."""
    until, reason = form.get("until"), form.get("reason", "")
    try:
        rules.hold(visit.store, visit.user, uuid, until=until, reason=reason, now=visit.web.clock())
    except (InvalidInputError, ConflictError) as error:
        return render_service(visit, uuid, error, typed={"until": "", **form})
    return visit.go_to(f"/service/{uuid}/", "held")


@router.post("/resume/")
def resume(visit: Operator, uuid: Uuid) -> Response:
    """Remove the hold of a service, and show it."""
    visit.store.resume(visit.user, uuid)
    return visit.go_to(f"/service/{uuid}/", "resumed")
