"""How a call ended, as far as a person with the handler's URL may see it."""

from dataclasses import dataclass, field
from typing import Any, Self

from tutum.action import FINAL_STATES
from tutum.responses import known_fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a call ended, or how far it is.

    Attributes:
        state: The action's state; or Skipped, if the handler's rules said that there was nothing to do.
        reason: Why it failed or was skipped, or what is special about the result.
        created_datetime, started_datetime, ended_datetime: ISO 8601 dates; None for what has not happened.
        image_before, image_after: Digests of the image, where known.
        image_tried: Digest of the image that a failed redeploy tried to run.
        containers_before, containers_after: Numbers of containers, where known.
        log_tail: Last output of what failed; only if the handler's `show_log` is set.
        status_url: Path that returns the state without credentials, and so is a secret.
    """

    state: str
    reason: str | None = None
    operation: str = ""
    created_datetime: str | None = None
    started_datetime: str | None = None
    ended_datetime: str | None = None
    image_before: str | None = None
    image_after: str | None = None
    image_tried: str | None = None
    containers_before: int | None = None
    containers_after: int | None = None
    rolled_back: bool | None = None
    log_tail: str | None = None
    status_url: str = field(default="", repr=False)

    @classmethod
    def of(cls, body: dict[str, Any]) -> Self:
        """Return the outcome in a response; fields that this version does not know are ignored."""
        return cls(**known_fields(cls, body))

    @property
    def finished(self) -> bool:
        """Whether the state is final."""
        return self.skipped or self.state in FINAL_STATES

    @property
    def succeeded(self) -> bool:
        """Whether the operation was performed and ended well. A skipped call performed none."""
        return self.state == "Success"

    @property
    def skipped(self) -> bool:
        """Whether the call was accepted and did nothing."""
        return self.state == "Skipped"
