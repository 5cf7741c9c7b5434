"""Operations of webhook handlers, calls, their results, and deliveries."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from tutumd.errors import Reason
from tutumd.model.actions import Hold, Reference

TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
"""An image tag: OCI distribution spec 1.1, "Pulling manifests"."""

VARIABLE = re.compile(r"TUTUM_[A-Z0-9_]{1,100}", re.ASCII)
"""The name of an environment variable that a handler may set."""


class Operation(StrEnum):
    """What a webhook handler does."""

    REDEPLOY = "REDEPLOY"
    SCALEUP = "SCALEUP"
    ROLLBACK = "ROLLBACK"


class DeliveryOutcome(StrEnum):
    """The result of a delivery."""

    QUEUED = "queued"
    JOINED = "joined"
    SUPERSEDED = "superseded"
    SKIPPED = "skipped"
    REFUSED = "refused"
    REPEATED = "repeated"


_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def is_commit(text: str) -> bool:
    """Return whether a text is the full ID of a Git commit: SHA-1 or SHA-256 in lower case."""
    return bool(_COMMIT.fullmatch(text) and text.strip("0"))


MAX_AMOUNT = 100
"""Containers that one SCALEUP call may add at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a request came from."""

    address: str
    user_agent: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The caller, as the claims of its identity token name it. A field is empty if the token has no such claim.

    Attributes:
        repository: Repository or project; the token's subject if it names none.
        run: ID of the workflow run or of the pipeline.
        workflow: The workflow file of GitHub and Forgejo, the configuration of GitLab.
    """

    repository: str
    ref: str = ""
    sha: str = ""
    actor: str = ""
    run: str = ""
    workflow: str = ""

    def __str__(self) -> str:
        branch = self.ref.removeprefix("refs/heads/").removeprefix("refs/tags/")
        source = f"{self.repository}@{branch}" if branch else self.repository
        return ", ".join(
            filter(None, (source, f"run {self.run}" if self.run else "", f"by {self.actor}" if self.actor else ""))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """The result of checking a call against its handler's options, including the limits that the store enforces.

    Attributes:
        version: Version of the options. The call is stored only if this is still the handler's version.
        skip: Reason why the call does nothing; None if it does something.
        refuse: Reason why the call is not authentic; None if it is.
        invalid: Reason why the call is invalid and not stored; empty if it is valid.
        verified: Whether the handler verifies its senders.
        is_plain: The options have no effect on the call beyond its admission: all attributes but `version` and
            `verified` have their defaults.
        variable: Name and value of an environment variable for the new containers; a value of None removes it.
        revision: Commit that a verified payload names, 40 or 64 lower-case hexadecimal digits; None: it names none.
        max_uses: Number of calls that the handler accepts in all.
        rate: Number of calls that the handler accepts, and the period in seconds.
        skip_unchanged: Whether a redeploy without a newer image does nothing; None: the service's label decides.
        rollback_hold: Whether a rollback holds later redeploys.
        caller: Who called, by its identity token; None: the handler requires none.
        key: Key of the delivery by its identity token, which replaces `Call.key`; None: the handler requires none.
        pushed: Pairs of repository and tag of the images that the payload of a group's call names.
    """

    version: int
    skip: Reason | None = None
    refuse: Reason | None = None
    invalid: str = ""
    verified: bool = False
    is_plain: bool = False
    tag: str | None = None
    variable: tuple[str, str | None] | None = field(default=None, repr=False)
    revision: str | None = None
    notes: tuple[Reason, ...] = ()
    max_uses: int | None = None
    handler_cap: int | None = None
    rate: tuple[int, int] | None = None
    debounce_s: int = 0
    skip_unchanged: bool | None = None
    rollback_hold: bool = True
    caller: Caller | None = None
    key: str | None = field(default=None, repr=False)
    pushed: tuple[tuple[str, str], ...] = ()


HandlerPath = tuple[str, str]
"""UUIDs of a service and a handler in the path of a call, `""` and the UUID in the path of a group's call. The handler
may be unknown or belong to another service.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A POST to a handler's URL.

    Attributes:
        amount: Containers to add, 1 to 100. REDEPLOY ignores it.
        body_size: Bytes.
        content: Headers, query and body to keep, as JSON.
        key: Value that stays the same when the sender repeats the delivery; None if there is none.
        evaluation: None if the call was not yet checked against the handler's options.
        has_tag_param: The query has a tag, which only options can allow, so the call needs an evaluation.
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

    @property
    def handler_path(self) -> HandlerPath:
        """The UUIDs in the path of the call."""
        return self.service_uuid, self.handler_uuid


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A stored call that does something: its handler, and the action that carries it out.

    Attributes:
        before: Containers requested from the action before this call; None for a REDEPLOY or a repeated delivery.
        notes: Sentences for the caller about the service.
        holds: Why the action may not start yet.
    """

    name: str | None
    operation: Operation
    action_uuid: str
    handler_seq: int
    action_seq: int
    before: int | None = None
    notes: tuple[str, ...] = ()
    holds: tuple[Hold, ...] = ()

    def refer(self, call: Call) -> Reference:
        """Return the reference with which the caller reads its progress."""
        asked = (0, 0) if self.before is None else (self.before, call.amount)
        return Reference(self.handler_seq, self.action_seq, *asked)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationNeeded:
    """A call that is not stored yet: it must be evaluated with these options first.

    Attributes:
        uses: Accepted calls of a handler with `max_uses`; 0 for a call that repeats one of them.
    """

    options: Mapping[str, Any] = field(repr=False)
    version: int
    uses: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class NotQueued:
    """A stored call that does nothing.

    Attributes:
        skip: Reason of the store; None: the evaluation of the call gives the reason in `skip` or `refuse`.
    """

    skip: Reason | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A POST that a handler received. `body_size` is in bytes.

    Attributes:
        number: Increases with each delivery of any handler.
        caller: Who called, by an identity token; None: it had none.
        action_uuid: None if the delivery caused nothing; `reasons` then gives the reasons.
        action_state, action_reason: Current state and reason of the action.
        content: The kept headers, query and body; empty in lists.
        raw: `content` as it was stored.
        revision: Commit that its verified payload named; None: it named none.
        handler_number, handler_name: Set only on values for pages. None: the handler is revoked, or has no name.
        is_group: A group was called, which `handler_number` and `handler_name` name.
    """

    number: int
    action_uuid: str | None
    action_state: str | None
    action_reason: str | None
    amount: int
    received: datetime
    address: str
    user_agent: str
    body_size: int
    outcome: DeliveryOutcome
    reasons: tuple[Reason, ...] = ()
    tag: str | None = None
    content: Mapping[str, Any] = field(default_factory=dict, repr=False)
    raw: str = field(default="", repr=False)
    revision: str | None = None
    caller: Caller | None = None
    handler_number: int | None = None
    handler_name: str | None = None
    is_group: bool = False

    @property
    def repeats(self) -> str:
        """UUID of the action of the earlier delivery that it repeats; empty if it repeats none."""
        return next((reason.values[0] for reason in self.reasons if reason.code == "repeated"), "")
