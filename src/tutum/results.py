"""The server's statements about an operation: its acceptance, its result, or its plan."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self
from urllib.parse import urlsplit

from tutum.action import Action, Run
from tutum.client import Client
from tutum.errors import TutumApiError


class Result:
    """Base of the dataclasses that a response fills."""

    @classmethod
    def of(cls, body: dict[str, Any]) -> Self:
        """Return the result in a response. Fields that this version does not know are ignored."""
        known = {each.name: body[each.name] for each in fields(cls) if each.name in body}  # type: ignore[arg-type]  # of dataclasses only
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in known.items()})


@dataclass(frozen=True, kw_only=True)
class Outcome(Result, Run):
    """The result of a call, or its progress.

    Attributes:
        created_datetime, started_datetime, ended_datetime: ISO 8601 dates; None for what has not happened.
        holds, held_until: As of an `Action`.
        status_url: Path that returns the state without credentials, and so is a secret.
    """

    created_datetime: str | None = None
    started_datetime: str | None = None
    ended_datetime: str | None = None
    holds: tuple[Mapping[str, Any], ...] = field(default=(), hash=False)
    held_until: str | None = None
    status_url: str = field(default="", repr=False)

    @property
    def skipped(self) -> bool:
        """Whether the call was accepted and did nothing."""
        return self.state == "Skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan(Result):
    """The plan of a redeploy or rollback: its effect if it ran now.

    Attributes:
        possible: Whether the redeploy is possible. If not, it would fail and change nothing; `reason` then gives the
            cause.
        order: `start-first`, `stop-first`, or the engine's own term for its strategy.
        order_reason: Reason for this order.
        image_before: Digest of the running image; None if unknown.
        image_after: Digest of the image after the redeploy; None if only a pull can determine it.
        steps: The steps in order.
        notes: Notes to read before the redeploy.
    """

    possible: bool
    reason: str = ""
    order: str = ""
    order_reason: str = ""
    image_name: str = ""
    image_before: str | None = None
    image_after: str | None = None
    steps: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceImage(Result):
    """An image that a service runs or ran.

    Attributes:
        number: Its number within the service, which increases.
        image_name: Name under which the containers used it.
        image_digest: `sha256:…` of its manifest in the registry; None if it comes from no registry.
        version, revision: Labels of the image; empty if it has none.
        available: `local`, `registry`, `no` or `unknown`: where a rollback would get it.
        is_running: Whether the service runs it now.
        is_verified: False if somebody changed the image without tutumd. A rollback cannot restore such an image.
        previous: Number of the image to which the next rollback would return; None if there is none.
        first_success_datetime, last_success_datetime: Times at which it was first and last known to run.
        requested_by: Who requested the action that deployed it.
    """

    number: int
    image_name: str = ""
    image_digest: str | None = None
    image_id: str | None = None
    platform: str = ""
    version: str = ""
    revision: str = ""
    available: str = "unknown"
    is_running: bool = False
    is_verified: bool = True
    previous: int | None = None
    first_success_datetime: str | None = None
    last_success_datetime: str | None = None
    action: str | None = None
    requested_by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check(Result):
    """One check of a call: its name, whether it lets the call through, and the reason."""

    check: str
    passes: bool
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial(Result):
    """The predicted effect of a call on a handler.

    Attributes:
        verdict: `go`, `skipped`, `unauthorized`, `not_found` or `invalid`.
        status: The HTTP status that the caller would get.
        reason: Reason why the call would not perform the operation; empty if it would.
        tag: Image tag that would be deployed; None for the service's own tag.
        variable: Variable of the new containers that would hold the body; None for none.
        notes: Remarks that the caller would get.
        steps: All checks of the handler, in order.
    """

    verdict: str
    status: int
    reason: str = ""
    tag: str | None = None
    variable: str | None = None
    notes: tuple[str, ...] = ()
    steps: tuple[Check, ...] = ()

    @property
    def goes(self) -> bool:
        """Whether the call would perform the operation."""
        return self.verdict == "go"


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """An operation that the server accepted. Always true.

    Attributes:
        action_uri: Path of the action that performs it; None if the server named none.
        body: The decoded response: the service, the called handler, or with `wait` how the call ended.
        outcome: Result of a call that ended or was skipped; None if the response came before the end.
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
        """Remarks of the server, for example that a body could not be passed to the containers."""
        notes = self.body.get("notes") if isinstance(self.body, dict) else None
        return tuple(str(note) for note in notes) if isinstance(notes, list) else ()

    @property
    def action(self) -> Action:
        """The action, fetched with each access. This needs credentials, even if the call needed none.

        Raises:
            TutumApiError: The server named no action, or does not show it.
        """
        if not self.action_uuid:
            raise TutumApiError("the server accepted the operation but named no action for it")
        return Action.fetch(self.action_uuid, client=self.client)

    def poll(self, wait: int | None = None) -> Outcome:
        """Return the progress of a call. Sends no credentials: the status URL is sufficient.

        Args:
            wait: Seconds to wait for the end, 0 to 600; 0 and None do not wait.

        Raises:
            ObjectNotFound: The handler is gone.
            TutumApiError: The server named no status URL, or another failure.
        """
        url = self.body.get("status_url") if isinstance(self.body, dict) else None
        return Outcome.of(read_status(self.client, str(url or ""), wait))


def read_status(client: Client, url: str, wait: int | None) -> dict[str, Any]:
    """Return the response of a status URL; `wait` is the time in seconds to wait for the end.

    Raises:
        TutumApiError: The server named no status URL, or another failure.
    """
    if not url.startswith("/"):
        raise TutumApiError("the server named no status URL for this")
    # Only the path is used, as for pages: a response cannot direct the client to another host.
    return dict(client.request("GET", urlsplit(url).path, params={"wait": wait}, wait_s=wait or 0).body)
