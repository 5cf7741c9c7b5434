"""Routes of containers: list and get."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request

from tutumd.application.queries import CONTAINER_FILTERS, parse_query
from tutumd.model import Container
from tutumd.web.api.objects import CONTAINER
from tutumd.web.api.schemas import list_of, write_page
from tutumd.web.auth import Reader
from tutumd.web.body import documented_list
from tutumd.web.context import context, parse_uuid
from tutumd.web.uris import PREFIX

router = APIRouter(prefix=f"{PREFIX}/container", tags=["containers"])


@router.get("/", response_model=list_of(CONTAINER), openapi_extra=documented_list(CONTAINER_FILTERS))
def list_containers(request: Request, viewer: Reader) -> dict[str, Any]:
    """List present containers. Filters: uuid, name, state, service, service__stack__name; pages: limit, offset."""
    query = parse_query(request.query_params.multi_items(), CONTAINER_FILTERS)
    return write_page(f"{PREFIX}/container/", query, context(request).store.containers(viewer, query))


@router.get("/{uuid}/", response_model=CONTAINER)
def get_container(
    request: Request, viewer: Reader, uuid: Annotated[str, Path(description="UUID of the container")]
) -> Container:
    """Get a container."""
    return context(request).store.container(viewer, parse_uuid(uuid))
