"""The first page: what failed, what runs, what waits; the corner of all pages; and the list of services."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from fastapi import APIRouter, Request
from fastapi.responses import Response

from tutumd.application.public_url import judge_address
from tutumd.model import ActionState, EngineInfo, Query, Scope, ServiceGroup, User
from tutumd.ports.store import Store
from tutumd.web.context import context
from tutumd.web.messages.engines import EngineHealth, judge_engine
from tutumd.web.messages.handlers import UNUSED_AFTER
from tutumd.web.pages.rendering import render
from tutumd.web.pages.service_filters import GONE, ServiceFilters, parse_filters, state_filters
from tutumd.web.pages.visitors import Reader


class FirstStep(StrEnum):
    """What is to be done first."""

    ENGINE = "engine"
    SERVICE = "service"
    HANDLER = "handler"


def find_first_step(store: Store, viewer: User, services: int) -> FirstStep | None:
    """Return what a viewer with so many services has to do first; None once there is a handler."""
    if store.unused_handlers(viewer, None, Query.newest(1)).objects:
        return None
    if not store.engines(viewer):
        return FirstStep.ENGINE
    return FirstStep.HANDLER if services else FirstStep.SERVICE


router = APIRouter()

_MAX_UNFINISHED = 40
_MAX_UNUSED = 5
_MAX_WARNED = 10
_SERVICES_OF = {
    "local": "On local, an admin creates services: tutum service run --name hello -r 'sleep 600' demo.",
    "docker": "On docker, each compose service and each container is one; tutum.ignore=true hides it.",
    "swarm": "On swarm, each Swarm service is one.",
    "kubernetes": "On kubernetes, each Deployment, StatefulSet and DaemonSet is one.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that a new installation needs. `state`: `done`, `now` or `next`."""

    text: str
    state: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """An engine, and the address of the list of its services."""

    health: EngineHealth
    href: str


@router.get("/")
def show_overview(request: Request, visitor: Reader) -> Response:
    """Show the overview."""
    web = context(request)
    store, now = web.store, web.clock()
    engines, groups = store.engines(visitor), store.service_groups(visitor)
    unfinished = store.unfinished_actions(visitor, _MAX_UNFINISHED)
    first_step = find_first_step(store, visitor, sum(group.number for group in groups))
    return render(
        request,
        "overview.html",
        failed=store.failed_actions(visitor),
        running=[each for each in unfinished if each.state is not ActionState.PENDING],
        waiting=[each for each in unfinished if each.state is ActionState.PENDING],
        unused=store.unused_handlers(visitor, now - UNUSED_AFTER, Query(limit=_MAX_UNUSED)),
        warned=store.services(visitor, Query(filters={"warned": "yes"}, limit=_MAX_WARNED, by_stack=True)),
        first_step=first_step,
        steps=_list_steps(first_step, groups, _services_note(engines, visitor)) if first_step else [],
        engines=[
            Engine(health=judge_engine(each, now), href=ServiceFilters(engine=each.name).address(web.public_path))
            for each in engines
        ],
        states=state_filters(web.public_path, None, groups),
        has_services=bool(groups),
        can_connect=visitor.may(Scope.OPERATE),
        public_url=judge_address(web.public_url),
        unused_days=UNUSED_AFTER.days,
        busy=bool(unfinished),
    )


@router.get("/running/")
def show_running(request: Request, visitor: Reader) -> Response:
    """Show the corner of unfinished actions alone, for a script that refreshes it."""
    return render(request, "corner.html", unfinished=context(request).store.unfinished_actions(visitor))


def _list_steps(first: FirstStep, groups: Sequence[ServiceGroup], services_note: str) -> list[Step]:
    order = list(FirstStep)
    number = sum(group.number for group in groups if group.bound)
    notes = {
        FirstStep.ENGINE: "No engine is connected. Start tutumd serve, or tutumd worker beside tutumd web,"
        " with --engine docker, swarm, kubernetes or local.",
        FirstStep.SERVICE: services_note,
        FirstStep.HANDLER: f"{number} service{'' if number == 1 else 's'} can be redeployed, and nobody can call"
        " them yet. Choose a service and a sender, and get the URL to paste.",
    }
    texts = {
        FirstStep.ENGINE: "An engine is connected",
        FirstStep.SERVICE: "It shows services",
        FirstStep.HANDLER: "A sender has the URL of a handler",
    }

    def state(step: FirstStep) -> str:
        if step is first:
            return "now"
        return "done" if order.index(step) < order.index(first) else "next"

    return [Step(text=texts[step], state=state(step), note=notes[step] if step is first else "") for step in order]


def _services_note(engines: Sequence[EngineInfo], visitor: User) -> str:
    if not visitor.is_admin:
        return f"No service is yours. One is if it has the label tutum.owner={visitor.name}: set it, or ask an admin."
    kinds = sorted({engine.kind for engine in engines})
    return " ".join(["No service was found yet.", *(_SERVICES_OF[kind] for kind in kinds if kind in _SERVICES_OF)])


PAGE_SIZE = 50
_UNFINISHED = (ActionState.PENDING, ActionState.IN_PROGRESS, ActionState.CANCELING)


@router.get("/services/")
def list_services(request: Request, visitor: Reader) -> Response:
    """Show the services that the filters in the address let through."""
    web, filters = context(request), parse_filters(request.query_params)
    found = web.store.services(visitor, filters.query(PAGE_SIZE))
    groups = web.store.service_groups(visitor, filters.search)
    newest = web.store.newest_actions(visitor, [service.uuid for service in found.objects])
    chosen = [group for group in groups if filters.stack in ("", group.stack)]
    chosen = [group for group in chosen if filters.engine in ("", group.engine)]
    stacks, engines = (sorted({getattr(group, name) for group in groups} - {""}) for name in ("stack", "engine"))
    after = filters.after + PAGE_SIZE
    return render(
        request,
        "services.html",
        services=found.objects,
        newest=newest,
        filters=filters,
        is_gone=filters.state == GONE,
        states=state_filters(web.public_path, filters, chosen),
        stack_options=[("", "All stacks"), *((name, name) for name in stacks)],
        engine_options=[("", "All engines"), *((name, name) for name in engines)],
        first_href=replace(filters, after=0).address(web.public_path) if filters.after else "",
        next_href=replace(filters, after=after).address(web.public_path) if after < found.total else "",
        all_href=ServiceFilters().address(web.public_path),
        busy=any(action.state in _UNFINISHED for action in newest.values()),
    )
