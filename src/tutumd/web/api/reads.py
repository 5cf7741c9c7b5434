"""What is only read: containers, the account, and whether the server lives and can work."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Response

from tutumd.application import health
from tutumd.application.queries import CONTAINER_FILTERS, parse_query
from tutumd.web.api import render, schemas
from tutumd.web.auth import Credentials, Viewer, credentials
from tutumd.web.body import documented_list
from tutumd.web.context import context, parse_uuid

router = APIRouter()

Uuid = Annotated[str, Path(description="UUID of the object")]


@router.get(f"{render.PREFIX}/container/", tags=["containers"], openapi_extra=documented_list(CONTAINER_FILTERS))
def list_containers(request: Request, viewer: Viewer) -> schemas.ListOut[schemas.ContainerOut]:
    """List present containers. Filters: uuid, name, state, service, service__stack__name; pages: limit, offset."""
    query = parse_query(request.query_params.multi_items(), CONTAINER_FILTERS)
    found = context(request).store.containers(viewer, query)
    return render.page(f"{render.PREFIX}/container/", query, found, render.container)


@router.get(f"{render.PREFIX}/container/{{uuid}}/", tags=["containers"])
def get_container(request: Request, viewer: Viewer, uuid: Uuid) -> schemas.ContainerOut:
    """Get a container."""
    return render.container(context(request).store.container(viewer, parse_uuid(uuid)))


@router.get(f"{render.PREFIX}/auth/", tags=["account"])
def check_credentials(
    found: Annotated[Credentials, Depends(credentials)],
) -> schemas.ListOut[schemas.AccountOut]:
    """Check credentials: answers the user and the key that were sent."""
    return render.listing([schemas.AccountOut(username=found.user.name, key=found.key)])


@router.get("/healthz", tags=["server"], openapi_extra={"security": []})
def check_health() -> dict[str, str]:
    """Answer that the server lives."""
    return {"status": "ok"}


@router.get("/readyz", tags=["server"], openapi_extra={"security": []})
def check_readiness(request: Request, response: Response) -> health.Readiness:
    """Tell whether work is done: `ready`, `degraded` (calls are kept, but some wait), or `down` with a 503."""
    carried = context(request)
    found = health.check(carried.store, carried.clock)
    response.status_code = 503 if found.status == "down" else 200
    return found
