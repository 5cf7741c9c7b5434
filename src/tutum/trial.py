"""What a call would do, as the server found out without doing it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One check of a call: what was looked at, whether it lets the call through, and why."""

    check: str
    passes: bool
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What a handler would do with a call.

    Attributes:
        verdict: `go`, `skipped`, `unauthorized`, `not_found` or `invalid`.
        status: The HTTP status that the caller would get.
        reason: Why it would not go; empty if it would.
        tag: Image tag that would be deployed; None for the service's own.
        variable: Variable of the new containers that would hold the body; None for none.
        notes: What the caller would be told besides.
        steps: All checks that the handler makes, in their order.
    """

    verdict: str
    status: int
    reason: str = ""
    tag: str | None = None
    variable: str | None = None
    notes: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()

    @classmethod
    def of(cls, body: dict[str, Any]) -> Self:
        """Return the trial that the server sent; fields that this version does not know are left out."""
        known = {each.name for each in fields(cls)}
        steps = tuple(Step(check=one["check"], passes=one["passes"], why=one["why"]) for one in body["steps"])
        values = {name: value for name, value in body.items() if name in known}
        return cls(**values | {"notes": tuple(body.get("notes") or ()), "steps": steps})

    @property
    def goes(self) -> bool:
        """Whether the call would perform the operation."""
        return self.verdict == "go"
