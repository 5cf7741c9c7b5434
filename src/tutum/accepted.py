"""What the server promised when it answered 202: an action, which can be fetched and waited for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tutum.action import Action
from tutum.answers import Answer
from tutum.client import Client
from tutum.errors import TutumApiError


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """An operation that the server accepted. Always true.

    Attributes:
        action_uri: Path of the action that performs it; None if the server named none.
        body: The decoded answer: the service, or the handler that was called.
    """

    action_uri: str | None
    body: Any = field(default=None, repr=False)
    client: Client = field(repr=False, compare=False)

    @property
    def action_uuid(self) -> str:
        """UUID of the action; empty if the server named none."""
        return (self.action_uri or "").strip("/").rpartition("/")[2]

    @property
    def action(self) -> Action:
        """The action, fetched anew each time, which needs credentials even where the call needed none.

        Raises:
            TutumApiError: The server named no action, or does not show it.
        """
        if not self.action_uuid:
            raise TutumApiError("the server accepted the operation but named no action for it")
        return Action.fetch(self.action_uuid, client=self.client)


def accepted(answer: Answer, client: Client) -> Accepted:
    """Return the promise that `answer` carries."""
    return Accepted(action_uri=answer.action_uri, body=answer.body, client=client)
