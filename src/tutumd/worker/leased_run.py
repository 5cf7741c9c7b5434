"""A run of an action under a lease: its deadlines, its journal, and the check of its inputs."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from threading import Event
from typing import TypeVar

import structlog

from tutumd.boottime import boottime_s
from tutumd.errors import Cause, LeaseLostError, ReasonCode, UnavailableError
from tutumd.model import Claim, ImageFacts, Phase, RunLimits, WantedImage
from tutumd.ports import Queue, Renewal
from tutumd.worker.trust import JournalSeal, check_request, trusted_image


class Deadlines:
    """Measures a run against its limits.

    Progress is a high-water mark per kind of progress: a container that becomes healthy for the second time is no
    progress.

    Attributes:
        limits: May be replaced at any time. Earlier measurements still count.
    """

    def __init__(self, limits: RunLimits, monotonic: Callable[[], float]) -> None:
        """Begin to measure."""
        self.limits = limits
        self._monotonic = monotonic
        self._began = self._progressed = monotonic()
        self._pull_began: float | None = None
        self._highest: dict[str, int] = {}

    def advance(self, kind: str, count: int) -> None:
        """Record a value, such as the number of healthy containers. Only a new maximum is progress."""
        if count > self._highest.get(kind, 0):
            self._highest[kind] = count
            self._progressed = self._monotonic()

    @contextmanager
    def pulling(self) -> Iterator[None]:
        """Apply the limit of pulls only. The other limits do not count the time in between."""
        self._pull_began = began = self._monotonic()
        try:
            yield
        finally:
            self._pull_began = None
            self._began += self._monotonic() - began
            self._progressed = self._monotonic()

    def remaining_s(self) -> float:
        """Return the seconds until the nearest limit; 0 if it is exceeded."""
        now = self._monotonic()
        if self._pull_began is not None:
            return max(0.0, self._pull_began + self.limits.pull_s - now)
        stalls = self._progressed + self.limits.stall_s
        return max(0.0, min(self._began + self.limits.timeout_s, stalls) - now)

    def reason(self) -> str:
        """Return the exceeded limit as text, such as "there was no progress for 120 s"; empty if none is exceeded."""
        if self.remaining_s() > 0:
            return ""
        if self._pull_began is not None:
            return Cause(f"the pull did not end within {self.limits.pull_s:g} s", ReasonCode.TIMEOUT)
        if self._monotonic() >= self._began + self.limits.timeout_s:
            return Cause(f"the action did not end within {self.limits.timeout_s:g} s", ReasonCode.TIMEOUT)
        return Cause(f"there was no progress for {self.limits.stall_s:g} s", ReasonCode.NO_PROGRESS)


LEASE_MARGIN_S = 1.0
"""A run stops this long before its lease ends, so that an engine call in progress ends within the lease."""

SURVIVAL_S = 60.0
"""A run that has lasted this long is not what killed the earlier workers."""

_RETRY_S = 0.2
T = TypeVar("T")
_log = structlog.get_logger(__name__)


class LeasedRun:
    """Run of tutumd.ports. The run measures the lease on a monotonic clock, which no change of the wall clock affects.

    Attributes:
        lease: Length of the lease.
    """

    def __init__(
        self,
        claim: Claim,
        queue: Queue,
        *,
        seal: JournalSeal,
        lease: timedelta,
        limits: RunLimits,
        claimed_at: float,
        monotonic: Callable[[], float] = boottime_s,
    ) -> None:
        """Begin a run.

        Args:
            seal: Seal of all workers of this database.
            limits: Limits from the server's settings.
            claimed_at: Monotonic time just before the claim was made.
        """
        self.claim = claim
        self.is_canceled = claim.is_cancel_requested
        self._queue = queue
        self.lease = lease
        self._monotonic = monotonic
        self._server_limits = limits
        self._logged_limits: RunLimits | None = None
        self._deadlines = Deadlines(limits, monotonic)
        self._lease_end = claimed_at + lease.total_seconds() - LEASE_MARGIN_S
        self._subject = claim
        self._seal = seal
        self.journal = seal.open(claim)
        self._began = claimed_at
        self._abandoned = Event()

    @property
    def action_uuid(self) -> str:
        return self._subject.action.uuid

    @property
    def tag(self) -> str | None:
        check_request(self._subject.action)
        return None if self._subject.action.image else self._subject.action.tag

    @property
    def variables(self) -> Mapping[str, str | None]:
        check_request(self._subject.action)
        return {} if self._subject.action.image else self._subject.action.variables

    @property
    def skip_unchanged(self) -> bool | None:
        return self._subject.action.skip_unchanged

    @property
    def image(self) -> WantedImage | None:
        check_request(self._subject.action)
        wanted = self._subject.action.image
        return wanted and trusted_image(wanted, self._subject.service, self._seal)

    def save(self, journal: Mapping[str, object]) -> None:
        """Store the journal. Retries within the lease while the database is unavailable."""
        self.check()
        save = self._queue.save_journal if self._subject is self.claim else self._queue.save_leftover
        sealed = self._seal.close(self._subject, journal)
        self.write(lambda: save(self.claim, sealed))
        self.journal = dict(journal)
        self.check()  # the write may have taken longer than the lease

    def pulled_images(self) -> frozenset[str]:
        return self.write(lambda: self._queue.pulled_images(self.claim.service.engine))

    def image_history(self) -> Sequence[ImageFacts]:
        return self.write(lambda: self._queue.image_history(self.claim.service.uuid))

    def update_pulled(self, *, added: Collection[str] = (), removed: Collection[str] = ()) -> None:
        self.write(lambda: self._queue.update_pulled(self.claim.service.engine, added=added, removed=removed))

    def write(self, use: Callable[[], T]) -> T:
        """Call a function that uses the store. Retries within the lease while the database is unavailable."""
        while True:
            try:
                return use()
            except UnavailableError:
                self.sleep(_RETRY_S)

    def check(self) -> None:
        if self._abandoned.is_set() or self._monotonic() >= self._lease_end:
            raise LeaseLostError("the lease of this action has ended")

    @contextmanager
    def clearing_up(self, leftover: Claim) -> Iterator[None]:
        """Act as the canceled run of an abandoned action while the block runs, under the lease of this run."""
        self._subject, self.journal = leftover, self._seal.open(leftover)
        try:
            yield
        finally:
            self._subject, self.journal = self.claim, self._seal.open(self.claim)
            self._deadlines = Deadlines(self._server_limits, self._monotonic)  # the cleanup is no progress

    def sleep(self, seconds: float) -> None:
        self.check()
        self._abandoned.wait(seconds)
        self.check()

    def set_limits(
        self, *, timeout_s: float | None, stall_s: float | None, least_stall_s: float = 0.0, is_pulling: bool = False
    ) -> None:
        limits = self._server_limits.adapted(
            timeout_s=timeout_s, stall_s=stall_s, least_stall_s=least_stall_s, is_pulling=is_pulling
        )
        self._deadlines.limits = limits
        if limits != self._logged_limits:
            self._logged_limits = limits
            self.log(str(limits))

    def advance(self, kind: str, count: int) -> None:
        self._deadlines.advance(kind, count)

    def pulling(self) -> AbstractContextManager[None]:
        return self._deadlines.pulling()

    def remaining_s(self) -> float:
        """Return the seconds until the nearest limit. A cancel request counts as a limit."""
        self.check()
        return 0.0 if self.is_canceled or self._subject is not self.claim else self._deadlines.remaining_s()

    def overdue_reason(self) -> str:
        return "" if self.is_canceled else self._deadlines.reason()

    def log(self, line: str, phase: Phase | None = None) -> None:
        _log.info("action step", action=self.action_uuid, service=self.claim.service.full_name, step=line)
        try:
            self._queue.add_log_line(self.claim, line, phase)
        except UnavailableError as error:
            _log.warning("log line was not stored", action=self.action_uuid, error=str(error))

    def note_renewal(self, renewal: Renewal, renewed_at: float) -> None:
        """Record the result of a renewal. A lost lease ends the run immediately.

        Args:
            renewed_at: Monotonic time just before the renewal.
        """
        if renewal is Renewal.LOST:
            self.abandon()
        elif renewal is not Renewal.BUSY:
            self._lease_end = renewed_at + self.lease.total_seconds() - LEASE_MARGIN_S
            self.is_canceled = self.is_canceled or renewal is Renewal.CANCEL_REQUESTED

    @property
    def has_survived(self) -> bool:
        """Whether earlier workers died in the action and this worker has not. A journal alone is no proof of that."""
        return bool(self.claim.deaths) and self._monotonic() - self._began >= SURVIVAL_S

    def abandon(self) -> None:
        """Stop the run before its next engine call."""
        self._abandoned.set()


def renew_all(queue: Queue, runs: Sequence[LeasedRun], monotonic: Callable[[], float] = boottime_s) -> None:
    """Extend the leases of several runs in one transaction. A run whose lease is not extended ends with its lease."""
    if not runs:
        return
    renewed_at = monotonic()
    try:
        renewals = queue.renew([(run.claim, run.has_survived) for run in runs], lease=runs[0].lease)
    except UnavailableError as error:
        _log.debug("leases were not renewed", runs=len(runs), error=str(error))
        return
    for run, renewal in zip(runs, renewals, strict=True):
        run.note_renewal(renewal, renewed_at)
