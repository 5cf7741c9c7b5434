"""Routes of containers: list and get."""

from typing import Annotated

from fastapi import APIRouter, Path, Request

from tutumd.application.queries import CONTAINER_FILTERS, parse_query
from tutumd.web.api import render, schemas
from tutumd.web.auth import Reader
from tutumd.web.body import documented_list
from tutumd.web.context import context, parse_uuid
from tutumd.web.uris import PREFIX

router = APIRouter(prefix=f"{PREFIX}/container", tags=["containers"])


@router.get("/", openapi_extra=documented_list(CONTAINER_FILTERS))
def list_containers(request: Request, viewer: Reader) -> schemas.ListOut[schemas.ContainerOut]:
    """List present containers. Filters: uuid, name, state, service, service__stack__name; pages: limit, offset."""
    query = parse_query(request.query_params.multi_items(), CONTAINER_FILTERS)
    page = context(request).store.containers(viewer, query)
    return render.page(f"{PREFIX}/container/", query, page, render.container)


@router.get("/{uuid}/")
def get_container(
    request: Request, viewer: Reader, uuid: Annotated[str, Path(description="UUID of the container")]
) -> schemas.ContainerOut:
    """Get a container."""
    return render.container(context(request).store.container(viewer, parse_uuid(uuid)))
