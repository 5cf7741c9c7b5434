"""Freeze windows of users."""

from typing import Protocol

from tutumd.model import Page, Query, User
from tutumd.model.freeze import FreezeWindow, NewFreezeWindow


class FreezeWindows(Protocol):
    """The application's reads and writes. Each method is one transaction; changes are in the audit log.

    Users see the windows of the server, their own windows, and those that act on a service that they see; admins see
    all. Credentials for one service or stack see the windows of the server, and those that act on what they cover.
    Callers check that the viewer may change a window.
    """

    def freeze_windows(self, viewer: User, query: Query) -> Page[FreezeWindow]:
        """Return windows, oldest first.

        Filters: uuid, uuid__startswith, and service (UUID): windows that act on the service.
        """

    def add_freeze_window(self, viewer: User, new: NewFreezeWindow) -> FreezeWindow:
        """Store a window, and hold the pending redeploys to which it applies now. An equal window of the user is
        returned instead.

        Raises:
            ConflictError: There are `MAX_WINDOWS`, or the stack is on several engines and the window names none.
            NotFoundError: The user sees no such service, or no service of such a stack.
        """

    def remove_freeze_window(self, viewer: User, uuid: str) -> None:
        """Remove a window, and let the redeploys that it held start."""
