"""Actions, claims on them, and their outcomes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from tutumd.errors import Reason
from tutumd.model.images import ImageFacts, WantedImage
from tutumd.model.services import Service


class Verb(StrEnum):
    """What an action does. The first two are the operations of handlers."""

    REDEPLOY = "REDEPLOY"
    SCALEUP = "SCALEUP"
    SCALE = "SCALE"
    START = "START"
    STOP = "STOP"
    TERMINATE = "TERMINATE"
    ROLLBACK = "ROLLBACK"


class ActionState(StrEnum):
    """Source: the old API documentation (wire contract, section 4)."""

    PENDING = "Pending"
    IN_PROGRESS = "In progress"
    CANCELING = "Canceling"
    CANCELED = "Canceled"
    SUCCESS = "Success"
    FAILED = "Failed"


class Phase(StrEnum):
    """What a run does, from the line of its log that has the phase until the next one that has another.

    WAITING: For somebody else's change of the same containers.
    STARTING: It starts the new containers, and waits until they are ready.
    CHECKING: New containers run, and it watches whether they last.
    SWITCHING: New and old containers run side by side, until all clients know the new ones.
    REMOVING: It ends the old containers.
    UPDATING: A cluster replaces the containers by itself, and the run follows it.
    RESTORING: It puts back what was there before, after a failure.
    """

    WAITING = "waiting"
    PULLING = "pulling"
    CREATING = "creating"
    STARTING = "starting"
    CHECKING = "checking"
    SWITCHING = "switching"
    REMOVING = "removing"
    UPDATING = "updating"
    SCALING = "scaling"
    STOPPING = "stopping"
    RESTORING = "restoring"


class HoldKind(StrEnum):
    """Why a pending action waits, apart from its turn.

    DEBOUNCE: A handler collects more calls.
    HOLD: Somebody holds the redeploys of the service.
    FREEZE: A freeze window of the service, its stack or the server.
    PREDECESSOR: In a group, an action of another service comes first.
    """

    DEBOUNCE = "debounce"
    HOLD = "hold"
    FREEZE = "freeze"
    PREDECESSOR = "predecessor"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """One reason why a pending action waits. The action is due when every hold has expired or been removed.

    Attributes:
        until: End of the hold; None: until somebody removes it.
        reason: Its reason with the values of the sentence.
        by: Who set it; empty for a debounce.
    """

    kind: HoldKind
    until: datetime | None
    reason: Reason
    by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """A step of an action, in a few words. Numbers increase with each line of any action.

    Attributes:
        phase: Phase that begins with this line; None: the phase continues.
    """

    number: int
    at: datetime
    text: str
    phase: Phase | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """The effect of an action on its service.

    Attributes:
        reason: Reason of a failure, or a note on a success; may be empty.
        log_tail: Last output lines of a container that failed.
        rolled_back: The service was changed and then restored.
        image_before, image_after: `sha256:…`; None if unknown.
        image_tried: Digest of the image that a failed redeploy could not run; None if there was none.
        reason_code: A `ReasonCode`; empty if it succeeded or has not ended.
    """

    reason: str = ""
    reason_code: str = ""
    log_tail: str = ""
    rolled_back: bool = False
    image_before: str | None = None
    image_after: str | None = None
    image_tried: str | None = None
    containers_before: tuple[str, ...] = ()
    containers_after: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome(Effect):
    """The result of an action on an engine. `containers_*` are the engine's own IDs.

    Attributes:
        canceled: The action ended on request, not because of a failure; `success` is then False.
        half_done: The journal is kept, and the next run of the service cleans up first.
        image: The image that the service runs after a successful REDEPLOY or ROLLBACK; None if it is unknown.
    """

    success: bool
    canceled: bool = False
    half_done: bool = False
    image: ImageFacts | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLimits:
    """Time limits and waiting times of a run, in seconds.

    Attributes:
        timeout_s: Maximum duration, excluding pulls.
        stall_s: Maximum time without progress.
        pull_s: Maximum duration of one pull.
        stable_s: A new container without a health check must run for this long; None means the engine's default.
        drain_s: An old container stays for this long after its successor is reachable; None means the engine's default.
    """

    timeout_s: float = 3600.0
    stall_s: float = 120.0
    pull_s: float = 1800.0
    stable_s: float | None = None
    drain_s: float | None = None

    def __str__(self) -> str:
        return (
            f"time limits: {self.stall_s:g} s without progress, {self.timeout_s:g} s in all; "
            f"a pull is not counted and may take {self.pull_s:g} s"
        )

    def adapted(
        self,
        *,
        timeout_s: float | None = None,
        stall_s: float | None = None,
        least_stall_s: float = 0.0,
        is_pulling: bool = False,
    ) -> "RunLimits":
        """Return the server's limits, adapted to one service. See `Run.set_limits`."""
        timeout_s = self.timeout_s if timeout_s is None else timeout_s
        least_stall_s = max(least_stall_s, self.pull_s) if is_pulling else least_stall_s
        stall_s = max(self.stall_s, least_stall_s) if stall_s is None or is_pulling else stall_s
        return replace(self, timeout_s=timeout_s, stall_s=min(stall_s, timeout_s))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a REDEPLOY would do now, as a dry run returns it.

    Attributes:
        refused: Reason why it would fail before it changes anything; empty if it would proceed.
        order: `start-first`, `stop-first`, or the engine's own strategy (`rolling`, `recreate`).
        order_reason: A sentence with the reason; for stop-first, the obstacle to start-first.
        image_before: `sha256:…` of the running image; None if unknown.
        image_after: `sha256:…` of the image that the name refers to now; None if only a pull can tell.
        steps: The steps in order, a few words each.
        notes: Sentences to read before a redeploy.
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
class Action(Effect):
    """A verb to perform on a service. `containers_*` are UUIDs of containers.

    Attributes:
        number: Increases with each action of any service. Lists continue below it.
        service_name: Name with the stack.
        target: Number of containers; for SCALEUP None until the run has computed it.
        open: Whether an equal request joins this action instead of waiting for its end.
        started: Time at which a worker first claimed it.
        deliveries: Number of calls that it carries out; 0 in lists that do not count them.
        reason: Reason of the result, or of the wait for an engine or a worker.
        waits_for: Sentence about what it waits for apart from `holds`; empty if a worker performs it, or it has ended.
        held_until: Earliest time at which it could start; None if nothing holds it, or until somebody removes a hold.
        holds: Why it may not start yet, while it is pending.
        overrides: It ignores holds and freeze windows.
        image: The image that a ROLLBACK requests.
        caller: Who called, by the newest identity token of its calls, as a phrase; None: no call had one.
        tag: Image tag for a REDEPLOY; None: the image's name stays.
        variables: Environment variables that a REDEPLOY sets in the new containers; None removes a variable.
        skip_unchanged: Whether a REDEPLOY without a newer image does nothing; None: the service's label decides.
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
    tag: str | None = None
    variables: Mapping[str, str | None] = field(default_factory=dict, repr=False)
    skip_unchanged: bool | None = None
    number: int = 0
    service_name: str = ""
    open: bool = False
    waits_for: str = ""
    held_until: datetime | None = None
    holds: tuple[Hold, ...] = ()
    overrides: bool = False
    image: WantedImage | None = None
    caller: str | None = None

    @property
    def since(self) -> datetime:
        """Time of its last change of state: its end, else its start, else its request."""
        return self.ended or self.started or self.created

    @property
    def can_be_canceled(self) -> bool:
        """Whether the action has not ended yet, and no cancel was requested."""
        return self.state in (ActionState.PENDING, ActionState.IN_PROGRESS)

    @property
    def kept_containers(self) -> bool:
        """Whether a redeploy has ended with the same containers that it began with."""
        is_same = bool(self.containers_before) and self.containers_before == self.containers_after
        return self.verb is Verb.REDEPLOY and self.ended is not None and is_same

    @property
    def can_be_retried(self) -> bool:
        """Whether the action failed or was canceled."""
        return self.state in (ActionState.FAILED, ActionState.CANCELED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Requester:
    """Who requested an action.

    Attributes:
        users: Names of the users, as far as the viewer may know them.
        is_call: Whether a call of a handler created the action.
        handler: Number of that handler; None if it was revoked.
        is_group: The handler is a group.
    """

    users: tuple[str, ...] = ()
    is_call: bool = False
    handler: int | None = None
    handler_name: str | None = None
    is_group: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """The result of a SCALEUP if limits allowed fewer containers than requested.

    The amounts of its calls, in order, number these containers from 0.

    Attributes:
        present: Containers that the service had before.
        added: Ranges of numbers of the added containers; the others exceeded a limit.
        cap, cap_source: Maximum number of containers, and where that limit is set.
        note: Sentence about all calls together.
    """

    present: int
    added: Sequence[Sequence[int]]
    cap: int
    cap_source: str
    note: str

    def count_added(self, start: int, end: int) -> int:
        """Return how many of the containers with these numbers were added."""
        return sum(max(0, min(end, last) - max(start, first)) for first, last in self.added)

    def reason_for_call(self, reason: str, before: int, amount: int) -> str:
        """Return the reason of an action for one of its calls: the result of the call's own amount instead of
        `note`.
        """
        return "; ".join(filter(None, reason.replace(self.note, self._describe_call(before, amount)).split("; ")))

    def _describe_call(self, before: int, amount: int) -> str:
        own, then = self.count_added(before, before + amount), self.present + self.count_added(0, before + amount)
        if own == amount:
            return ""
        source = self.cap_source if then >= self.cap else "max_containers of the webhook handler"
        share = f"only {own}" if own else "none"
        return f"{share} of the {amount} requested containers: the limit was reached at {then} ({source})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """An action that a worker holds until its lease ends. Each claim has a new `token`.

    Attributes:
        is_cancel_requested: The action was canceled before it was claimed.
        deaths: Number of successive workers that died while they performed it.
        is_given_up: Its attempts have failed for so long that the next failed attempt is the last.
        leftover: An earlier action of the service that ended half done and must be cleaned up first.
    """

    action: Action
    service: Service
    token: int
    attempts: int
    journal: Mapping[str, object]
    is_cancel_requested: bool = False
    deaths: int = 0
    is_given_up: bool = False
    leftover: "Claim | None" = None


class Reference(NamedTuple):
    """A call as its caller knows it: its handler, its action, and its range of that action's containers (`Growth`)."""

    handler_seq: int
    action_seq: int
    before: int = 0
    amount: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The action of a call, with its result for that call, and the options that decide what the caller may see of
    it.
    """

    action: "Action"
    options: Mapping[str, Any] = field(repr=False)

    @property
    def is_ended(self) -> bool:
        """Whether the action has ended."""
        return self.action.ended is not None
