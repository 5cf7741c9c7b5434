"""Freeze windows: create, read and remove."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tutumd.application import services
from tutumd.application.admission.json_checks import check_storable
from tutumd.application.scopes import require_admin, require_everything
from tutumd.errors import NOT_FOUND, ForbiddenError, InvalidInputError, NotFoundError, about
from tutumd.model import Query, Scope, User
from tutumd.model.freeze import FreezeWindow, NewFreezeWindow, check_window
from tutumd.ports.store import Store


def create(store: Store, viewer: User, document: Mapping[str, Any]) -> FreezeWindow:
    """Create a window from a JSON object with the fields of the API, or return the equal window of the viewer.

    Raises:
        InvalidInputError: A value is invalid, or the object does not name one of a service, a stack and the server.
        ForbiddenError: The window is of the server, and the viewer is no admin; or the credentials do not cover it.
        ConflictError, NotFoundError: As for `Store.add_freeze_window`.
    """
    texts = {
        name: str(document.get(name) or "") for name in ("from", "to", "tz", "reason", "service", "stack", "engine")
    }
    for name, text in texts.items():
        check_storable(name, text)
    if sum(bool(document.get(name)) for name in ("service", "stack", "server")) != 1:
        raise InvalidInputError("name one of service, stack and server: what the window holds")
    if texts["engine"] and not texts["stack"]:
        with about("engine"):
            raise InvalidInputError("engine belongs to a stack: omit it")
    new = NewFreezeWindow(
        begins=texts["from"],
        ends=texts["to"],
        tz=texts["tz"] or "UTC",
        reason=texts["reason"],
        stack=texts["stack"] or None,
        engine=texts["engine"] or None,
    )
    check_window(new)
    if texts["service"]:
        with about("service"):
            new = replace(new, service_uuid=services.find(store, viewer, texts["service"]))
    _require_covered(viewer, new)
    return store.add_freeze_window(viewer, new)


def get(store: Store, viewer: User, uuid: str) -> FreezeWindow:
    """Return a window. Raises NotFoundError."""
    found = store.freeze_windows(viewer, Query.newest(1, uuid=uuid)).objects
    if not found:
        raise NotFoundError(NOT_FOUND)
    return found[0]


def remove(store: Store, viewer: User, uuid: str) -> None:
    """Remove a window.

    Raises:
        NotFoundError: The viewer sees no such window.
        ForbiddenError: It belongs to another user, and the viewer is no admin; or the credentials do not cover it.
    """
    window = get(store, viewer, uuid)
    if not may_remove(viewer, window):
        raise ForbiddenError(
            f"this freeze window is of {window.owner}: only {window.owner} or an admin may remove it, with a key for"
            " all that it holds"
        )
    store.remove_freeze_window(viewer, uuid)


def may_remove(viewer: User, window: FreezeWindow) -> bool:
    """Return whether the viewer may remove a window that they see."""
    if window.service_uuid is None and window.stack is None:
        return viewer.administers
    is_covered = viewer.access.service_uuid in (None, window.service_uuid)
    return is_covered and viewer.may(Scope.OPERATE) and (viewer.is_admin or window.owner == viewer.name)


def _require_covered(viewer: User, window: NewFreezeWindow) -> None:
    """Raise ForbiddenError unless the viewer's credentials cover all that a window of a visible service may hold."""
    access = viewer.access
    if window.service_uuid is None and window.stack is None:
        require_admin(viewer, "a freeze window of the server holds the services of all users")
    elif window.stack is not None and (access.service_uuid is not None or access.stack not in (None, window.stack)):
        require_everything(viewer)
