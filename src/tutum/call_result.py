"""The result of a call or operation that the server accepted: an action to fetch and wait for."""

from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import urlsplit

from tutum.action import Action
from tutum.client import Client
from tutum.errors import TutumApiError
from tutum.outcome import Outcome
from tutum.responses import ApiResponse


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """An operation that the server accepted. Always true.

    Attributes:
        action_uri: Path of the action that performs it; None if the server named none.
        body: The decoded response: the service, the called handler, or with `wait` how the call ended.
        outcome: How a call ended, or that it was skipped; None if the response came before the end.
    """

    action_uri: str | None
    body: Any = field(default=None, repr=False)
    outcome: Outcome | None = None
    client: Client = field(repr=False, compare=False)

    @classmethod
    def of(cls, response: ApiResponse, client: Client, *, outcome: Outcome | None = None) -> Self:
        """Return what a response promises."""
        return cls(action_uri=response.action_uri, body=response.body, outcome=outcome, client=client)

    @property
    def action_uuid(self) -> str:
        """UUID of the action; empty if the server named none."""
        return (self.action_uri or "").strip("/").rpartition("/")[2]

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks of the server, for example that a body could not be passed to the containers."""
        notes = self.body.get("notes") if isinstance(self.body, dict) else None
        return tuple(str(note) for note in notes) if isinstance(notes, list) else ()

    @property
    def action(self) -> Action:
        """The action, fetched each time. This needs credentials, even if the call needed none.

        Raises:
            TutumApiError: The server named no action, or does not show it.
        """
        if not self.action_uuid:
            raise TutumApiError("the server accepted the operation but named no action for it")
        return Action.fetch(self.action_uuid, client=self.client)

    def poll(self, wait: int | None = None) -> Outcome:
        """Return how far a call is. Sends no credentials: the status URL is enough.

        Args:
            wait: Seconds to wait for the end, 0 to 600; 0 and None do not wait.

        Raises:
            ObjectNotFound: The handler is gone.
            TutumApiError: The server named no status URL, or another failure.
        """
        url = str(self.body.get("status_url") or "") if isinstance(self.body, dict) else ""
        if not url.startswith("/"):
            raise TutumApiError("the server named no status URL for this")
        # Only the path counts, as for pages: a response cannot direct the client to another host.
        response = self.client.request("GET", urlsplit(url).path, params={"wait": wait}, wait_s=wait or 0)
        return Outcome.of(response.body)
