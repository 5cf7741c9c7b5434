"""The write side of the call path."""

from collections.abc import Callable, Sequence
from typing import Protocol

from tutumd.model import (
    Accepted,
    Call,
    EvaluationNeeded,
    NotQueued,
)
from tutumd.model.groups import GroupAccepted

Stored = Accepted | GroupAccepted | NotQueued
CallResult = Stored | EvaluationNeeded | Exception
"""The result of storing a call. After EvaluationNeeded, and after an exception other than ConflictError, nothing of the
call is stored.
"""

OnStored = Callable[[Sequence[CallResult]], None]
"""Receives the results of calls in their order. Another thread calls it once. It must return quickly."""


class Intake(Protocol):
    """The write side of the call path: calls that arrive at the same time are committed together."""

    def store(self, calls: Sequence[Call], on_stored: OnStored) -> None:
        """Commit calls in their order, in one transaction.

        Each call is stored as a delivery. It joins the open action of its service and operation, or queues a new one. A
        call that repeats a delivery of the last 24 hours returns that delivery's action and causes nothing, unless the
        action failed.

        A call whose `service_uuid` is empty is a call of a group: GroupAccepted. It is also stored as a call of each
        service's hidden handler. Results other than Accepted and GroupAccepted:

        - NotQueued: the call does nothing, by its evaluation, because the service was rolled back, or because the group
          has no service now; the delivery is stored.
        - ConflictError: the service cannot be rolled back, or the group has too many services; the delivery is stored
          as refused.
        - EvaluationNeeded: the handler has options, and the call was not evaluated with them.
        - NotFoundError: the handler is unknown, revoked, used up or another service's.
        - TooManyCallsError: the call exceeds the handler's rate limit.
        - UnavailableError: the database cannot take the call now.
        """

    def failing_s(self) -> float | None:
        """Return for how many seconds the database has accepted no calls; None while it accepts them."""
