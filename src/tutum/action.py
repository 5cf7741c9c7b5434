"""An action: one run of an operation on a service."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

from tutum.errors import ActionTimeoutError, TutumApiError
from tutum.resource import Resource

_LONGEST_PAUSE_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One log line of a run. `number` increases; `time` is ISO 8601 in UTC."""

    number: int
    time: str
    text: str


@dataclass(frozen=True, eq=False, kw_only=True)
class Run:
    """The result of a run, or its progress.

    Attributes:
        state: Pending, In progress, Canceling, Canceled, Success or Failed; of a call also Skipped, if the handler's
            rules said that there was nothing to do.
        operation: Such as REDEPLOY.
        reason: Reason of a failure or skip, or a remark on the result.
        reason_code: Code of a failure, such as `image-not-found`; only of actions.
        image_before, image_after: Digests of the image, where known.
        image_tried: Digest of the image that a failed redeploy tried to run.
        containers_before, containers_after: Numbers of containers, where known.
        log_tail: Last output of the failed container; of a call only if the handler's `show_log` is set.
    """

    state: str = ""
    operation: str = ""
    reason: str | None = None
    reason_code: str | None = None
    log_tail: str | None = None
    rolled_back: bool | None = None
    image_before: str | None = None
    image_after: str | None = None
    image_tried: str | None = None
    containers_before: int | None = None
    containers_after: int | None = None

    @property
    def finished(self) -> bool:
        """Whether the state is final."""
        return self.state in {"Success", "Failed", "Canceled", "Skipped"}

    @property
    def succeeded(self) -> bool:
        """Whether the operation was performed successfully. A skipped call performed no operation."""
        return self.state == "Success"


class Action(Resource, Run):
    """One run of an operation.

    Attributes:
        action: What it does, such as "Service Redeploy".
        object: Path of the service.
        start_date, end_date: RFC 2822 dates; None if it has not started or ended.
        container_uris_before, container_uris_after: Paths of the containers.
        deliveries: How many webhook calls it performs.
        holds: Why it may not start yet while it is pending: `kind` (`debounce`, `hold` or `freeze`), `until`, `by`, and
            `reason`, a sentence.
        held_until: Earliest time at which it could start: an ISO 8601 date; None if nothing holds it, or if a hold has
            no end.
        image: `number` and `digest` of the image that a ROLLBACK restores; None for other operations.
        can_be_canceled, can_be_retried: Whether `cancel` or `retry` would have an effect now.
    """

    endpoint = "action"

    action: str = ""
    object: str = ""
    start_date: str | None = None
    container_uris_before: Sequence[str] = ()
    container_uris_after: Sequence[str] = ()
    deliveries: int = 0

    def cancel(self) -> bool:
        """Cancel the action: a pending action immediately, a running action at its next safe point. The service stays
        whole.

        Returns:
            True. A failure raises.

        Raises:
            TutumApiError: It has ended, or another failure.
        """
        self._load(self.client.send("POST", self.endpoint, self.uuid, "cancel").body)
        return True

    def abandon(self) -> bool:
        """End a running action whose engine does not return, as Failed. For admins.

        The next action of the service first cleans up what is half done.

        Returns:
            True. A failure raises.

        Raises:
            TutumApiError: It has ended or is pending, or another failure.
        """
        self._load(self.client.send("POST", self.endpoint, self.uuid, "abandon").body)
        return True

    def retry(self) -> Self:
        """Start a new action with the inputs of this failed or canceled action, and return it.

        Raises:
            TutumApiError: It did not fail and was not canceled, or another failure.
        """
        return self._of(self.client.send("POST", self.endpoint, self.uuid, "retry").body, self.client)

    def lines(self, after: int = 0) -> Sequence[Line]:
        """Return up to 1,000 log lines of its run, also while it runs.

        Args:
            after: Only lines with a number above this one.

        Raises:
            TutumApiError: The server does not show the action.
        """
        body = self.client.send("GET", self.endpoint, self.uuid, "logs", params={"after": after}).body
        return [
            Line(number=int(line["number"]), time=str(line["time"]), text=str(line["text"])) for line in body["lines"]
        ]

    def wait(
        self, timeout_s: float = 600.0, *, poll_s: float = 0.25, on_poll: Callable[[Self], None] | None = None
    ) -> Self:
        """Fetch the state until it is Success, Failed or Canceled, and return this action.

        A server that cannot be reached is asked again until the time is over.

        Args:
            poll_s: First pause between two requests; it grows to 1 s.
            on_poll: Called after each response.

        Raises:
            ActionTimeoutError: It had not ended after `timeout_s`. It continues.
            TutumApiError: The server does not show the action.
        """
        clock = self.client.clock
        deadline_s = clock.monotonic() + timeout_s
        pause_s = poll_s
        while True:
            failure: TutumApiError | None = None
            try:
                self.refresh(force=True)
            except TutumApiError as error:
                if not error.is_temporary:
                    raise
                failure = error
            if on_poll is not None and failure is None:
                on_poll(self)
            if self.finished:
                return self
            remaining_s = deadline_s - clock.monotonic()
            if remaining_s <= 0:
                raise ActionTimeoutError(
                    f"action {self.uuid} is {self.state or 'unknown'} after {timeout_s:g} s"
                    + (f"; last response: {failure}" if failure else "")
                ) from failure
            clock.sleep(min(pause_s, remaining_s))
            pause_s = min(pause_s * 1.5, _LONGEST_PAUSE_S)
