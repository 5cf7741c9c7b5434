"""An action: one run of an operation on a service, which ends well or badly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tutum.errors import ActionTimeoutError, ObjectNotFound, TutumApiError, TutumAuthError
from tutum.resource import Resource

FINAL_STATES = frozenset({"Success", "Failed", "Canceled"})
_LONGEST_POLL_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One step of a run. `number` grows with each; `time` is ISO 8601 in UTC."""

    number: int
    time: str
    text: str


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
        can_be_canceled, can_be_retried: Whether `cancel` or `retry` would do something now.
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
    can_be_canceled: bool = False
    can_be_retried: bool = False

    @property
    def finished(self) -> bool:
        """Whether the state will not change any more."""
        return self.state in FINAL_STATES

    @property
    def succeeded(self) -> bool:
        """Whether it is over and ended well."""
        return self.state == "Success"

    def cancel(self) -> bool:
        """Cancel it: a pending action at once, a running one at its next safe point, with the service left whole.

        Returns:
            True; there is an exception when it fails.

        Raises:
            TutumApiError: It has ended already, or another failure.
        """
        self._load(self.client.send("POST", self.endpoint, self.uuid, "cancel").body)
        return True

    def retry(self) -> Action:
        """Do again what this failed or canceled action should have done, and return the new action.

        Raises:
            TutumApiError: It did not fail and was not canceled, or another failure.
        """
        return Action._of(self.client.send("POST", self.endpoint, self.uuid, "retry").body, self.client)

    def lines(self, after: int = 0) -> Sequence[Line]:
        """Read the steps of its run, also while it runs; at most 1,000 at once.

        Args:
            after: Only steps with a number above this one.

        Raises:
            TutumApiError: The server does not show the action.
        """
        body = self.client.send("GET", self.endpoint, self.uuid, "logs", params={"after": after}).body
        if not isinstance(body, dict):
            raise TutumApiError("the server did not answer with a log; is the base URL right?")
        return [
            Line(number=int(line["number"]), time=str(line["time"]), text=str(line["text"])) for line in body["lines"]
        ]

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
