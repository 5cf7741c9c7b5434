"""What a call would do, as the server determined without doing it."""

from dataclasses import dataclass
from typing import Any, Self

from tutum.responses import known_fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check of a call: its name, whether it lets the call through, and why."""

    check: str
    passes: bool
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What a handler would do with a call.

    Attributes:
        verdict: `go`, `skipped`, `unauthorized`, `not_found` or `invalid`.
        status: The HTTP status that the caller would get.
        reason: Why the call would not perform the operation; empty if it would.
        tag: Image tag that would be deployed; None for the service's own.
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

    @classmethod
    def of(cls, body: dict[str, Any]) -> Self:
        """Return the trial in a response; fields that this version does not know are ignored."""
        steps = tuple(Check(**known_fields(Check, step)) for step in body["steps"])
        return cls(**known_fields(cls, body) | {"notes": tuple(body.get("notes") or ()), "steps": steps})

    @property
    def goes(self) -> bool:
        """Whether the call would perform the operation."""
        return self.verdict == "go"
