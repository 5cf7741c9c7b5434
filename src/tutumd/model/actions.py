"""Actions: what is to be done, under whose lease, and how it went."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from tutumd.model.services import Service


class Verb(StrEnum):
    """What an action does. The first two are also operations of handlers."""

    REDEPLOY = "REDEPLOY"
    SCALEUP = "SCALEUP"
    SCALE = "SCALE"
    START = "START"
    STOP = "STOP"
    TERMINATE = "TERMINATE"


class ActionState(StrEnum):
    """Source: the old API documentation (wire contract, section 4)."""

    PENDING = "Pending"
    IN_PROGRESS = "In progress"
    CANCELING = "Canceling"
    CANCELED = "Canceled"
    SUCCESS = "Success"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One step of an action's run, in a few words. `number` grows with each line."""

    number: int
    at: datetime
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What an engine made of an action. `containers_*` are the engine's own IDs.

    Attributes:
        reason: On failure why, for people; on success what is worth saying (empty otherwise).
        log_tail: On failure the last output lines of what failed.
        rolled_back: The service was changed and then put back.
        image_before, image_after: `sha256:…`, None where unknown.
        canceled: It was ended on request, not by a fault; `success` is then False.
    """

    success: bool
    canceled: bool = False
    reason: str = ""
    log_tail: str = ""
    rolled_back: bool = False
    image_before: str | None = None
    image_after: str | None = None
    containers_before: tuple[str, ...] = ()
    containers_after: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a REDEPLOY would do now. Nothing was touched to find out.

    Attributes:
        refused: Why it would fail before anything is touched; empty where it would go ahead.
        order: `start-first`, `stop-first`, or the engine's own word for how it rolls (`rolling`, `recreate`).
        order_reason: Why this order, in a sentence; for stop-first, what forbids start-first.
        image_before: `sha256:…` of what runs, None where unknown.
        image_after: `sha256:…` that the image's name stands for now, None where it cannot be told before the pull.
        steps: What would be done, in order, a few words each.
        notes: Sentences for people: what is worth knowing before it is done.
    """

    refused: str = ""
    order: str = ""
    order_reason: str = ""
    image_name: str = ""
    image_before: str | None = None
    image_after: str | None = None
    steps: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One run of a verb on a service. `containers_*` are UUIDs of containers.

    Attributes:
        target: Absolute number of containers; for SCALEUP None until the run fixed it.
        deliveries: How many calls it carries out.
        created: When it was asked for; `started` when a worker first claimed it.
        tag: Of the image, for a REDEPLOY; None: the image's name stays.
        variables: Environment variables that a REDEPLOY sets in the new containers; None removes one.
    """

    uuid: str
    service_uuid: str
    verb: Verb
    state: ActionState
    target: int | None
    created: datetime
    started: datetime | None
    ended: datetime | None
    address: str
    user_agent: str
    deliveries: int
    reason: str
    log_tail: str
    rolled_back: bool
    image_before: str | None
    image_after: str | None
    containers_before: tuple[str, ...]
    containers_after: tuple[str, ...]
    tag: str | None = None
    variables: Mapping[str, str | None] = field(default_factory=dict, repr=False)

    @property
    def can_be_canceled(self) -> bool:
        """Whether a cancel would still do something."""
        return self.state in (ActionState.PENDING, ActionState.IN_PROGRESS)

    @property
    def can_be_retried(self) -> bool:
        """Whether it ended in a way that makes another try worth while."""
        return self.state in (ActionState.FAILED, ActionState.CANCELED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """An action that this worker holds until its lease ends. `token` changes with every claim.

    Attributes:
        is_cancel_requested: Someone canceled the action before it was claimed.
    """

    action: Action
    service: Service
    token: int
    attempts: int
    journal: Mapping[str, object]
    is_cancel_requested: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """An action as a holder of the handler's URL may see it. `options` are those of the handler."""

    action: "Action"
    options: Mapping[str, Any] = field(repr=False)
