"""The first page: failed, running, held, waiting and recent actions, and warnings. And the corner of all pages."""

from collections.abc import Sequence

from fastapi import APIRouter, Response

from tutumd.application.public_url import judge_address
from tutumd.model import ActionState, EngineInfo, Query, Scope, ServiceGroup
from tutumd.web.messages.engines import judge_engine
from tutumd.web.messages.handlers import UNUSED_AFTER, count_of
from tutumd.web.pages.notifications import may_change
from tutumd.web.pages.service_list import link_states, services_address
from tutumd.web.pages.visitors import Reader, Visit

router = APIRouter()


@router.get("/")
def show_overview(visit: Reader, state: str = "") -> Response:
    """Show the overview. With the state `Failed`, the recent actions are those that failed."""
    store, now = visit.store, visit.web.clock()
    engines, groups = store.engines(visit.user), store.service_groups(visit.user)
    unfinished, held = store.unfinished_actions(visit.user, limit=20), store.held_actions(visit.user)
    is_shown = {each.uuid for each in held}
    is_failed = state == ActionState.FAILED
    recent = store.recent_actions(visit.user, limit=15, failed=is_failed)
    overview = f"{visit.root}/"
    return visit.render(
        "overview.html",
        failed=store.failed_actions(visit.user),
        running=[each for each in unfinished if each.state is not ActionState.PENDING],
        waiting=[each for each in unfinished if each.state is ActionState.PENDING and each.uuid not in is_shown],
        held=held,
        recent=recent,
        requesters=store.requesters(visit.user, [each.uuid for each in recent]),
        results=[
            ("All results", f"{overview}#recent", None, not is_failed),
            ("Failed", f"{overview}?state=Failed#recent", None, is_failed),
        ],
        unused=store.unused_handlers(visit.user, now - UNUSED_AFTER, Query(limit=5), by_age=True),
        warned=store.services(visit.user, Query(filters={"warned": "yes"}, limit=10)),
        steps=_list_steps(visit, engines, groups),
        engines=[(judge_engine(each, now), services_address(visit, engine=each.name)) for each in engines],
        states=link_states(visit, {}, groups),
        has_services=bool(groups),
        can_operate=visit.user.may(Scope.OPERATE),
        tells_nobody=may_change(visit.user) and not store.targets(visit.user, Query.newest(1)).objects,
        public_url=judge_address(visit.web.public_url),
        unused_days=UNUSED_AFTER.days,
        busy=bool(unfinished),
    )


@router.get("/running/")
def show_running(visit: Reader) -> Response:
    """Show only the corner of unfinished actions, for a script that refreshes it."""
    return visit.render("corner.html", unfinished=visit.store.unfinished_actions(visit.user))


def _list_steps(visit: Visit, engines: Sequence[EngineInfo], groups: Sequence[ServiceGroup]) -> list[dict[str, str]]:
    """Return the steps of a new installation, for `ui.timeline`; none once there is a handler."""
    if visit.store.unused_handlers(visit.user, None, Query.newest(1)).objects:
        return []
    number = sum(group.number for group in groups if group.bound)
    steps = {
        "An engine is connected": "No engine can be reached: this page says why."
        if engines
        else "No engine is connected. Start tutumd serve, or tutumd worker beside tutumd web, with --engine docker,"
        " swarm, kubernetes or local.",
        "It shows services": " ".join(["No service was found yet.", *sorted({engine.hint for engine in engines})])
        if visit.user.is_admin
        else f"No service is yours. One is if it has the label tutum.owner={visit.user.name}: set it, or ask an admin.",
        "A sender has the URL of a handler": f"{count_of(number, 'service')} can be redeployed, and"
        " nobody can call them yet. Choose a service and a sender, and get the URL to paste.",
    }
    done = 0 if all(engine.away for engine in engines) else 1 if not groups else 2
    states = ["done"] * done + ["now", "next", "next"]
    return [
        {"text": text, "state": state, "note": note if state == "now" else ""}
        for (text, note), state in zip(steps.items(), states, strict=False)
    ]
