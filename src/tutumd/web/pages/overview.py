"""The first page: what failed, what runs, what waits; the corner of all pages; and the list of services."""

from dataclasses import dataclass, replace
from enum import StrEnum

from fastapi import APIRouter, Request
from fastapi.responses import Response

from tutumd.application.public_url import judge_address
from tutumd.model import ActionState, Overview, Scope, User
from tutumd.web.context import context
from tutumd.web.messages.engines import EngineHealth, judge_engine
from tutumd.web.messages.handlers import UNUSED_AFTER
from tutumd.web.pages.rendering import render
from tutumd.web.pages.service_filters import GONE, NO_STACK, ServiceFilters, parse_filters, state_filters
from tutumd.web.pages.visitors import Reader


class FirstStep(StrEnum):
    """What is to be done first."""

    ENGINE = "engine"
    SERVICE = "service"
    HANDLER = "handler"


def find_first_step(overview: Overview) -> FirstStep | None:
    """Return what a viewer has to do first; None once there is a handler."""
    if overview.has_handlers:
        return None
    if not overview.engines:
        return FirstStep.ENGINE
    return FirstStep.HANDLER if overview.counts.states or overview.counts.gone else FirstStep.SERVICE


router = APIRouter()

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
    now = web.clock()
    overview = web.store.overview(visitor, unused_before=now - UNUSED_AFTER)
    first_step = find_first_step(overview)
    return render(
        request,
        "overview.html",
        overview=overview,
        first_step=first_step,
        steps=_list_steps(first_step, overview, visitor) if first_step else [],
        engines=[
            Engine(health=judge_engine(each, now), href=ServiceFilters(engine=each.name).address(web.public_path))
            for each in overview.engines
        ],
        states=state_filters(web.public_path, None, overview.counts),
        can_connect=visitor.may(Scope.OPERATE),
        public_url=judge_address(web.public_url),
        unused_days=UNUSED_AFTER.days,
        busy=bool(overview.running or overview.waiting),
    )


@router.get("/running/")
def show_running(request: Request, visitor: Reader) -> Response:
    """Show the corner of unfinished actions alone, for a script that refreshes it."""
    return render(request, "corner.html", unfinished=context(request).store.unfinished_actions(visitor))


def _list_steps(first: FirstStep, overview: Overview, visitor: User) -> list[Step]:
    order = list(FirstStep)
    number = sum(overview.counts.states.values())
    notes = {
        FirstStep.ENGINE: "No engine is connected. Start tutumd serve, or tutumd worker beside tutumd web,"
        " with --engine docker, swarm, kubernetes or local.",
        FirstStep.SERVICE: _services_note(overview, visitor),
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


def _services_note(overview: Overview, visitor: User) -> str:
    if not visitor.is_admin:
        return f"No service is yours. One is if it has the label tutum.owner={visitor.name}: set it, or ask an admin."
    kinds = sorted({engine.kind for engine in overview.engines})
    return " ".join(["No service was found yet.", *(_SERVICES_OF[kind] for kind in kinds if kind in _SERVICES_OF)])


PAGE_SIZE = 50
_UNFINISHED = (ActionState.PENDING, ActionState.IN_PROGRESS, ActionState.CANCELING)


@router.get("/services/")
def list_services(request: Request, visitor: Reader) -> Response:
    """Show the services that the filters in the address let through."""
    web, filters = context(request), parse_filters(request.query_params)
    found = web.store.service_list(
        visitor,
        search=filters.search,
        state=filters.service_state,
        stack=filters.stack_name,
        engine=filters.engine or None,
        gone=filters.state == GONE,
        after=filters.after or None,
        limit=PAGE_SIZE,
    )
    first = replace(filters, after="")
    return render(
        request,
        "services.html",
        found=found,
        filters=filters,
        is_gone=filters.state == GONE,
        states=state_filters(web.public_path, filters, found.counts),
        stack_options=[("", "All stacks"), *((name or NO_STACK, name or "No stack") for name in found.stacks)],
        engine_options=[("", "All engines"), *((name, name) for name in found.engines)],
        first_href=first.address(web.public_path) if filters.after else "",
        next_href=replace(filters, after=found.next).address(web.public_path) if found.next else "",
        all_href=type(filters)().address(web.public_path),
        busy=any(each.last_action and each.last_action.state in _UNFINISHED for each in found.services),
    )
