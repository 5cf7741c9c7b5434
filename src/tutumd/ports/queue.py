"""Operations of a worker on actions, and the clock."""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from enum import Enum
from typing import Protocol

from tutumd.model import (
    Claim,
    EngineInfo,
    EngineRequest,
    Growth,
    ImageFacts,
    Outcome,
    Phase,
    ServiceSnapshot,
)

Clock = Callable[[], datetime]
"""Returns the current time, in UTC with a time zone."""


GIVE_UP_AFTER = timedelta(minutes=15)
"""An action that has not changed anything fails if its engine cannot be reached for this long."""

HEARTBEAT_TIMEOUT = timedelta(seconds=15)
"""A worker without a heartbeat for this long is considered dead."""


class Renewal(Enum):
    """The result of renewing a lease."""

    RENEWED = "renewed"
    CANCEL_REQUESTED = "renewed, and the action is to be canceled"
    LOST = "the action has another claim, or has ended"
    BUSY = "not renewed: a transaction holds the action"


class Queue(Protocol):
    """Operations of a worker on actions. Each method is one transaction.

    Methods that take one claim, except `amounts` and `add_log_line`, raise LeaseLostError and change nothing once the
    action has another claim or has ended.
    """

    def register(
        self, worker: str, served: Sequence[EngineInfo], *, has_looked: bool = True, slots: int | None = None
    ) -> None:
        """Store a worker's heartbeat for the engine instances that it serves, and the health of these instances.

        From then on, queued work for these instances ends `wait`.

        Args:
            has_looked: Whether the values report the health of the engines. If not, the stored health stays.
            slots: Maximum number of actions that the worker performs in parallel on each instance; None: as stored.
        """

    def lease_discovery(self, worker: str, engine_name: str, *, lease: timedelta | None) -> bool:
        """Lease the discovery of an engine instance, and return whether no other worker has leased it.

        Args:
            lease: Duration of the lease from now; 0 ends the worker's lease. None: lease nothing.
        """

    def claim(
        self, worker: str, engine_names: Sequence[str], *, lease: timedelta, are_away: bool = False
    ) -> Claim | None:
        """Claim the oldest due action of these engine instances whose service is idle; None if there is none.

        An action in progress is due when its lease has ended or its retry delay is over. If its last holder was another
        worker that did not release it, that worker's death is counted, and the action may have to wait first.

        First, actions whose predecessors in a group have ended become due, or are canceled.

        Args:
            are_away: The engines are unavailable: claim only actions that can end without them. These are
                actions without a journal that were canceled, or whose attempts have failed for `GIVE_UP_AFTER`.
        """

    def renew(self, claims: Sequence[tuple[Claim, bool]], *, lease: timedelta) -> Sequence[Renewal]:
        """Extend several leases to `lease` from now, in one transaction. A lost lease is a result, not an error.

        Args:
            claims: Each with a flag: whether the run has lasted so long that it does not kill its worker. If set, the
                deaths of earlier workers no longer count.

        Returns:
            The results, in the order of the claims.
        """

    def save_journal(self, claim: Claim, journal: Mapping[str, object]) -> None:
        """Store the progress of a run. The journal is on disk when this returns."""

    def save_leftover(self, claim: Claim, journal: Mapping[str, object]) -> None:
        """Store the progress of cleaning up `claim.leftover`. An empty journal ends the cleanup."""

    def save_target(self, claim: Claim, target: int, growth: Growth | None = None) -> None:
        """Store the absolute target of a SCALEUP, once, before the engine is called.

        Args:
            growth: Given if limits allow fewer containers than the calls requested.
        """

    def amounts(self, claim: Claim) -> tuple[tuple[int, int | None], ...]:
        """Return the amounts that a SCALEUP adds, in order of arrival, each with its handler's cap."""

    def add_log_line(self, claim: Claim, text: str, phase: Phase | None = None) -> None:
        """Add a line to the action's log, even after the lease is lost, because the line reports completed work.

        A loss of power may lose the lines since the last change of the action.
        """

    def retry_later(self, claim: Claim, *, delay: timedelta, error: str) -> None:
        """Release an action that stays In progress and is due again after `delay`. Counts as an attempt."""

    def release(self, claim: Claim) -> None:
        """Release an action for another worker. Does not count as an attempt."""

    def finish(self, claim: Claim, outcome: Outcome, snapshot: ServiceSnapshot | None) -> None:
        """End the action, and store the current service; a snapshot of None means unknown or gone."""

    def revisions(self, engine_name: str) -> Mapping[str, int]:
        """Return the revisions of an engine's services by their selectors. Each claim and each end of an action
        increases the service's revision.

        Read the revisions before a look at the engine: `sync` skips services whose revision a run has increased since.
        """

    def sync(
        self,
        engine: EngineInfo,
        snapshots: Sequence[ServiceSnapshot],
        *,
        revisions: Mapping[str, int],
        is_unreadable: Callable[[str], bool] = lambda selector: False,
        worker: str = "",
    ) -> bool:
        """Store all services of an engine instance, and unbind services that are missing.

        The target of a service created through tutumd does not come from the engine: it stays as requested.

        Args:
            revisions: The revisions before the look: services with another revision stay as they are.
            is_unreadable: As in PartialDiscoveryError: these services stay as they are.
            worker: The worker that looked. If another worker was the last to lease the discovery, nothing is stored.

        Returns:
            Whether everything is stored; if not, look again soon.
        """

    def installation(self) -> str:
        """Return the ID of this installation: the same for all workers of the database, and for a restored database."""

    def pulled_images(self, engine_name: str) -> frozenset[str]:
        """Return the images that `update_pulled` added for an engine instance, each as REPOSITORY@DIGEST."""

    def update_pulled(self, engine_name: str, *, added: Collection[str] = (), removed: Collection[str] = ()) -> None:
        """Store the images that runs pulled to an engine instance, and remove images that the engine no longer has."""

    def image_history(self, service_uuid: str) -> Sequence[ImageFacts]:
        """Return the images that a service ran, newest first."""

    def prune(self, keep: timedelta, limit: int, *, keep_audit: timedelta = timedelta(days=365)) -> bool:
        """Delete a batch of old rows, at most `limit` of each kind; return whether there may be more.

        Old rows are: deliveries, ended actions and gone containers older than `keep`; gone containers of a service
        beyond the newest 100; engine instances without a worker for a day and without pending actions; requests
        older than a minute; terminated services without actions; expired sessions and login links; entries of the
        audit log older than `keep_audit`. Rows that a pending or running action, a retry of a failed action, or a
        key of the last 24 hours needs stay.
        """

    def trim_logs(self, limit: int, *, log_rows: int, log_bytes: int) -> bool:
        """Delete a batch of the oldest deliveries of handlers with too many; return whether there may be more.

        Args:
            limit: Maximum number to delete in one call.
            log_rows: Maximum number of a handler's deliveries with an action; as many skipped or repeated deliveries;
                and a tenth as many refused deliveries. Beyond a maximum, the oldest tenth is deleted.
            log_bytes: Maximum size, as for `log_rows`.
        """

    def count_calls(self) -> bool:
        """Add a batch of new deliveries to the handlers' counts of received and stored deliveries; return whether there
        may be more.
        """

    def take_requests(self, engine_names: Sequence[str], limit: int = 100) -> tuple[EngineRequest, ...]:
        """Return new requests for these engine instances, the oldest first. Each request is returned once."""

    def save_response(self, request_uuid: str, response: Mapping[str, object]) -> None:
        """Store the response to a request."""

    def wait(self, timeout_s: float) -> None:
        """Wait until work of a registered engine is queued, changed or possible again, or the time is over.

        It may return early, and may miss changes by other processes: look for work at least every half a second.
        """

    def wake(self) -> None:
        """Let a `wait` of this process return."""
