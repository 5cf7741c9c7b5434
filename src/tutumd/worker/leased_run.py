"""One run of an action under a lease: Run of ports.py."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from threading import Event

import structlog

from tutumd.boottime import boottime_s
from tutumd.errors import LeaseLostError, UnavailableError
from tutumd.model import Claim
from tutumd.ports import Queue

LEASE_MARGIN_S = 1.0
"""How long before the lease's end a worker stops, so that a call under way lands inside it."""

_RETRY_S = 0.2
_log = structlog.get_logger(__name__)


class LeasedRun:
    """Run of ports.py. The lease is kept on a steady clock: a wall clock that jumps ends nothing."""

    def __init__(
        self,
        claim: Claim,
        queue: Queue,
        *,
        lease: timedelta,
        deadline_s: float,
        claimed_at: float,
        monotonic: Callable[[], float] = boottime_s,
    ) -> None:
        """Begin a run.

        Args:
            deadline_s: Seconds that the engine work may take.
            claimed_at: Steady time just before the claim was made.
        """
        self.claim = claim
        self._queue = queue
        self._lease = lease
        self._monotonic = monotonic
        self._claimed_at = claimed_at
        self._deadline = claimed_at + deadline_s
        self._lease_end = claimed_at + lease.total_seconds() - LEASE_MARGIN_S
        self._journal = claim.journal
        self._abandoned = Event()
        self.is_canceled = claim.is_cancel_requested

    @property
    def action_uuid(self) -> str:
        """See ports.py."""
        return self.claim.action.uuid

    @property
    def tag(self) -> str | None:
        """See ports.py."""
        return self.claim.action.tag

    @property
    def variables(self) -> Mapping[str, str | None]:
        """See ports.py."""
        return self.claim.action.variables

    @property
    def journal(self) -> Mapping[str, object]:
        """See ports.py."""
        return self._journal

    def save(self, journal: Mapping[str, object]) -> None:
        """See ports.py. Waits, within the lease, for a database that cannot take it."""
        while True:
            self.check()
            try:
                self._queue.save_journal(self.claim, journal)
            except UnavailableError:
                self._abandoned.wait(_RETRY_S)
                continue
            self._journal = dict(journal)
            # The database may have taken longer than the lease lasts.
            self.check()
            return

    def check(self) -> None:
        """See ports.py."""
        if self._abandoned.is_set() or self._monotonic() >= self._lease_end:
            raise LeaseLostError("the lease of this action has ended")

    def sleep(self, seconds: float) -> None:
        """See ports.py."""
        self.check()
        self._abandoned.wait(seconds)
        self.check()

    def set_time_limit(self, seconds: float) -> None:
        """See ports.py."""
        self._deadline = self._claimed_at + seconds

    def remaining_s(self) -> float:
        """See ports.py. A cancel ends the time: the engine then puts back what it can, as at the deadline."""
        return 0.0 if self.is_canceled else max(0.0, self._deadline - self._monotonic())

    def log(self, line: str) -> None:
        """See ports.py."""
        _log.info("action step", action=self.action_uuid, service=self.claim.service.name, step=line)
        try:
            self._queue.add_log_line(self.claim, line)
        except UnavailableError as error:
            _log.warning("a step was not stored", action=self.action_uuid, error=str(error))

    def renew(self) -> None:
        """Prolong the lease; where the store says that it is lost, or cannot say, the run ends by itself."""
        asked_at = self._monotonic()
        try:
            canceled = self._queue.renew(self.claim, lease=self._lease)
        except LeaseLostError:
            self._abandoned.set()
        except UnavailableError as error:
            _log.warning("lease not renewed", action=self.action_uuid, error=str(error))
        else:
            self._lease_end = asked_at + self._lease.total_seconds() - LEASE_MARGIN_S
            self.is_canceled = self.is_canceled or canceled

    def abandon(self) -> None:
        """Make the run stop before its next engine call."""
        self._abandoned.set()
