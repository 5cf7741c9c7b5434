"""An action: one run of an operation on a service, which ends well or badly."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tutum.errors import ActionTimeoutError, ObjectNotFound, TutumApiError, TutumAuthError
from tutum.resource import Resource

FINAL_STATES = frozenset({"Success", "Failed", "Canceled"})
_LONGEST_POLL_S = 1.0


class Action(Resource):
    """One run of an operation.

    Attributes:
        action: What it does, such as "Service Redeploy".
        operation: The same in one word, such as REDEPLOY.
        state: Pending, In progress, Canceling, Canceled, Success or Failed.
        object: Path of the service.
        start_date, end_date: RFC 2822 dates; None while it has not begun or ended.
        reason: Why it failed, or what is special about the result.
        log_tail: Last output of what failed.
        deliveries: How many webhook calls it answers.
    """

    endpoint = "action"

    action: str = ""
    operation: str = ""
    state: str = ""
    object: str = ""
    start_date: str | None = None
    end_date: str | None = None
    ip: str | None = None
    location: str | None = None
    reason: str | None = None
    log_tail: str | None = None
    rolled_back: bool | None = None
    image_before: str | None = None
    image_after: str | None = None
    containers_before: Sequence[str] = ()
    containers_after: Sequence[str] = ()
    deliveries: int = 0

    @property
    def finished(self) -> bool:
        """Whether the state will not change any more."""
        return self.state in FINAL_STATES

    @property
    def succeeded(self) -> bool:
        """Whether it is over and ended well."""
        return self.state == "Success"

    def wait(
        self, timeout_s: float = 600.0, *, poll_s: float = 0.25, on_poll: Callable[[Action], None] | None = None
    ) -> Action:
        """Ask for the state until it is Success, Failed or Canceled, and return this action.

        A server that cannot be reached for a while is asked again until the time is over.

        Args:
            poll_s: Pause between two questions at first; it grows to 1 s.
            on_poll: Called after each answer.

        Raises:
            ActionTimeoutError: It was not over after `timeout_s`; it goes on all the same.
            TutumApiError: The server does not show the action.
        """
        clock = self.client.clock
        deadline_s = clock.monotonic_s() + timeout_s
        pause_s = poll_s
        trouble: TutumApiError | None = None
        while True:
            try:
                self.refresh(force=True)
                trouble = None
            except (TutumAuthError, ObjectNotFound):
                raise
            except TutumApiError as error:
                if error.status is not None and error.status < 500 and error.status != 429:
                    raise
                trouble = error
            if on_poll is not None and trouble is None:
                on_poll(self)
            if self.finished:
                return self
            remaining_s = deadline_s - clock.monotonic_s()
            if remaining_s <= 0:
                raise ActionTimeoutError(
                    f"action {self.uuid} is {self.state or 'not known'} after {timeout_s:g} s"
                    + (f"; last answer: {trouble}" if trouble else "")
                ) from trouble
            clock.sleep(min(pause_s, remaining_s))
            pause_s = min(pause_s * 1.5, _LONGEST_POLL_S)
