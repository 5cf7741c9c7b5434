"""Services and actions as lists show them, and what the overview of the dashboard shows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from tutumd.model.actions import ActionState, Verb
from tutumd.model.engines import EngineInfo
from tutumd.model.services import Service, ServiceState


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionSummary:
    """An action as lists show it.

    Attributes:
        number: Increases with each action of any service. Lists go on with `before` this.
        service_name: With its stack.
        open: Whether an equal request that comes now joins it, instead of waiting for its end.
        due: When a pending action may begin, or one in progress tries again. It is in the future only if it waits.
        waits_for: What it waits for, as a sentence; empty if a worker performs it, or it has ended.
        held_until: When it begins if no more calls come; None if it does not wait for the end of a debounce.
        reason: Why it failed, or a note; may be empty.
    """

    uuid: str
    number: int
    service_uuid: str
    service_name: str
    engine: str
    verb: Verb
    state: ActionState
    open: bool
    target: int | None
    tag: str | None
    created: datetime
    due: datetime
    started: datetime | None
    ended: datetime | None
    address: str
    waits_for: str
    held_until: datetime | None
    reason: str
    rolled_back: bool
    image_before: str | None
    image_after: str | None

    @property
    def since(self) -> datetime:
        """When it came into its state: when it ended, else when it began, else when it was asked for."""
        return self.ended or self.started or self.created


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSummary:
    """A service as lists show it.

    Attributes:
        service: Without its `containers`.
        handlers: How many it has.
        last_action: The newest one, whatever its state; None if there was none.
    """

    service: Service
    handlers: int
    last_action: ActionSummary | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceCounts:
    """How many services a viewer has.

    Attributes:
        states: By state, of those that are not gone. States without a service are missing.
        gone: Services that their engines do not show.
    """

    states: Mapping[ServiceState, int] = field(default_factory=dict)
    gone: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceList:
    """One page of services.

    Attributes:
        next: The `after` of the next page; None: this is the last.
        counts: Of all that the other filters match, whatever their state.
        stacks, engines: Names of all that the viewer can filter by, in order. A service may be of no stack.
    """

    services: tuple[ServiceSummary, ...]
    next: str | None
    counts: ServiceCounts
    stacks: tuple[str, ...]
    engines: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlerName:
    """A handler as others link to it: without its UUID, which is a credential. `name` is None if it has none."""

    number: int
    service_uuid: str
    name: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """What a viewer wants to know first.

    Attributes:
        failed: The newest action of a service, if it failed within 7 days: one a service, newest first, at most 10.
        running: Newest first, at most 20.
        waiting: Pending actions, oldest first, at most 20. `waits_for` says why.
        engines: All that workers serve.
        warned: Services with warnings that are not gone, by name, at most 10.
        warnings: How many of these services there are.
        unused_handlers: How many were created before the given time, and not called since.
        unused: Those of them that were unused for the longest time, at most 5.
        has_handlers: Whether there is a handler.
        has_calls: Whether any of them was ever called.
    """

    failed: tuple[ActionSummary, ...]
    running: tuple[ActionSummary, ...]
    waiting: tuple[ActionSummary, ...]
    engines: tuple[EngineInfo, ...]
    counts: ServiceCounts
    warned: tuple[ServiceSummary, ...]
    warnings: int
    unused_handlers: int
    unused: tuple[HandlerName, ...]
    has_handlers: bool
    has_calls: bool
