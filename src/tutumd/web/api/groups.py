"""Routes of the calls of groups: list, get."""

from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Path

from tutumd.application.queries import parse_position
from tutumd.model import Query
from tutumd.model.groups import GroupCall
from tutumd.web.api.group_objects import GROUP_CALL
from tutumd.web.api.schemas import list_of, write_page
from tutumd.web.auth import Reader
from tutumd.web.body import documented_list, listed
from tutumd.web.context import Web
from tutumd.web.uris import PREFIX

_CALLS = f"{PREFIX}/webhook/groupcall/"
_CALL_FILTERS = frozenset({"group"})
router = APIRouter(prefix=f"{PREFIX}/webhook", tags=["groups"])

GroupCallNumber = Annotated[int, Path(description="ID of the call", ge=1, le=2**62)]


@router.get("/groupcall/", response_model=list_of(GROUP_CALL), openapi_extra=documented_list(_CALL_FILTERS))
def list_group_calls(web: Web, viewer: Reader, query: Annotated[Query, listed(_CALL_FILTERS)]) -> dict[str, Any]:
    """List the calls of groups, newest first. Filter: group, the number of a group; pages: limit, offset."""
    number = parse_position(query.filters, "group")
    by_number = {} if number is None else {"handler": str(number)}
    return write_page(_CALLS, query, web.store.group_calls(viewer, replace(query, filters=by_number)))


@router.get("/groupcall/{group_call}/", response_model=GROUP_CALL)
def get_group_call(web: Web, viewer: Reader, group_call: GroupCallNumber) -> GroupCall:
    """Get a call of a group, with what it caused for each service."""
    return web.store.group_call(viewer, group_call)
