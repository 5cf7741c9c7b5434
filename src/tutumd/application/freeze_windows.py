"""Freeze windows: create, read and remove."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tutumd.application import services
from tutumd.application.admission.json_checks import check_optional_text
from tutumd.application.scopes import require_admin, require_everything
from tutumd.errors import ForbiddenError, InvalidInputError, about
from tutumd.model import Query, Scope, User
from tutumd.model.freeze import MAX_REASON_CHARS, FreezeWindow, NewFreezeWindow, check_window
from tutumd.ports import Store


def create(store: Store, viewer: User, document: Mapping[str, Any]) -> FreezeWindow:
    """Create a window from a JSON object with the fields of the API, or return the equal window of the viewer.

    Raises:
        InvalidInputError: A value is invalid, or the object does not name one of a service, a stack and the server.
        ForbiddenError: The window is of the server, and the viewer is no admin; or the credentials do not cover it.
        ConflictError, NotFoundError: As for `Store.add_freeze_window`.
    """
    if sum(bool(document.get(name)) for name in ("service", "stack", "server")) != 1:
        raise InvalidInputError("name one of service, stack and server: what the window holds")
    texts = {
        name: check_optional_text(name, document.get(name) or "", MAX_REASON_CHARS)
        for name in ("from", "to", "tz", "reason", "stack")
    }
    new = check_window(
        NewFreezeWindow(
            begins=texts["from"],
            ends=texts["to"],
            tz=texts["tz"] or "UTC",
            reason=texts["reason"],
            stack=texts["stack"] or None,
        )
    )
    if document.get("server"):
        require_admin(viewer, "a freeze window of the server holds the services of all users")
    elif document.get("service"):
        with about("service"):
            new = replace(new, service_uuid=services.find(store, viewer, document["service"]))
    elif not _covers(viewer, new):
        require_everything(viewer)
    return store.add_freeze_window(viewer, new)


def get(store: Store, viewer: User, uuid: str) -> FreezeWindow:
    """Return a window. Raises NotFoundError."""
    return store.freeze_windows(viewer, Query.newest(1, uuid=uuid)).first


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
    if window.is_serverwide:
        return viewer.administers
    is_own = viewer.is_admin or window.owner == viewer.name
    return is_own and viewer.may(Scope.OPERATE) and _covers(viewer, window)


def _covers(viewer: User, window: NewFreezeWindow) -> bool:
    """Return whether the viewer's credentials cover all that a window of a visible service or stack may hold."""
    of_stack = window.stack is None or viewer.access.stack in (None, window.stack)
    return of_stack and viewer.access.service_uuid in (None, window.service_uuid)
