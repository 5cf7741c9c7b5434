"""The page of a service, its buttons, and the plan of a redeploy."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from fastapi import APIRouter, Response

from tutumd.application import services as rules
from tutumd.application.queries import parse_number, parse_position
from tutumd.application.scopes import require_scope
from tutumd.errors import AnswerTimeoutError, ConflictError, InvalidInputError, TutumdError, UnavailableError
from tutumd.model import (
    Action,
    Availability,
    HoldKind,
    Query,
    Scope,
    Service,
    ServiceImage,
    User,
    Verb,
)
from tutumd.ports import Store
from tutumd.web.context import Answer
from tutumd.web.messages.engines import judge_engine
from tutumd.web.messages.handlers import judge_handler
from tutumd.web.pages.service_buttons import command, list_buttons
from tutumd.web.pages.service_list import services_address
from tutumd.web.pages.visitors import (
    Admin,
    Caller,
    Form,
    Operator,
    Reader,
    SentForm,
    ServiceOfPage,
    Uuid,
    Visit,
    cut_page,
)

router = APIRouter()

RECENT = 8
_MAX_SHOWN, _MAX_WINDOWS = 100, 60


@router.get("/service/{uuid}/")
def show_service(visit: Reader, uuid: Uuid) -> Response:
    """Show a service."""
    return render_service(visit, uuid)


def render_service(
    visit: Visit, uuid: str, refused: TutumdError | None = None, *, typed: Form | None = None
) -> Response:
    """Return the page of a service; after a refused form, with the error.

    Args:
        typed: What was typed into the form to scale or to hold, which then shows the error; None: another form.
    """
    web, at = visit.web, f"{visit.root}/service/{uuid}"
    text = str(refused or "")
    service = visit.store.service(visit.user, uuid)
    name = visit.name_in_command(service)
    handlers = visit.store.handlers(visit.user, uuid, Query(limit=_MAX_SHOWN))
    before, deliveries_before = (
        parse_position(visit.request.query_params, name) for name in ("before", "deliveries_before")
    )
    history = read_history(visit.store, visit.user, uuid)
    older = history if before is None else read_history(visit.store, visit.user, uuid, before)
    query = Query.newest(RECENT + 1, service=uuid, number__lt=deliveries_before)
    can_operate = service.gone_since is None and visit.user.may(Scope.OPERATE)
    is_about = next((name for name in ("target", "until") if can_operate and name in (typed or {})), "")
    images = visit.store.images(visit.user, uuid)
    return visit.render(
        "service.html",
        refused=refused,
        service=service,
        at=at,
        live_at=f"{at}/" if refused else "",
        error="" if is_about else text,
        errors={"target": "", "until": ""} | {is_about: text},
        typed={"target": service.target, "until": "4h", "reason": ""} | dict(typed or {}),
        containers=visit.store.containers(visit.user, Query(filters={"service": uuid}, limit=_MAX_SHOWN)),
        handlers=handlers,
        handler_states={each.number: judge_handler(each, web.clock()) for each in handlers.objects},
        buttons=list_buttons(service, name, visit.user, handlers.total),
        can_redeploy=service.gone_since is None and visit.user.may(Scope.CALL),
        can_operate=can_operate,
        can_roll_back=can_operate and not service.rollback_refusal and bool(images and images[0].previous),
        can_connect=visit.user.may(Scope.OPERATE),
        targets=visit.store.targets(visit.user, Query.newest(20, service=uuid)).objects,
        freeze_windows=visit.store.freeze_windows(visit.user, Query.newest(_MAX_WINDOWS, service=uuid)).objects,
        engine_href=services_address(visit, engine=service.engine),
        stack_href=services_address(visit, stack=service.stack),
        scale_command=command("scale", name, "N"),
        hold_command=command("hold", name, "--until", "4h"),
        hold_spans=HOLD_SPANS,
        resume_command=command("resume", name),
        server_cap=web.server_cap,
        unfinished=[each for each in history if each.ended is None],
        newest_end=next((each for each in history if each.ended), None),
        **describe_images(images, can_operate=can_operate),
        settings=[(name, value, _MEANINGS.get(name, "")) for name, value in service.settings],
        busy=any(each.ended is None for each in history),
        actions=cut_page(older, RECENT, f"{at}/", before),
        deliveries=cut_page(
            visit.store.deliveries(visit.user, query).objects,
            RECENT,
            f"{at}/",
            deliveries_before,
            name="deliveries_before",
        ),
    )


def read_history(store: Store, viewer: User, uuid: str, before: int | None = None) -> tuple[Action, ...]:
    """Return actions of a service, newest first: the newest, or those below a number."""
    return store.actions(viewer, Query.newest(50, object=uuid, number__lt=before)).objects


def read_unfinished(store: Store, viewer: User, uuid: str) -> list[Action]:
    """Return the actions of a service that run or wait, newest first."""
    return [each for each in read_history(store, viewer, uuid) if each.ended is None]


def is_held(action: Action) -> bool:
    """Return whether a hold or a freeze window delays an action. A redeploy with `override` ignores both."""
    return any(each.kind is not HoldKind.DEBOUNCE for each in action.holds)


def describe_images(
    images: Sequence[ServiceImage], available: Mapping[int, Availability] | None = None, *, can_operate: bool
) -> dict[str, Any]:
    """Return the values for the list of images. `available` is None until the engine has been asked."""
    return {
        "images": images,
        "available": available,
        "availabilities": _AVAILABILITIES,
        "restorable": {
            each.number for each in images if can_operate and each.is_verified and not each.is_same(images[0])
        },
    }


HOLD_SPANS = (
    ("1h", "1 hour"),
    ("4h", "4 hours"),
    ("24h", "24 hours"),
    ("7d", "7 days"),
    ("", "As long as nobody resumes it"),
)
_AVAILABILITIES = {
    Availability.LOCAL: "On its host",
    Availability.REGISTRY: "In the registry",
    Availability.NO: "Not found",
    Availability.UNKNOWN: "Unknown",
}
_MEANINGS = {
    "tutum.owner": "The user who owns the service.",
    "tutum.service": "The name of the service.",
    "tutum.redeploy.order": "Whether a new container starts before or after the old one stops.",
    "tutum.redeploy.timeout": "Seconds that one redeploy may take, pulls apart.",
    "tutum.redeploy.stall": "Seconds that one redeploy may take without progress.",
    "tutum.redeploy.stable": "Seconds that a new container must run without a restart.",
    "tutum.redeploy.drain": "Seconds that an old container stays after its successor is reachable.",
    "tutum.redeploy.skip-unchanged": "Whether a redeploy that finds no newer image does nothing.",
    "tutum.redeploy.keep-images": "How many older images are kept, beside the current and the previous one.",
    "tutum.scale.max": "The most containers that the service may be scaled to.",
    "tutum.stack": "The stack of the service in groups.",
    "tutum.after": "The services of the stack that a group redeploys first.",
    "tutum.scale.hpa": "What scaling does with an autoscaler that sets the number.",
}


@router.get("/service/{uuid}/redeploy/")
def show_plan(visit: Caller, service: ServiceOfPage) -> Response:
    """Show the plan of a redeploy, and the button that starts it."""
    name = visit.name_in_command(service)
    unfinished = read_unfinished(visit.store, visit.user, service.uuid)
    windows = visit.store.freeze_windows(visit.user, Query.newest(_MAX_WINDOWS, service=service.uuid)).objects
    is_waiting = bool(service.hold or any(each.active_until for each in windows) or any(map(is_held, unfinished)))
    plan, missing = ask(visit, service, partial(rules.plan, visit.store, service))
    return visit.render(
        "service_plan.html",
        service=service,
        at=f"{visit.root}/service/{service.uuid}",
        plan=plan,
        missing=missing,
        unfinished=unfinished,
        freeze_windows=windows,
        can_override=visit.user.may(Scope.OPERATE) and is_waiting,
        command=command("redeploy", name),
        override_command=command("redeploy", name, "--override"),
        dry_run=command("redeploy", name, "--dry-run"),
    )


@router.post("/service/{uuid}/redeploy/")
def redeploy(visit: Caller, uuid: Uuid, form: SentForm) -> Response:
    """Redeploy a service, perhaps in spite of a hold or freeze window, and show the action."""
    if "override" in form:
        require_scope(visit.user, Scope.OPERATE)
    return _act(visit, uuid, Verb.REDEPLOY, override="override" in form)


@router.post("/service/{uuid}/start/")
@router.post("/service/{uuid}/stop/")
def start_or_stop(visit: Operator, uuid: Uuid) -> Response:
    """Start or stop a service, and show the action."""
    return _act(visit, uuid, Verb.START if visit.request.url.path.endswith("/start/") else Verb.STOP)


@router.post("/service/{uuid}/terminate/")
def terminate(visit: Admin, uuid: Uuid) -> Response:
    """Terminate a service, and show the action."""
    return _act(visit, uuid, Verb.TERMINATE)


@router.post("/service/{uuid}/forget/")
def forget(visit: Operator, uuid: Uuid) -> Response:
    """Remove a service that is gone, and show the list of services."""
    try:
        visit.store.forget(visit.user, uuid)
    except ConflictError as error:
        return render_service(visit, uuid, error)
    return visit.go_to("/services/", "forgotten")


@router.post("/service/{uuid}/scale/")
def scale(visit: Operator, uuid: Uuid, form: SentForm) -> Response:
    """Set the number of containers, and show the action; the service, if nothing runs that could be scaled."""
    server_cap = visit.web.server_cap
    text = form.get("target", "").strip()
    try:
        _, action = rules.change(
            visit.store,
            visit.user,
            uuid,
            {"target_num_containers": parse_number([("containers", text)], "containers", 0, server_cap, default=0)},
            server_cap=server_cap,
            origin=visit.origin,
        )
    except (InvalidInputError, ConflictError) as error:
        return render_service(visit, uuid, error, typed={"target": text})
    if action is None:
        return visit.go_to(f"/service/{uuid}/", "scaled")
    return visit.go_to(f"/action/{action.uuid}/")


def _act(visit: Visit, uuid: str, verb: Verb, *, override: bool = False) -> Response:
    try:
        _, action = rules.act(visit.store, visit.user, uuid, verb, visit.origin, override=override)
    except ConflictError as error:  # the service has changed since the page was loaded
        return render_service(visit, uuid, error)
    if action is None:
        return visit.go_to("/services/", "forgotten")
    return visit.go_to(f"/action/{action.uuid}/")


def ask(visit: Visit, service: Service, question: Callable[[], Answer]) -> tuple[Answer | None, str]:
    """Return the response of a service's engine, or None and the reason.

    An engine that is known to be unavailable is not queried: nobody waits 10 s for a page that says so.
    """
    if service.gone_since is not None:
        return None, f"Engine {service.engine} does not show this service at present."
    health = next(
        (judge_engine(each, visit.web.clock()) for each in visit.store.engines() if each.name == service.engine), None
    )
    if health is None or health.state in ("away", "no worker"):
        return (
            None,
            f"Engine {service.engine}: {f'{health.why} {health.fix}' if health else 'no worker has served it yet.'}",
        )
    try:
        return visit.web.ask_engine(visit.user, question), ""
    except (UnavailableError, AnswerTimeoutError) as error:
        return None, str(error)
