"""The page of freeze windows: the windows that hold the visitor's services, and the form that creates one."""

from fastapi import APIRouter, Request
from fastapi.responses import Response

from tutumd.application import freeze_windows
from tutumd.errors import TutumdError
from tutumd.model import Query, Scope, User
from tutumd.web.context import context, parse_uuid
from tutumd.web.errors import describe_error
from tutumd.web.pages.rendering import go_to, render
from tutumd.web.pages.visitors import Form, Operator, Reader, SentForm

router = APIRouter(prefix="/freeze")


@router.get("/")
def show_windows(request: Request, visitor: Reader, service: str = "") -> Response:
    """Show the windows that hold the visitor's services, or only one `service`, whose UUID is given."""
    return _show(request, visitor, service)


@router.post("/")
def create_window(request: Request, visitor: Operator, form: SentForm, service: str = "") -> Response:
    """Create a window. A form that is sent twice creates one window."""
    typed = {name: text.strip() for name, text in form.items()}
    try:
        freeze_windows.create(context(request).store, visitor, typed)
    except TutumdError as error:
        return _show(request, visitor, service, typed, error)
    return go_to(request, f"/freeze/?service={parse_uuid(service)}" if service else "/freeze/", "freeze-added")


@router.post("/{freeze_uuid}/remove/")
def remove_window(request: Request, visitor: Operator, freeze_uuid: str) -> Response:
    """Remove a window."""
    freeze_windows.remove(context(request).store, visitor, parse_uuid(freeze_uuid))
    return go_to(request, "/freeze/", "freeze-removed")


def _show(
    request: Request, visitor: User, service_uuid: str, typed: Form | None = None, error: TutumdError | None = None
) -> Response:
    store = context(request).store
    service = store.service(visitor, parse_uuid(service_uuid)) if service_uuid else None
    windows = store.freeze_windows(visitor, Query.newest(100, service=service and service.uuid)).objects
    return render(
        request,
        "freeze.html",
        describe_error(error)[0] if error else 200,
        service=service,
        windows=windows,
        removable={each.uuid for each in windows if freeze_windows.may_remove(visitor, each)},
        may_add=visitor.may(Scope.OPERATE),
        typed=typed or {"tz": "UTC", "service": service.full_name if service else ""},
        errors={error.field: str(error)} if error else {},
    )
