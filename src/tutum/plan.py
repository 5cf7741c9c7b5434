"""What a redeploy would do, as the server determined without doing it."""

from dataclasses import dataclass
from typing import Any, Self

from tutum.responses import known_fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a redeploy of a service would do now.

    Attributes:
        possible: False if it would fail and leave the service as it is; `reason` then says why.
        order: `start-first`, `stop-first`, or the engine's own word for how it rolls.
        order_reason: Why this order.
        image_before: Digest of the image that runs; None if unknown.
        image_after: Digest of the image that would run; None if only a pull can find out.
        steps: What would be done, in order.
        notes: What to know before doing it.
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
        """Return the plan in a response; fields that this version does not know are ignored."""
        values = known_fields(cls, body)
        values |= {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
        return cls(**values)
