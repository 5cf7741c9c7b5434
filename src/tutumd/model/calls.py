"""Calls to handlers, what becomes of them, and deliveries."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from tutumd.model.handlers import Operation


class DeliveryOutcome(StrEnum):
    """What became of a call when it arrived."""

    QUEUED = "queued"
    JOINED = "joined"
    SUPERSEDED = "superseded"
    SKIPPED = "skipped"
    REFUSED = "refused"
    REPEATED = "repeated"


MAX_AMOUNT = 100
"""The most containers that one SCALEUP call may add."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Who asked for something, as far as the edge can tell."""

    address: str
    user_agent: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What a handler's options say about a call, for what the store itself keeps to.

    Attributes:
        version: Of the options that were looked at; while the handler has others, the call is not stored.
        skip: Why the call does nothing; empty where it counts.
        refuse: Why the call is not believed; empty where it is.
        variable: Name and value of the environment variable that the new containers get; None: must not have.
        rate: Calls and the seconds in which there may be so many.
    """

    version: int
    skip: str = ""
    refuse: str = ""
    tag: str | None = None
    variable: tuple[str, str | None] | None = field(default=None, repr=False)
    notes: tuple[str, ...] = ()
    max_uses: int | None = None
    handler_cap: int | None = None
    rate: tuple[int, int] | None = None
    debounce_s: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One POST to a handler's URL, checked as far as that goes without the store.

    Attributes:
        amount: Containers to add, 1 to 100. REDEPLOY ignores it.
        body_size: In bytes.
        content: What is kept for looking at it later, as JSON: headers, query and body.
        key: What stays the same when a sender repeats a delivery; None where nothing does.
        evaluation: None where nobody looked at the handler's options yet.
        has_tag_param: It carries what only options allow, so that they must be looked at even if there are none.
    """

    service_uuid: str
    handler_uuid: str = field(repr=False)
    amount: int
    origin: Origin
    body_size: int
    content: str = field(default="", repr=False)
    key: str | None = None
    evaluation: Evaluation | None = None
    has_tag_param: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A call that is on disk: what the handler is, and the action that carries the call out."""

    name: str | None
    operation: Operation
    action_uuid: str
    handler_seq: int
    action_seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationNeeded:
    """A call that was not stored: its handler has these options, and nobody has looked at them.

    Attributes:
        uses: How many calls the handler accepted so far; counted only where it has a limit of them. 0 for a call that
            repeats one of them.
    """

    options: Mapping[str, Any] = field(repr=False)
    version: int
    uses: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class NotQueued:
    """A call that is on disk and does nothing: `judged` of the call says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One received POST to a handler's URL. `body_size` is in bytes.

    Attributes:
        number: Grows with each delivery.
        action_uuid: None where it caused nothing; `reason` then says why.
        content: Headers, query and body as far as they were kept; only where a single delivery is read.
        raw: The same as it was stored.
    """

    number: int
    action_uuid: str | None
    amount: int
    received: datetime
    address: str
    user_agent: str
    body_size: int
    outcome: DeliveryOutcome
    reason: str = ""
    tag: str | None = None
    content: Mapping[str, Any] = field(default_factory=dict, repr=False)
    raw: str = field(default="", repr=False)
