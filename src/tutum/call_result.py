"""What the server promised when it answered 202: an action, which can be fetched and waited for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from tutum.action import Action
from tutum.client import Client
from tutum.errors import TutumApiError
from tutum.outcome import Outcome
from tutum.responses import Answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """An operation that the server accepted. Always true.

    Attributes:
        action_uri: Path of the action that performs it; None if the server named none.
        body: The decoded answer: the service, the handler that was called, or with `wait` how the call ended.
        outcome: How a call ended, or that it was skipped; None where the answer came before the end.
    """

    action_uri: str | None
    body: Any = field(default=None, repr=False)
    outcome: Outcome | None = None
    client: Client = field(repr=False, compare=False)

    @property
    def action_uuid(self) -> str:
        """UUID of the action; empty if the server named none."""
        return (self.action_uri or "").strip("/").rpartition("/")[2]

    @property
    def notes(self) -> tuple[str, ...]:
        """What the server told besides, for example that a body could not be passed to the containers."""
        told = self.body.get("notes") if isinstance(self.body, dict) else None
        return tuple(str(note) for note in told) if isinstance(told, list) else ()

    @property
    def action(self) -> Action:
        """The action, fetched anew each time, which needs credentials even where the call needed none.

        Raises:
            TutumApiError: The server named no action, or does not show it.
        """
        if not self.action_uuid:
            raise TutumApiError("the server accepted the operation but named no action for it")
        return Action.fetch(self.action_uuid, client=self.client)

    def poll(self, wait: int | None = None) -> Outcome:
        """Ask how a call is going, as whoever has the handler's URL can; no credentials are sent.

        Args:
            wait: Seconds to wait for the end, 1 to 600; default: the answer comes at once.

        Raises:
            ObjectNotFound: The handler is gone.
            TutumApiError: The server named no URL for this, or another failure.
        """
        path = str(self.body.get("status_url") or "") if isinstance(self.body, dict) else ""
        if not path.startswith("/"):
            raise TutumApiError("the server named no status URL for this")
        # Only the path counts, as for pages: no answer sends elsewhere.
        answer = self.client.send_anonymously("GET", urlsplit(path).path, params={"wait": wait}, wait_s=wait or 0)
        return Outcome.of(answer.body)


def accepted(answer: Answer, client: Client) -> Accepted:
    """Return the promise that `answer` carries."""
    return Accepted(action_uri=answer.action_uri, body=answer.body, client=client)
