"""Services and actions as lists show them, and what the overview of the dashboard shows."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tutumd.model.actions import Action
from tutumd.model.engines import EngineInfo
from tutumd.model.services import Service, ServiceState


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
    last_action: Action | None


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

    failed: tuple[Action, ...]
    running: tuple[Action, ...]
    waiting: tuple[Action, ...]
    engines: tuple[EngineInfo, ...]
    counts: ServiceCounts
    warned: tuple[ServiceSummary, ...]
    warnings: int
    unused_handlers: int
    unused: tuple[HandlerName, ...]
    has_handlers: bool
    has_calls: bool
