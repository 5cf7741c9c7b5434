"""How a call ended, as far as whoever holds the handler's URL may see it."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Self

from tutum.action import FINAL_STATES


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a call.

    Attributes:
        state: The action's state, or Skipped: the handler's rules say that there was nothing to do.
        reason: Why it failed or was skipped, or what is special about the result.
        created_datetime, start_datetime, end_datetime: RFC 2822 dates; None while it has not come to that.
        image_before, image_after: Digests of what ran and of what runs now, where known.
        containers_before, containers_after: How many, where known.
        log_tail: Last output of what failed; only if the handler's `show_log` is set.
        status_url: Path that tells the state to whoever knows it, which makes it a secret.
    """

    state: str
    reason: str | None = None
    operation: str = ""
    created_datetime: str | None = None
    start_datetime: str | None = None
    end_datetime: str | None = None
    image_before: str | None = None
    image_after: str | None = None
    containers_before: int | None = None
    containers_after: int | None = None
    rolled_back: bool | None = None
    log_tail: str | None = None
    status_url: str = field(default="", repr=False)

    @classmethod
    def of(cls, body: dict[str, Any]) -> Self:
        """Return the outcome that the server sent; fields that this version does not know are left out."""
        known = {each.name for each in fields(cls)}
        return cls(**{name: value for name, value in body.items() if name in known})

    @property
    def finished(self) -> bool:
        """Whether the state will not change any more."""
        return self.skipped or self.state in FINAL_STATES

    @property
    def succeeded(self) -> bool:
        """Whether it is over and ended well; what was skipped did nothing, so it did not."""
        return self.state == "Success"

    @property
    def skipped(self) -> bool:
        """Whether the call was accepted and did nothing."""
        return self.state == "Skipped"
