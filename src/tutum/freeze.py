"""Freeze windows: spans of time in which redeploys wait."""

from typing import Any, Self

from tutum.client import Client, current_client
from tutum.resource import Resource

#: Fields that can be set, with their defaults. None: it has no default.
FREEZE_FIELDS: dict[str, Any] = {
    "from": None,
    "to": None,
    "tz": "UTC",
    "reason": "",
    "service": None,
    "stack": None,
    "server": False,
}


class FreezeWindow(Resource):
    """A span of time in which the redeploys of a service, a stack or the server wait. It cannot be changed.

    Attributes:
        tz: Time zone of the begin and the end.
        service: Path of the service; None if it is of a stack or the server.
        service_name: Name of the service, with the stack.
        stack: The stack; None if it is of a service or the server.
        server: Whether all redeploys wait.
        owner: Name of the user who created it.
        active_until: End of the present span; None while redeploys do not wait for it.
    """

    endpoint = "freeze"

    @property
    def begins(self) -> str:
        """The field `from`: `Fri 16:00` of each week, or a date such as `2026-12-24 18:00`."""
        return str(vars(self).get("from", ""))

    @property
    def ends(self) -> str:
        """The field `to`, in the form of `begins`."""
        return str(vars(self).get("to", ""))

    @property
    def subject(self) -> str:
        """The scope of the window: a service with its stack, a stack, or the server."""
        return self.service_name or self.service or (f"stack {self.stack}" if self.stack else "the server")

    @classmethod
    def add(cls, begins: str, ends: str, *, client: Client | None = None, **fields: Any) -> Self:
        """Create a window and return it. If you already have an equal window, the method returns that window.

        Args:
            begins: A day and a time such as `Fri 16:00`, or a date such as `2026-12-24 18:00`.
            ends: The end, in the form of `begins`.
            fields: tz and reason; and one of service (UUID or name), stack, and server=True.

        Raises:
            TutumApiError: The server refused.
        """
        client = client or current_client()
        return cls._of(client.send("POST", *cls._path(), body={"from": begins, "to": ends, **fields}).body, client)

    def delete(self) -> bool:
        """Remove the window. The redeploys that it held start.

        Returns:
            True. A failure raises.

        Raises:
            TutumApiError: A failure.
        """
        self.client.send("DELETE", *self._path(self.uuid))
        return True
