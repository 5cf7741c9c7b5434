"""The contracts between the rooms: what the store, the intake, the queue and an engine promise."""

from collections.abc import Callable, Mapping, Sequence
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
"""Tells the time, in UTC with a time zone."""

CallResult = Accepted | NotQueued | EvaluationNeeded | Exception
"""What became of a call. Of one that is unjudged nothing was stored."""

OnStored = Callable[[Sequence[CallResult]], None]
"""Takes what became of calls, in their order. Is called once, from another thread, and must be quick."""

HEARTBEAT_TIMEOUT = timedelta(seconds=15)
"""How long after it last told of itself a worker is taken for one that lives."""


class PartialDiscoveryError(EngineUnavailableError):
    """A part of an engine's services could not be looked at; `seen` are those that could."""

    def __init__(self, text: str, snapshots: tuple[ServiceSnapshot, ...], is_unreadable: Callable[[str], bool]) -> None:
        """Take the text for people, what was seen, and what tells whether a selector is of the part that was not."""
        super().__init__(text)
        self.snapshots = snapshots
        self.is_unreadable = is_unreadable


class Accounts(Protocol):
    """Users and API keys. Every method is one transaction."""

    def user_by_key(self, key_sha256: str) -> User | None:
        """Find the user that a key belongs to. `key_sha256` is hexadecimal."""

    def users(self) -> tuple[User, ...]:
        """List the users, oldest first. The oldest admin is the first admin."""

    def add_user(self, name: str, *, is_admin: bool, key: tuple[str, str] | None = None) -> User:
        """Add a user, with a key if its SHA-256 and hint are given. Raises ConflictError where one is taken."""

    def remove_user(self, name: str) -> int:
        """Remove a user with the keys, and let go of the services that were created through tutumd.

        Answers how many services still name the user in their label: whoever has this name next gets those.
        Raises NotFoundError, and ConflictError for the last admin.
        """

    def add_key(self, user_name: str, *, key_sha256: str, hint: str) -> None:
        """Store a key's hash. Raises NotFoundError for an unknown user."""

    def keys(self, user_name: str | None = None) -> tuple[ApiKey, ...]:
        """List keys, of one user or of all, oldest first."""

    def revoke_keys(self, name: str) -> int:
        """Delete the keys of the user `name`, or the one whose hint is `name`; answer how many."""


class Store(Accounts, Protocol):
    """What the application reads and writes. Every method is one transaction.

    `viewer` limits what is seen: an admin sees all, a member what belongs to them; anything else is
    NotFoundError, with the same text as for an unknown object. UUIDs are in lower case.
    """

    def engines(self) -> tuple[EngineInfo, ...]:
        """List the engine instances that workers serve."""

    def services(self, viewer: User, query: Query) -> Page[Service]:
        """List services by name. Filters: uuid, uuid__startswith, name, state, stack, stack__name."""

    def service(self, viewer: User, uuid: str) -> Service:
        """Read one service."""

    def create_service(
        self, *, engine: str, name: str, image: str, owner: str, definition: Definition, target: int
    ) -> Service:
        """Create a service that an engine will run when started. Raises ConflictError for a name in use."""

    def update_service(self, uuid: str, *, definition: Definition, image: str, target: int) -> Service:
        """Replace what a created service runs from its next start or redeploy on."""

    def containers(self, viewer: User, query: Query) -> Page[Container]:
        """List present containers. Filters: uuid, uuid__startswith, name, state, service, service__stack__name."""

    def container(self, viewer: User, uuid: str) -> Container:
        """Read one container, also one that is gone as long as it is remembered."""

    def handlers(self, viewer: User, service_uuid: str, query: Query) -> Page[Handler]:
        """List a service's handlers, oldest first. Filters: uuid, uuid__startswith, name."""

    def handler(self, viewer: User, service_uuid: str, uuid: str) -> Handler:
        """Read one handler of the service."""

    def add_handlers(self, viewer: User, service_uuid: str, entries: Sequence[NewHandler]) -> tuple[Handler, ...]:
        """Create handlers, all or none."""

    def change_handler(
        self, viewer: User, service_uuid: str, uuid: str, change: Callable[[Handler], NewHandler]
    ) -> Handler:
        """Change a handler's name and options to what `change` makes of it, with nobody else in between."""

    def rotate_handler(self, viewer: User, service_uuid: str, uuid: str, old_until: datetime) -> Handler:
        """Give a handler a new UUID; by the old one it may be called, and nothing else, until then."""

    def unused_handlers(self, viewer: User, before: datetime, query: Query) -> Page[Handler]:
        """List the handlers of all services that are older than this and were not called since."""

    def delete_handler(self, viewer: User, service_uuid: str, uuid: str) -> None:
        """Delete a handler: once this returns, no call to it is accepted."""

    def actions(self, viewer: User, query: Query) -> Page[Action]:
        """List actions, newest first. Filters: uuid, state, object (service UUID), start/end_date__gte/__lte."""

    def action(self, viewer: User, uuid: str) -> Action:
        """Read one action."""

    def submit(self, service_uuid: str, verb: Verb, *, target: int | None, origin: Origin) -> Action:
        """Insert an action, or join the open pending one of the same verb.

        REDEPLOY joins as a call does. The other verbs close all open pending actions of the service, so that
        later calls start anew behind them; they join only a pending action that is the service's newest and
        wants the same `target`. SCALE stores its target as the service's; without one it scales to the service's.
        """

    def cancel(self, viewer: User, uuid: str) -> Action:
        """Cancel a pending action at once; ask the worker of one in progress to end it. ConflictError once it ended."""

    def retry(self, viewer: User, uuid: str, origin: Origin) -> Action:
        """Make a new action that does what a failed or canceled one should have done. Else ConflictError."""

    def log_lines(self, viewer: User, action_uuid: str, after: int) -> tuple[LogLine, ...]:
        """Read an action's log, at most 1,000 lines with a number above `after`."""

    def deliveries(self, viewer: User, service_uuid: str, handler_uuid: str, query: Query) -> Page[Delivery]:
        """List what a handler received, newest first."""

    def delivery(self, viewer: User, service_uuid: str, handler_uuid: str, number: int) -> Delivery:
        """Read one delivery with its content."""

    def progress(self, wanted: Sequence[tuple[int, int]]) -> Mapping[tuple[int, int], Progress]:
        """Read actions by (handler's number, action's number), as far as the handlers are still there."""

    def add_request(self, service: Service, kind: str, arguments: Mapping[str, object]) -> str:
        """Queue a read from the service's engine for a worker, and return its UUID."""

    def pop_response(self, request_uuid: str) -> Mapping[str, object] | None:
        """Return a worker's response to a request and delete both, or None while there is no response."""


class Intake(Protocol):
    """The write side of the call path: calls that arrive together are committed together."""

    def store(self, calls: Sequence[Call], on_stored: OnStored) -> None:
        """Commit calls, all in one transaction, in their order.

        Of each its delivery, and a new action or the open pending one that it joins. A call's result is
        NotFoundError where the handler is unknown, revoked or another service's, and UnavailableError where
        the store cannot take it; TooManyCallsError beyond a limit; EvaluationNeeded where the handler has other options
        than the call was evaluation by: nothing of that call is then on disk. One that repeats a delivery of the last
        24 hours, whose action did not fail, gets that delivery's action and causes nothing.
        """


class Queue(Protocol):
    """What a worker does with actions. Every method is one transaction.

    Those that take a claim raise LeaseLostError, and change nothing, once another claim was made on the action.
    """

    def register(self, worker: str, engines: Sequence[EngineInfo]) -> None:
        """Tell that the worker lives, and which engine instances it serves in which health."""

    def claim(self, worker: str, engines: Sequence[str], *, lease: timedelta) -> Claim | None:
        """Take the oldest due action of these engine instances whose service is free, or None.

        Also takes an action in progress whose lease has ended, or that waited for its retry.
        """

    def renew(self, claim: Claim, *, lease: timedelta) -> bool:
        """Prolong the lease to `lease` from now; answer whether the action is to be canceled."""

    def save_journal(self, claim: Claim, journal: Mapping[str, object]) -> None:
        """Store how far the run came: on disk when this returns."""

    def save_target(self, claim: Claim, target: int) -> None:
        """Store the absolute target of a SCALEUP, once, before the engine is touched."""

    def amounts(self, claim: Claim) -> tuple[tuple[int, int | None], ...]:
        """List what the action's deliveries ask to add, in order of arrival, each with the most it may scale up to."""

    def add_log_line(self, claim: Claim, text: str) -> None:
        """Add a line to the action's log. Does not look at the lease: what was done is told."""

    def retry_later(self, claim: Claim, *, delay: timedelta, reason: str) -> None:
        """Let go of an action that stays In progress and is due again after `delay`; counts an attempt."""

    def release(self, claim: Claim) -> None:
        """Let go of an action at once, for another worker; counts no attempt."""

    def finish(self, claim: Claim, outcome: Outcome, snapshot: ServiceSnapshot | None) -> None:
        """End the action with its result, and store the service as it is now (None: unknown or gone)."""

    def sync(
        self,
        engine: EngineInfo,
        snapshots: Sequence[ServiceSnapshot],
        *,
        is_unreadable: Callable[[str], bool] = lambda selector: False,
    ) -> None:
        """Store what an engine instance shows: all of its services. Those that are missing are unbound.

        Args:
            is_unreadable: Tells whether the service of a selector could not be looked for: it then stays as it was.
        """

    def prune(self, keep: timedelta, limit: int) -> int:
        """Delete deliveries, ended actions and gone containers that are older than `keep`, at most so many of each.

        Also deletes the oldest deliveries beyond 5,000,000, and engine instances that no worker served for a day and
        that no action waits for. Answers how many rows were deleted.
        """

    def count_calls(self) -> bool:
        """Count, for their handlers, some deliveries that nobody counted yet; answer whether there may be more."""

    def take_requests(self, engines: Sequence[str]) -> tuple[EngineRequest, ...]:
        """Return the new requests for these engine instances. Each request is returned once."""

    def save_response(self, request_uuid: str, response: Mapping[str, object]) -> None:
        """Store the response to a request."""

    def wait(self, timeout_s: float) -> None:
        """Sleep until something was queued in this process, or the time is over."""


class Run(Protocol):
    """What an engine may use while it performs one action."""

    @property
    def action_uuid(self) -> str:
        """UUID of the action; its first 8 characters name what the run makes, and stay over a restart."""

    @property
    def tag(self) -> str | None:
        """Tag that a REDEPLOY changes the image to, checked; None: the image's name stays. Same for the whole run."""

    @property
    def variables(self) -> Mapping[str, str | None]:
        """Environment variables that a REDEPLOY sets in the new containers, whatever was set before; None removes."""

    @property
    def journal(self) -> Mapping[str, object]:
        """What `save` stored last, in this process or in one that died; empty at first."""

    def save(self, journal: Mapping[str, object]) -> None:
        """Store the journal (JSON values) as a whole: on disk when this returns. Implies `check`."""

    def check(self) -> None:
        """Call before every engine call that changes something. Raises LeaseLostError: then just leave."""

    def sleep(self, seconds: float) -> None:
        """Wait, with `check` before and after."""

    def set_time_limit(self, seconds: float) -> None:
        """Set the deadline to so many seconds after the run began: what the service's own labels ask for."""

    def remaining_s(self) -> float:
        """Seconds until the deadline of this run; 0 once it is over. The engine then puts back what it can."""

    def log(self, line: str) -> None:
        """Tell a step, in a few words for people. Never a credential."""


class Engine(Protocol):
    """Where services run. Synchronous; every call has a time limit.

    Any method may raise EngineUnavailableError: the engine cannot be reached; the worker then calls the same
    method again later, with the journal saved so far, so that every method must be repeatable after a kill at
    any point. EngineRefusedError from a verb means a failure with that reason and an untouched service.
    Verbs return when the engine was watched to the end: `success` means that the containers asked for run.
    A verb that finds the wanted state already there succeeds.
    """

    @property
    def info(self) -> EngineInfo:
        """Name, kind and abilities; `error` is always empty here."""

    def discover(self) -> tuple[ServiceSnapshot, ...]:
        """List all services of this instance. Raises PartialDiscoveryError where a part of them cannot be seen."""

    def inspect(self, service: Service) -> ServiceSnapshot | None:
        """Look at one service; None where it is gone."""

    def watch(self, changed: Callable[[], None], stop: Event) -> None:
        """Call `changed` whenever something may have changed, until `stop` is set or the connection breaks."""

    def plan(self, service: Service, tag: str | None) -> Plan:
        """Tell what `redeploy` would do now, with this tag if one is given; changes nothing, pulls nothing.

        What would make `redeploy` refuse is in the plan's `refused`, not raised.
        """

    def redeploy(self, service: Service, run: Run) -> Outcome:
        """Replace every container by a new one of the newest image (local: the current definition).

        A stopped service is replaced and stays stopped, and the reason says so. On failure the old
        containers run as before.
        """

    def scale(self, service: Service, target: int, run: Run) -> Outcome:
        """Bring a running service to `target` containers, 0 to the cap, and wait until the new ones run."""

    def start(self, service: Service, run: Run) -> Outcome:
        """Start a stopped service with `service.target` containers (docker: those that exist)."""

    def stop(self, service: Service, run: Run) -> Outcome:
        """Stop all containers of a service, so that nothing starts them again by itself."""

    def terminate(self, service: Service, run: Run) -> Outcome:
        """Remove a service that was created through tutumd, with its containers."""

    def logs(self, service: Service, lines: int) -> str:
        """Read the last output lines of the service's containers."""

    def close(self) -> None:
        """Let go of connections. Services keep running."""
