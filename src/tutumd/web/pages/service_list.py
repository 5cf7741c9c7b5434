"""The list of services, with its filters."""

from collections import Counter
from collections.abc import Mapping, Sequence
from urllib.parse import urlencode

from fastapi import APIRouter, Response

from tutumd.application import services as rules
from tutumd.application.admission.json_checks import check_storable
from tutumd.application.queries import parse_date
from tutumd.errors import InvalidInputError
from tutumd.model import Query, Scope, ServiceGroup, ServiceState
from tutumd.web.pages.visitors import Operator, Reader, SentForm, Visit

router = APIRouter()

PAGE_SIZE = 50
GONE = "Gone"
NO_STACK = "-"
"""Represents services of no stack in an address: no stack can have this name."""
_FILTERS = ("search", "state", "stack", "engine")
_ORDER = (
    ServiceState.NOT_RUNNING,
    ServiceState.PARTLY_RUNNING,
    ServiceState.REDEPLOYING,
    ServiceState.SCALING,
    ServiceState.STARTING,
    ServiceState.STOPPING,
    ServiceState.TERMINATING,
    ServiceState.RUNNING,
    ServiceState.STOPPED,
    GONE,
)
"""Order of states in filters: states that may need a person come first."""


@router.get("/services/")
def list_services(visit: Reader, after: str = "") -> Response:
    """Show the services that match the filters in the address, from the position `after` on."""
    store, filters = visit.store, _read_filters(visit.request.query_params)
    begin = int(after) if after.isdecimal() and len(after) < 10 else 0
    found = store.services(visit.user, Query(filters=_store_filters(filters), limit=PAGE_SIZE, offset=begin))
    groups = store.service_groups(visit.user, filters["search"])
    newest = store.newest_actions(visit.user, [service.uuid for service in found.objects])
    stacks, engines = (sorted({getattr(group, name) for group in groups}) for name in ("stack", "engine"))
    end = begin + PAGE_SIZE
    return visit.render(
        "services.html",
        services=found.objects,
        newest=newest,
        filters=filters,
        is_filtered=bool(begin or any(filters.values())),
        is_gone=filters["state"] == GONE,
        total=found.total,
        can_forget=visit.user.may(Scope.OPERATE),
        states=link_states(visit, filters, groups),
        stack_options=[("", "All stacks"), *((name or NO_STACK, name or "No stack") for name in stacks)],
        engine_options=[("", "All engines"), *((name, name) for name in engines)],
        first_href=services_address(visit, **filters) if begin else "",
        next_href=services_address(visit, **filters, after=str(end)) if end < found.total else "",
        all_href=services_address(visit),
        busy=any(action.ended is None for action in newest.values()),
    )


@router.post("/services/forget/")
def forget_all(visit: Operator, form: SentForm) -> Response:
    """Remove the gone services that match the filters, and that were gone when the visitor's page was rendered."""
    filters = _read_filters({**form, "state": GONE})
    seen = parse_date("seen", form.get("seen", ""))
    is_complete = rules.forget_gone(visit.store, visit.user, _store_filters(filters), seen)
    address = services_address(visit, **filters).removeprefix(visit.root)
    return visit.go_to(address, "all-forgotten" if is_complete else "some-forgotten")


def services_address(visit: Visit, **filters: str) -> str:
    """Return the address of the list of services. Empty filters are omitted."""
    query = urlencode({name: value for name, value in filters.items() if value})
    return f"{visit.root}/services/{f'?{query}' if query else ''}"


def _read_filters(sent: Mapping[str, str]) -> dict[str, str]:
    """Return the sent filters. Raises InvalidInputError for a state or a text that no service can have."""
    filters = {name: sent.get(name, "").strip() for name in _FILTERS}
    check_storable("filters", "".join((*filters.values(), sent.get("after", ""))))
    if filters["state"] not in ("", *_ORDER):
        raise InvalidInputError(
            f"there is no state {filters['state'][:50]!r}: services are {', '.join([GONE, *_ORDER[:-1]])}"
        )
    return filters


def _store_filters(filters: Mapping[str, str]) -> dict[str, str]:
    """Return the filters of the page as those of `Store.services`."""
    is_gone = filters["state"] == GONE
    given = {**filters, "state": "" if is_gone else filters["state"], "gone": "yes" if is_gone else "no"}
    given = {name: value for name, value in given.items() if value}
    return given | ({"stack": ""} if filters["stack"] == NO_STACK else {})


def link_states(
    visit: Visit, filters: Mapping[str, str], groups: Sequence[ServiceGroup]
) -> list[tuple[str, str, int, bool]]:
    """Return the links that select a state, for `ui.filters`: all, each state with services, and gone services.

    Args:
        filters: Filters of the list; empty: another page shows the links.
        groups: All services that match the search.
    """
    chosen, counts = filters.get("state"), Counter[str]()
    for group in groups:
        wanted = {"stack": group.stack or NO_STACK, "engine": group.engine}
        if all(filters.get(name) in (None, "", value) for name, value in wanted.items()):
            counts[group.state if group.bound else GONE] += group.number
    shown = [("", "All", counts.total() - counts[GONE])]
    shown += [(state, state, counts[state]) for state in _ORDER if counts[state] or chosen == state]
    return [
        (label, services_address(visit, **{**filters, "state": state}), number, chosen == state)
        for state, label, number in shown
    ]
