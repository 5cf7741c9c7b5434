"""Groups: one call for several services, the calls of groups, and what they have caused."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from tutumd.errors import Reason
from tutumd.model.actions import Action, ActionState, Reference
from tutumd.model.calls import Call

MAX_SERVICES = 50
"""Maximum number of services of a group call."""

GROUP_CALL = 255
"""`Reference.amount` of a call of a group: `Reference.action_seq` is then the number of the group call."""


class Sequence(StrEnum):
    """In which order the services of a group are redeployed."""

    NONE = "none"
    LISTED = "listed"
    DEPENDS_ON = "depends_on"


class OnFailure(StrEnum):
    """Whether the followers of an action that did not succeed are canceled."""

    CANCEL = "cancel"
    CONTINUE = "continue"


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSelector:
    """The services of a group; one of the three is set. It is resolved at each call. A handler of a service has none.

    Attributes:
        services: UUIDs, 1 to 50, in the listed order.
        engine, stack: The services of a stack of one engine.
        image: Glob of repositories: the services whose repository and tag the payload names.
    """

    services: tuple[str, ...] = ()
    engine: str = ""
    stack: str = ""
    image: str = ""


NO_SELECTOR = GroupSelector()


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupLine:
    """The effect of a group call on one service.

    Attributes:
        service_name: As it was at the call.
        action_seq, action_uuid: None and empty if the call left the service out. The `seq` of an action that is not
            inserted yet is 0.
        joined: Whether the call joined an earlier action.
        note: Why the service was left out, or whose order applies to a joined action.
        state: State of the action when a repetition of the call asks for it.
        action: For people who may see the action; None also if it was deleted.
    """

    service_uuid: str
    service_name: str
    action_seq: int | None = None
    action_uuid: str = ""
    joined: bool = False
    note: Reason | None = None
    state: ActionState = ActionState.PENDING
    action: Action | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupCall:
    """A call of a group.

    Attributes:
        number: Increases with each call of any group.
        group_number: Number of the group, which may be revoked.
        group_name: As it was at the call.
        ended: When the last of its actions ended; None: not yet.
        state: As `state_of_call` tells; after `ended`, it no longer changes.
    """

    number: int
    group_number: int
    group_name: str | None
    received: datetime
    ended: datetime | None
    state: ActionState
    lines: tuple[GroupLine, ...]

    @property
    def is_ended(self) -> bool:
        """Whether all of its actions have ended."""
        return self.state not in (ActionState.PENDING, ActionState.IN_PROGRESS)


def state_of_call(states: Collection[ActionState | None]) -> ActionState:
    """Return the state of a group call with actions in these states.

    Failed (any), Canceled (any, and none failed), Success (all), otherwise In progress (any begun) or Pending. None
    stands for an action that was deleted before the call ended, which counts as Failed.
    """
    if set(states) == {ActionState.PENDING}:
        return ActionState.PENDING
    if ActionState.PENDING in states or ActionState.IN_PROGRESS in states:
        return ActionState.IN_PROGRESS
    if None in states or ActionState.FAILED in states:
        return ActionState.FAILED
    return ActionState.CANCELED if ActionState.CANCELED in states else ActionState.SUCCESS


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupAccepted:
    """A stored call of a group, or the group call that it repeats."""

    name: str | None
    handler_seq: int
    number: int
    lines: tuple[GroupLine, ...]
    action_uuid = ""  # it has several actions

    def refer(self, _: Call) -> Reference:
        """Return the reference with which the caller reads its progress."""
        return Reference(self.handler_seq, self.number, 0, GROUP_CALL)
