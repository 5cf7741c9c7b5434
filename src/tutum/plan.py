"""What a redeploy would do, as the server's worker found out without doing it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a redeploy of a service would do now.

    Attributes:
        possible: False where it would fail and leave the service as it is; `reason` then says why.
        order: `start-first`, `stop-first`, or the engine's own word for how it rolls.
        order_reason: Why this order.
        image_before: `sha256:…` of what runs; None where unknown.
        image_after: `sha256:…` of what would run; None where only a pull can tell.
        steps: What would be done, in order.
        notes: What is worth knowing before it is done.
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

    @classmethod
    def of(cls, body: dict[str, Any]) -> Self:
        """Return the plan that the server sent; fields that this version does not know are left out."""
        known = {field.name for field in fields(cls)}
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in body.items() if k in known}
        return cls(**values)
