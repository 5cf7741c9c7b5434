"""The page with the list of services."""

from dataclasses import replace

from fastapi import APIRouter, Request
from fastapi.responses import Response

from tutumd.model import ActionState
from tutumd.web.context import context
from tutumd.web.pages.rendering import render
from tutumd.web.pages.service_filters import GONE, NO_STACK, parse_filters, state_filters
from tutumd.web.pages.visitors import Reader

router = APIRouter()

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
