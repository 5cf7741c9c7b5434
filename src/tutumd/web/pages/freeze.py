"""The page of freeze windows: the windows that hold the visitor's services, and the form that creates one."""

from fastapi import APIRouter, Response

from tutumd.application import freeze_windows
from tutumd.errors import TutumdError
from tutumd.model import Query, Scope
from tutumd.web.context import parse_uuid
from tutumd.web.pages.visitors import Form, Operator, Reader, SentForm, Uuid, Visit

router = APIRouter(prefix="/freeze")


@router.get("/")
def show_windows(visit: Reader, service: str = "") -> Response:
    """Show the windows that hold the visitor's services, or only one `service`, whose UUID is given."""
    return _show(visit, service)


@router.post("/")
def create_window(visit: Operator, form: SentForm, service: str = "") -> Response:
    """Create a window. A form that is sent twice creates one window."""
    typed = {name: text.strip() for name, text in form.items()}
    try:
        freeze_windows.create(visit.store, visit.user, typed)
    except TutumdError as error:
        return _show(visit, service, typed, error)
    return visit.go_to(f"/freeze/?service={parse_uuid(service)}" if service else "/freeze/", "freeze-added")


@router.post("/{freeze_uuid}/remove/")
def remove_window(visit: Operator, freeze_uuid: Uuid) -> Response:
    """Remove a window."""
    freeze_windows.remove(visit.store, visit.user, freeze_uuid)
    return visit.go_to("/freeze/", "freeze-removed")


def _show(visit: Visit, service_uuid: str, typed: Form | None = None, refused: TutumdError | None = None) -> Response:
    service = visit.store.service(visit.user, parse_uuid(service_uuid)) if service_uuid else None
    windows = visit.store.freeze_windows(visit.user, Query.newest(100, service=service and service.uuid)).objects
    return visit.render(
        "freeze.html",
        refused=refused,
        service=service,
        windows=windows,
        removable={each.uuid for each in windows if freeze_windows.may_remove(visit.user, each)},
        may_add=visit.user.may(Scope.OPERATE),
        typed=typed or {"tz": "UTC", "service": service.full_name if service else ""},
    )
