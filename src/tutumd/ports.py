"""Contracts between the packages: Store, Intake, Queue, Run and Engine."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from threading import Event
from typing import Protocol

from tutumd.errors import EngineUnavailableError
from tutumd.model import (
    Accepted,
    Action,
    ApiKey,
    Call,
    Claim,
    Container,
    Definition,
    Delivery,
    EngineInfo,
    EngineRequest,
    EvaluationNeeded,
    Handler,
    LogLine,
    NewHandler,
    NotQueued,
    Origin,
    Outcome,
    Page,
    Plan,
    Progress,
    Query,
    Service,
    ServiceSnapshot,
    User,
    Verb,
)

Clock = Callable[[], datetime]
"""Returns the current time, in UTC with a time zone."""

CallResult = Accepted | NotQueued | EvaluationNeeded | Exception
"""The result of storing a call. After EvaluationNeeded and after an exception, nothing of the call is stored."""

OnStored = Callable[[Sequence[CallResult]], None]
"""Receives the results of calls in their order. It is called once, from another thread, and must return quickly."""

HEARTBEAT_TIMEOUT = timedelta(seconds=15)
"""A worker without a heartbeat for this long is considered dead."""


class PartialDiscoveryError(EngineUnavailableError):
    """Some services of an engine could not be read.

    Attributes:
        snapshots: The services that could be read.
        is_unreadable: Returns whether the service with this selector is among those that could not.
    """

    def __init__(self, text: str, snapshots: tuple[ServiceSnapshot, ...], is_unreadable: Callable[[str], bool]) -> None:
        super().__init__(text)
        self.snapshots = snapshots
        self.is_unreadable = is_unreadable


class Accounts(Protocol):
    """Users and API keys. Each method is one transaction."""

    def user_by_key(self, key_sha256: str) -> User | None:
        """Return the user that an API key belongs to. `key_sha256` is hexadecimal."""

    def users(self) -> tuple[User, ...]:
        """Return all users, oldest first. The oldest admin is the first admin."""

    def add_user(self, name: str, *, is_admin: bool, key: tuple[str, str] | None = None) -> User:
        """Add a user, with an API key if its SHA-256 and hint are given.

        Raises:
            ConflictError: The name or the key is taken.
        """

    def remove_user(self, name: str) -> int:
        """Remove a user and their keys, and disown the services created through tutumd.

        Returns:
            How many services still name the user in their label. The next user with this name will own them.

        Raises:
            NotFoundError: There is no such user.
            ConflictError: The user is the last admin.
        """

    def add_key(self, user_name: str, *, key_sha256: str, hint: str) -> None:
        """Add an API key to a user. Raises NotFoundError for an unknown user."""

    def keys(self, user_name: str | None = None) -> tuple[ApiKey, ...]:
        """Return the API keys of one user, or of all users, oldest first."""

    def revoke_keys(self, name: str) -> int:
        """Delete the keys of the user `name`, else the keys with the hint `name`, and return how many."""


class Store(Accounts, Protocol):
    """What the application reads and writes. Each method is one transaction.

    An admin sees every service and what belongs to it, a member only their own. Anything else raises NotFoundError with
    the same text as an object that does not exist. UUIDs are lower case.
    """

    def engines(self) -> tuple[EngineInfo, ...]:
        """Return the engine instances that workers serve."""

    def services(self, viewer: User, query: Query) -> Page[Service]:
        """Return services by name. Filters: uuid, uuid__startswith, name, state, stack, stack__name."""

    def service(self, viewer: User, uuid: str) -> Service:
        """Return a service."""

    def create_service(
        self, *, engine: str, name: str, image: str, owner: str, definition: Definition, target: int
    ) -> Service:
        """Create a service, which runs once it is started. Raises ConflictError if the engine has its name already."""

    def update_service(self, uuid: str, *, definition: Definition, image: str, target: int | None = None) -> Service:
        """Change what a created service runs after its next start or redeploy; a target of None stays as it is."""

    def containers(self, viewer: User, query: Query) -> Page[Container]:
        """Return present containers. Filters: uuid, uuid__startswith, name, state, service, service__stack__name."""

    def container(self, viewer: User, uuid: str) -> Container:
        """Return a container, including one that is gone but not deleted yet."""

    def handlers(self, viewer: User, service_uuid: str, query: Query) -> Page[Handler]:
        """Return the handlers of a service, oldest first. Filters: uuid, uuid__startswith, name."""

    def handler(self, viewer: User, service_uuid: str, uuid: str) -> Handler:
        """Return a handler of a service."""

    def add_handlers(self, viewer: User, service_uuid: str, entries: Sequence[NewHandler]) -> tuple[Handler, ...]:
        """Create handlers, all or none."""

    def change_handler(
        self, viewer: User, service_uuid: str, uuid: str, change: Callable[[Handler], NewHandler]
    ) -> Handler:
        """Set a handler's name and options to what `change` returns. Nobody else can change it in between."""

    def rotate_handler(self, viewer: User, service_uuid: str, uuid: str, old_until: datetime) -> Handler:
        """Give a handler a new UUID. Until `old_until`, calls to the old one are accepted, but nothing else is."""

    def unused_handlers(self, viewer: User, before: datetime, query: Query) -> Page[Handler]:
        """Return the handlers of all services that were created before, and not called since."""

    def delete_handler(self, viewer: User, service_uuid: str, uuid: str) -> None:
        """Delete a handler. Once this returns, no call to it is accepted."""

    def actions(self, viewer: User, query: Query) -> Page[Action]:
        """Return actions, newest first. Filters: uuid, state, object (service UUID), start/end_date__gte/__lte."""

    def action(self, viewer: User, uuid: str) -> Action:
        """Return an action."""

    def submit(self, service_uuid: str, verb: Verb, *, target: int | None, origin: Origin) -> Action:
        """Queue an action, or join a pending one that does the same.

        A REDEPLOY joins the open action, as a call does. Other verbs close the open actions of the service, so that
        later calls run after them. They join only the newest pending action, if it has the same verb and `target`.
        SCALE also sets the service's target; without a `target` it restores the service's.
        """

    def cancel(self, viewer: User, uuid: str) -> Action:
        """Cancel a pending action, or ask the worker to end one in progress. Raises ConflictError once it has ended."""

    def abandon(self, viewer: User, uuid: str) -> Action:
        """End an action in progress as Failed, without its engine. The next run of its service clears up first.

        Raises:
            ConflictError: It has ended, or is pending.
        """

    def retry(self, viewer: User, uuid: str, origin: Origin) -> Action:
        """Queue a new action with the inputs of a failed or canceled one. Raises ConflictError for any other."""

    def log_lines(self, viewer: User, action_uuid: str, after: int) -> tuple[LogLine, ...]:
        """Return an action's log lines numbered above `after`, at most 1,000."""

    def deliveries(self, viewer: User, service_uuid: str, handler_uuid: str, query: Query) -> Page[Delivery]:
        """Return what a handler received, newest first."""

    def delivery(self, viewer: User, service_uuid: str, handler_uuid: str, number: int) -> Delivery:
        """Return a delivery with its content."""

    def progress(self, references: Sequence[tuple[int, int]]) -> Mapping[tuple[int, int], Progress]:
        """Return the progress of actions by (`handler_seq`, `action_seq`), except those of deleted handlers."""

    def add_request(self, service: Service, kind: str, arguments: Mapping[str, object]) -> str:
        """Queue an EngineRequest for a worker, and return its UUID."""

    def pop_response(self, request_uuid: str) -> Mapping[str, object] | None:
        """Return the response to a request and delete both; None if there is no response yet."""


class Intake(Protocol):
    """The write side of the call path: calls that arrive together are committed together."""

    def store(self, calls: Sequence[Call], on_stored: OnStored) -> None:
        """Commit calls in their order, in one transaction.

        Each call is stored as a delivery. It joins the open action of its service and operation, or queues a new one.
        A call that repeats a delivery of the last 24 hours returns that delivery's action and causes nothing, unless
        the action failed. Results other than Accepted:

        - NotQueued: the call's evaluation says that it does nothing; the delivery is stored.
        - EvaluationNeeded: the handler has options, and the call was not evaluated with them.
        - NotFoundError: the handler is unknown, revoked, used up or another service's.
        - TooManyCallsError: the call exceeds the handler's rate limit.
        - UnavailableError: the database cannot take the call now.
        """

    def failing_s(self) -> float | None:
        """Return for how many seconds the database has taken no calls; None while it takes them."""


class Queue(Protocol):
    """What a worker does with actions. Each method is one transaction.

    Methods that take a claim, except `amounts` and `add_log_line`, raise LeaseLostError and change nothing once the
    action has another claim or has ended.
    """

    def register(self, worker: str, served: Sequence[EngineInfo]) -> None:
        """Store a worker's heartbeat, and the health of the engine instances that it serves."""

    def claim(
        self, worker: str, engine_names: Sequence[str], *, lease: timedelta, given_up_before: datetime | None = None
    ) -> Claim | None:
        """Claim the oldest due action of these engine instances whose service is idle; None if there is none.

        An action in progress is due when its lease has ended or its retry delay is over. If its last holder was another
        worker that did not release it, the claim counts that worker's death.

        Args:
            given_up_before: Given for engines that are away: claim only what can end without them. That is an action
                without a journal that was canceled, or that was started before this time.
        """

    def renew(self, claim: Claim, *, lease: timedelta, has_survived: bool = False) -> bool:
        """Extend the lease to `lease` from now, and return whether the action is to be canceled.

        Args:
            has_survived: The run got so far that it does not kill its worker: forget the deaths of earlier ones.
        """

    def save_journal(self, claim: Claim, journal: Mapping[str, object]) -> None:
        """Store the progress of a run. It is on disk when this returns. If it is new, earlier deaths are forgotten."""

    def save_leftover(self, claim: Claim, journal: Mapping[str, object]) -> None:
        """Store the progress of clearing up `claim.leftover`. An empty journal ends that."""

    def save_target(self, claim: Claim, target: int) -> None:
        """Store the absolute target of a SCALEUP, once, before the engine is called."""

    def amounts(self, claim: Claim) -> tuple[tuple[int, int | None], ...]:
        """Return the amounts that a SCALEUP adds, in order of arrival, each with its handler's cap."""

    def add_log_line(self, claim: Claim, text: str) -> None:
        """Add a line to the action's log, even after the lease is lost: it reports what was done."""

    def retry_later(self, claim: Claim, *, delay: timedelta, reason: str) -> None:
        """Release an action that stays In progress and is due again after `delay`. Counts as an attempt."""

    def release(self, claim: Claim) -> None:
        """Release an action for another worker. Does not count as an attempt."""

    def finish(self, claim: Claim, outcome: Outcome, snapshot: ServiceSnapshot | None) -> None:
        """End the action, and store the service as it is now; a snapshot of None means unknown or gone."""

    def revisions(self, engine_name: str) -> Mapping[str, int]:
        """Return the revisions of an engine's services by their selectors. Each claim and end of an action raises one.

        Read them before a look at the engine: `sync` stores only what no run began or ended to change since.
        """

    def sync(
        self,
        engine: EngineInfo,
        snapshots: Sequence[ServiceSnapshot],
        *,
        revisions: Mapping[str, int],
        is_unreadable: Callable[[str], bool] = lambda selector: False,
    ) -> bool:
        """Store all services of an engine instance, and unbind those that are missing.

        The target of a service created through tutumd is not the engine's: it stays as it was asked for.

        Args:
            revisions: As read before the look: services that have another one stay as they are.
            is_unreadable: As of PartialDiscoveryError: these services stay as they were.

        Returns:
            Whether everything is stored; if not, look again soon.
        """

    def prune(self, keep: timedelta, limit: int) -> bool:
        """Delete a batch of old rows, at most `limit` of each kind; return whether there may be more.

        Old are deliveries, ended actions and gone containers older than `keep`, gone containers of a service beyond the
        newest 100, engine instances without a worker for a day and without pending actions, requests older than a
        minute, and terminated services without actions. What a pending or running action, a retry of a failed one, or
        a key of the last 24 hours needs stays.
        """

    def trim_logs(self, limit: int, *, log_rows: int, log_bytes: int) -> bool:
        """Delete a batch of the oldest deliveries of handlers with too many; return whether there may be more.

        Args:
            limit: The most to delete at once.
            log_rows: Deliveries with an action that a handler may have; as many that were skipped or repeated; and a
                tenth of it that were refused. Beyond it, the oldest tenth is deleted.
            log_bytes: What they may take, as for `log_rows`.
        """

    def count_calls(self) -> bool:
        """Add a batch of new deliveries to what handlers received and keep; return whether there may be more."""

    def take_requests(self, engine_names: Sequence[str], limit: int = 100) -> tuple[EngineRequest, ...]:
        """Return new requests for these engine instances, the oldest first. Each request is returned once."""

    def save_response(self, request_uuid: str, response: Mapping[str, object]) -> None:
        """Store the response to a request."""

    def wait(self, timeout_s: float) -> None:
        """Wait until something is queued, or the time is over. It may miss what other processes queue."""

    def wake(self) -> None:
        """Let a `wait` of this process return."""


class Run(Protocol):
    """What an engine may use while it performs an action."""

    @property
    def action_uuid(self) -> str:
        """UUID of the action. Its first 8 characters mark objects that the run creates, also after a restart."""

    @property
    def tag(self) -> str | None:
        """Validated tag that a REDEPLOY sets on the image; None: the image's name stays. Constant during a run."""

    @property
    def variables(self) -> Mapping[str, str | None]:
        """Environment variables that a REDEPLOY sets in the new containers; None removes a variable."""

    @property
    def journal(self) -> Mapping[str, object]:
        """The last saved journal, also from an earlier process; empty at first."""

    def save(self, journal: Mapping[str, object]) -> None:
        """Replace the journal (JSON values). It is on disk when this returns. Includes `check`."""

    def check(self) -> None:
        """Raise LeaseLostError if the run must stop. Call it before each engine call that changes something."""

    def sleep(self, seconds: float) -> None:
        """Sleep, with `check` before and after."""

    def set_limits(
        self, *, timeout_s: float | None, stall_s: float | None, least_stall_s: float = 0.0, is_pulling: bool = False
    ) -> None:
        """Replace limits by those of the service's labels, and log the limits in force if they are new.

        Args:
            timeout_s: Seconds that the run may take, pulls apart; None: as the server's settings say.
            stall_s: Seconds without progress; None: as the server's settings say, but at least `least_stall_s`.
            least_stall_s: How long the service may take from one step of progress to the next, by its health checks.
            is_pulling: A node pulls an image now and does not say how far it is: it has as long as a pull may take,
                whatever `stall_s` says.
        """

    def advance(self, kind: str, count: int) -> None:
        """Report what a run has reached, such as how many new containers were ever healthy. More is progress."""

    def pulling(self) -> AbstractContextManager[None]:
        """Return a context in which only the limit of a pull applies."""

    def remaining_s(self) -> float:
        """Return the seconds until the nearest limit; 0 once it is over, when the engine restores what it can.

        Includes `check`, so that a wait without a `sleep` ends, too.
        """

    def overdue_reason(self) -> str:
        """Return which limit is over, as in "there was no progress for 120 s"; empty if none is."""

    def log(self, line: str) -> None:
        """Log a step in a few words for people. Never a credential."""


class Engine(Protocol):
    """Where services run. Methods are synchronous, and each call to the engine has a timeout.

    Any method may raise EngineUnavailableError. The worker then repeats it with the saved journal, as it does after a
    crash, so each method must be repeatable from any step. A verb raises EngineRefusedError to fail with that reason
    and an unchanged service. It returns once the result is certain: success means that the requested containers run.
    If the wanted state is already there, it succeeds.
    """

    @property
    def info(self) -> EngineInfo:
        """Name, kind and abilities, without `error`."""

    def discover(self) -> tuple[ServiceSnapshot, ...]:
        """Return all services of this instance. Raises PartialDiscoveryError if some cannot be read."""

    def inspect(self, service: Service) -> ServiceSnapshot | None:
        """Return a service as it is now, or None if it is gone."""

    def watch(self, changed: Callable[[], None], stop: Event) -> None:
        """Call `changed` when something may have changed, until `stop` is set or the connection breaks."""

    def plan(self, service: Service, tag: str | None) -> Plan:
        """Return what `redeploy` would do now, without changing or pulling anything.

        If `redeploy` would be refused, the plan's `refused` says why; nothing is raised.
        """

    def redeploy(self, service: Service, run: Run) -> Outcome:
        """Replace each container by a new one of the newest image (local: of the current definition).

        A stopped service stays stopped, and the reason says so. After a failure the old containers run as before.
        """

    def scale(self, service: Service, target: int, run: Run) -> Outcome:
        """Scale a running service to `target` containers, from 0 to the cap, and wait until the new ones run."""

    def start(self, service: Service, run: Run) -> Outcome:
        """Start a stopped service with `service.target` containers (docker: with those that exist)."""

    def stop(self, service: Service, run: Run) -> Outcome:
        """Stop all containers of a service, so that nothing restarts them."""

    def terminate(self, service: Service, run: Run) -> Outcome:
        """Remove a service that was created through tutumd, and its containers."""

    def logs(self, service: Service, lines: int) -> str:
        """Return the last lines of output of the service's containers."""

    def probe(self) -> None:
        """Ask the engine something cheap, within 5 s in all. Raises EngineUnavailableError if it does not answer."""

    def close(self) -> None:
        """Close connections. Services keep running."""
