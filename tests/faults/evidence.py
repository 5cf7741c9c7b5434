"""Evidence of a round: calls and their responses, lists of the API, and the journal of the engine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.faults.callers import Call
from tests.faults.journal import Containers, Entry
from tests.faults.stalls import Mark


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A delivery as the API lists it."""

    agent: str
    service: str
    operation: str
    amount: int
    action: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Down:
    """A worker that was killed, or stopped past its lease, at this monotonic time."""

    worker: int
    at: float
    is_stopped: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One round.

    Attributes:
        actions: State and reason of each action that a delivery names, by URI.
        entries: The engine's journal of the round.
        before, after: The containers of each service, by the engine's journal.
        is_proxied: The calls went through nginx, which is there all the time.
        shown: Target and running containers of each service, by the API.
        stalls: How busy the machine was.
    """

    calls: Sequence[Call]
    deliveries: Sequence[Delivery]
    actions: Mapping[str, tuple[str, str]]
    entries: Sequence[Entry]
    before: Containers
    after: Containers
    shown: Mapping[str, tuple[int, int]]
    downs: Sequence[Down] = ()
    stalls: Sequence[Mark] = ()
    is_proxied: bool = False
