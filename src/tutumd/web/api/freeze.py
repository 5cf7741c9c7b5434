"""Freeze windows: fields, and routes: list, get, create, remove."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Response
from pydantic import Field, create_model

from tutumd.application import freeze_windows
from tutumd.application.queries import FREEZE_FILTERS
from tutumd.model import Query
from tutumd.model.freeze import FreezeWindow
from tutumd.web.api.schemas import Moment, RequestBody, Shown, describe, list_of, write_page
from tutumd.web.auth import Operator, Reader
from tutumd.web.body import Body, documented, documented_list, listed, parse
from tutumd.web.context import IS_UUID, Web
from tutumd.web.uris import PREFIX, uri

router = APIRouter(prefix=f"{PREFIX}/freeze", tags=["freeze windows"])

FreezeUuid = Annotated[str, Path(description="UUID of the freeze window"), IS_UUID]

_FIELDS: dict[str, Any] = {
    "from": (str, Field(description="A day and a time such as `Fri 16:00`, or a date such as `2026-12-24 18:00`.")),
    "to": (str, Field(description="The end, in the form of `from`.")),
    "tz": (str | None, Field(None, description="Time zone such as `Europe/Berlin`; default: `UTC`.")),
    "reason": (str | None, Field(None, description="For people: at most 500 characters.")),
    "service": (str | None, Field(None, description="The service whose redeploys wait: UUID or name.")),
    "stack": (str | None, Field(None, description="The stack whose redeploys wait.")),
    "server": (bool, Field(False, description="All redeploys wait. Only for admins.")),
}
FreezeIn = create_model(
    "FreezeIn",
    __base__=RequestBody,
    __doc__="A freeze window to create: of one of `service`, `stack` and `server`.",
    **_FIELDS,
)
FREEZE_WINDOW = describe(
    "FreezeWindowOut",
    "A span of time in which redeploys wait.",
    {
        "uuid": Shown(str),
        "resource_uri": Shown(str, of=lambda window: uri("freeze", window.uuid)),
        "from": Shown(str, "Begin: `Fri 16:00` of each week, or a date such as `2026-12-24 18:00`.", of="begins"),
        "to": Shown(str, "End, in the form of `from`.", of="ends"),
        "tz": Shown(str, "Time zone of both."),
        "reason": Shown(str),
        "service": Shown(
            str | None,
            "URI of the service whose redeploys wait.",
            of=lambda window: window.service_uuid and uri("service", window.service_uuid),
        ),
        "service_name": Shown(str | None, "Name of `service`, with the stack."),
        "stack": Shown(str | None, "The stack whose redeploys wait, of the services that `owner` may operate."),
        "server": Shown(bool, "Whether the redeploys of all services wait.", of="is_serverwide"),
        "owner": Shown(str, "Who created it."),
        "created_datetime": Shown(Moment, of="created"),
        "active_until": Shown(Moment | None, "End of the present span; null while redeploys do not wait for it."),
    },
)


@router.get("/", response_model=list_of(FREEZE_WINDOW), openapi_extra=documented_list(FREEZE_FILTERS))
def list_windows(web: Web, viewer: Reader, query: Annotated[Query, listed(FREEZE_FILTERS)]) -> dict[str, Any]:
    """List freeze windows, oldest first. Filters: uuid, uuid__startswith, service; limit, offset.

    You see those that hold your services. `service` is the UUID of a service: those that hold it.
    """
    return write_page(f"{PREFIX}/freeze/", query, web.store.freeze_windows(viewer, query))


@router.post("/", status_code=201, response_model=FREEZE_WINDOW, openapi_extra=documented(FreezeIn))
def create_window(web: Web, viewer: Operator, body: Body) -> FreezeWindow:
    """Create a freeze window, or return an equal window that you already have. To change a window, replace it."""
    return freeze_windows.create(web.store, viewer, parse(body, FreezeIn).model_dump())


@router.get("/{freeze_uuid}/", response_model=FREEZE_WINDOW)
def get_window(web: Web, viewer: Reader, freeze_uuid: FreezeUuid) -> FreezeWindow:
    """Get a freeze window."""
    return freeze_windows.get(web.store, viewer, freeze_uuid)


@router.delete("/{freeze_uuid}/", status_code=204)
def remove_window(web: Web, viewer: Operator, freeze_uuid: FreezeUuid) -> Response:
    """Remove a freeze window. One redeploy of each service starts that carries out the calls that waited for it."""
    freeze_windows.remove(web.store, viewer, freeze_uuid)
    return Response(status_code=204)
