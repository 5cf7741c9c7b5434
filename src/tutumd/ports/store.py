"""The application's reads and writes."""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from tutumd.model import (
    Action,
    Container,
    Definition,
    Delivery,
    EngineInfo,
    EvaluationNeeded,
    Handler,
    HandlerPath,
    LogLine,
    NewHandler,
    Origin,
    Page,
    Progress,
    Query,
    Reference,
    Requester,
    Service,
    ServiceGroup,
    ServiceImage,
    User,
    Verb,
)
from tutumd.model.freeze import FreezeWindow, NewFreezeWindow
from tutumd.model.groups import GroupCall
from tutumd.model.issuers import IssuerKeys
from tutumd.ports.accounts import Accounts
from tutumd.ports.notifications import Targets


class Store(Accounts, Targets, Protocol):
    """The application's reads and writes. Each method is one transaction.

    An admin sees every service and the objects that belong to it, a member only their own. Credentials for one service
    or stack (`User.access`) see nothing else. All other objects raise NotFoundError with the same text as an object
    that does not exist. Callers check the scope of the credentials before. UUIDs are lower case.

    Methods about handlers whose `service_uuid` is empty are about groups. A viewer sees their own groups, an admin all;
    credentials for one stack see the groups of that stack, credentials for one service none. A viewer sees the calls of
    these groups, and those of their own revoked groups.

    Users see the freeze windows of the server, their own windows, and those that act on a service that they see; admins
    see all. Credentials for one service or stack see the windows of the server, and those that act on what they cover.
    Callers check that the viewer may change a window. Changes of windows are in the audit log.
    """

    def engines(self, viewer: User | None = None) -> tuple[EngineInfo, ...]:
        """Return the engine instances that workers serve; for narrow credentials, those of the viewer's services."""

    def revisions(self, uuids: Collection[str]) -> Mapping[str, str]:
        """Return the revisions of services and actions by UUID; the revision of `""` covers all services, actions and
        engines.

        The revision of a service also covers its handlers, deliveries and unfinished actions. The revision of an action
        also covers its log. They are the same on every server of the database. Unknown objects have no revision. Access
        to an object is not checked, but a change of access changes the revision. At most 500 per call.
        """

    def wal_bytes(self) -> int:
        """Return the size of SQLite's write-ahead log; 0 on another database."""

    def services(self, viewer: User, query: Query) -> Page[Service]:
        """Return services by stack and name.

        Filters: uuid, uuid__startswith, name, state, stack, stack__name, reference; for groups: group_stack.

        For pages also: search (part of the name or the image, in any case), engine, gone and warned (`yes` or `no`). A
        reference is a name with or without its stack, the name of a container, or the start of a UUID; the first of
        these that matches counts. By reference, name or start of the UUID, a service that is gone is found only if
        no other service matches.
        """

    def service(self, viewer: User, uuid: str) -> Service:
        """Return a service."""

    def service_groups(self, viewer: User, search: str = "") -> tuple[ServiceGroup, ...]:
        """Return how many services match a search, by engine, stack and state, including groups without a match."""

    def create_service(
        self, viewer: User, *, engine: str, name: str, image: str, definition: Definition, target: int
    ) -> Service:
        """Create a service of the viewer. It runs after its first start.

        Raises:
            ConflictError: The engine already has a service with the name.
        """

    def update_service(
        self, viewer: User, uuid: str, *, definition: Definition, image: str, target: int | None = None
    ) -> Service:
        """Change the definition of a created service, effective after its next start or redeploy; a target of None
        stays as it is.
        """

    def forget(self, viewer: User, uuid: str) -> Service:
        """Remove a service that is gone: revoke its handlers, cancel its pending actions, and return it as it was.

        If its engine reports it again, it is a service without handlers.

        Raises:
            ConflictError: The engine reports the service, or an action runs on it.
        """

    def containers(self, viewer: User, query: Query) -> Page[Container]:
        """Return present containers. Filters: uuid, uuid__startswith, name, state, service, service__stack__name."""

    def container(self, viewer: User, uuid: str) -> Container:
        """Return a container, including one that is gone but not deleted yet."""

    def handlers(self, viewer: User, service_uuid: str, query: Query) -> Page[Handler]:
        """Return the handlers of a service, oldest first. Filters: uuid, uuid__startswith, name."""

    def handler(self, viewer: User, service_uuid: str, reference: str | int) -> Handler:
        """Return a handler of a service by its UUID, or by its number, which is no credential."""

    def add_handlers(self, viewer: User, service_uuid: str, entries: Sequence[NewHandler]) -> tuple[Handler, ...]:
        """Create handlers: all of them or none.

        Raises:
            ConflictError: The viewer has too many handlers, or another group of the owner has the name.
            ForbiddenError: The credentials do not cover the services that a group selects.
            NotFoundError: The viewer has no such service.
        """

    def add_handler_once(
        self, viewer: User, service_uuid: str, entry: NewHandler, form_sha256: str
    ) -> tuple[Handler, bool]:
        """Create a handler for a form, and return it and True; if the form has already created a handler, return that
        handler and False.

        Raises as `add_handlers`, and ConflictError if another handler of the service has the name.
        """

    def change_handler(
        self,
        viewer: User,
        service_uuid: str,
        uuid: str,
        change: Callable[[Handler], NewHandler],
        *,
        keeps_names_apart: bool = False,
    ) -> Handler:
        """Set the fields of a handler to those that `change` returns. Nobody else can change the handler in between.

        Raises as `add_handlers`.

        Args:
            keeps_names_apart: Raise ConflictError if another handler of the service has the new name.
        """

    def rotate_handler(self, viewer: User, service_uuid: str, uuid: str, old_until: datetime) -> Handler:
        """Give a handler a new UUID. Until `old_until`, the old UUID accepts calls, but nothing else.

        Raises TooManyCallsError if the viewer created too many handlers and UUIDs in a day.
        """

    def unused_handlers(
        self, viewer: User, before: datetime | None, query: Query, *, by_age: bool = False
    ) -> Page[Handler]:
        """Return the handlers of all services that were created before a date and not called since; None: all handlers.

        Args:
            by_age: Begin with the handler unused for the longest time, as of the last count of calls. This is faster.
        """

    def delete_handler(self, viewer: User, service_uuid: str, uuid: str) -> None:
        """Delete a handler. Once this returns, no call to it is accepted."""

    def actions(self, viewer: User, query: Query) -> Page[Action]:
        """Return actions, newest first.

        Filters: uuid, state, object (service UUID), start/end_date__gte/__lte, and number__lt, with which a list
            continues.
        """

    def unfinished_actions(self, viewer: User, limit: int = 4) -> tuple[Action, ...]:
        """Return actions in progress, newest first, then pending actions, oldest first: at most `limit` of each.

        The cost does not grow with the number of ended actions.
        """

    def action(self, viewer: User, uuid: str) -> Action:
        """Return an action."""

    def newest_actions(self, viewer: User, service_uuids: Sequence[str]) -> Mapping[str, Action]:
        """Return the newest action of each service that has one."""

    def failed_actions(self, viewer: User) -> tuple[Action, ...]:
        """Return the newest actions of services that failed within 7 days: newest first, at most 10."""

    def recent_actions(self, viewer: User, limit: int, *, failed: bool = False) -> tuple[Action, ...]:
        """Return the newest actions of all services, or the newest failed ones. The cost does not grow with the number
        of actions that succeeded.
        """

    def requesters(self, viewer: User, action_uuids: Sequence[str]) -> Mapping[str, Requester]:
        """Return who requested actions, by UUID. Admins learn the names of all users, members only their own."""

    def held_actions(self, viewer: User) -> tuple[Action, ...]:
        """Return the pending actions, oldest first, that a hold or a freeze window delays: at most 100."""

    def hold(self, viewer: User, service_uuid: str, *, until: datetime | None, reason: str) -> Service:
        """Hold the redeploys of a service until a time, or until `resume` (None), instead of its earlier hold.

        Calls and other requests for a redeploy are accepted and coalesced, and stay pending. A redeploy that has begun
        continues, also if it waits for another try.
        """

    def resume(self, viewer: User, service_uuid: str) -> Service:
        """Remove the hold of a service, if it has one. Redeploys that were held begin, unless something else holds
        them.
        """

    def submit(
        self,
        viewer: User,
        service_uuid: str,
        verb: Verb,
        *,
        target: int | None,
        origin: Origin,
        override: bool = False,
    ) -> Action:
        """Queue an action, or join a pending action that does the same.

        A REDEPLOY joins the open action, as a call does. Other verbs close the open actions of the service, so that
        later calls run after them. They join only the newest pending action, if it has the same verb and `target`.
        SCALE also sets the service's target; without a `target`, the action scales to the stored target.

        Args:
            override: Holds and freeze windows do not apply to the action, which carries out the calls that it joined.
        """

    def images(self, viewer: User, service_uuid: str) -> tuple[ServiceImage, ...]:
        """Return the image history of a service, newest first: at most 20 rows, and the one to which a rollback
        returns.
        """

    def roll_back(
        self, viewer: User, service_uuid: str, *, image: str | None, hold: bool, reason: str, origin: Origin
    ) -> Action:
        """Queue a ROLLBACK, or join the unfinished one to the same image.

        It cancels pending REDEPLOY and ROLLBACK actions of the service, and requests the end of a running one.

        Args:
            image: Number or digest of a verified row of the image history; None: the `previous` of the newest row.
            hold: Whether to hold the redeploys of the service until somebody resumes it.
            reason: Reason of the hold.

        Raises:
            InvalidInputError: The history has no such row, or it is not verified.
            ConflictError: There is no older image, the image runs already, or the service cannot be rolled back.
        """

    def cancel(self, viewer: User, uuid: str) -> Action:
        """Cancel a pending action, or request the end of an action in progress. Raises ConflictError if the action has
        ended.
        """

    def abandon(self, viewer: User, uuid: str) -> Action:
        """End an action in progress as Failed, without its engine. The next run of its service cleans up first.

        Raises:
            ConflictError: The action has ended, or is pending.
        """

    def retry(self, viewer: User, uuid: str, origin: Origin, form_sha256: str = "") -> Action:
        """Queue a new action with the inputs of a failed or canceled action. Raises ConflictError for any other action.

        Args:
            form_sha256: Hash of the form that requests the retry. If the form is sent again, the action that it created
                is returned.
        """

    def log_lines(self, viewer: User, action_uuid: str, after: int) -> tuple[LogLine, ...]:
        """Return an action's log lines numbered above `after`, at most 1,000."""

    def deliveries(self, viewer: User, query: Query) -> Page[Delivery]:
        """Return deliveries, newest first, without their content.

        Filters: either action (UUID); or service (UUID), handler (number), outcome and number__lt; or group (number),
            outcome and number__lt. Calls of a revoked handler are listed for as long as an action of the service refers
            to them. They then have no handler number.

        Raises:
            NotFoundError: There is no such action or service.
        """

    def delivery(self, viewer: User, service_uuid: str, handler_uuid: str, number: int) -> Delivery:
        """Return a delivery with its content."""

    def record_redelivery(self, viewer: User, service_uuid: str, handler_uuid: str, number: int) -> None:
        """Record in the audit log that the viewer repeats a delivery, before the call is made."""

    def callable_handlers(self, paths: Sequence[HandlerPath]) -> Mapping[HandlerPath, EvaluationNeeded]:
        """Return the options of the existing handlers by the paths of their calls, without waiting for a lock."""

    def progress(self, references: Sequence[Reference]) -> Mapping[Reference, Progress]:
        """Return the progress of calls, for as long as their actions are stored.

        For a deleted handler there are no options, so that its callers see no log.
        """

    def group_calls(self, viewer: User, query: Query) -> Page[GroupCall]:
        """Return calls of groups, newest first. Filters: `handler`, the number of the group; `received__gte` and
        `received__lte`.
        """

    def group_call(self, viewer: User, number: int) -> GroupCall:
        """Return a call of a group. Raises NotFoundError."""

    def group_progress(self, references: Sequence[Reference]) -> Mapping[Reference, GroupCall]:
        """Return the calls of references with `GROUP_CALL`, for their callers. Unknown ones are missing."""

    def freeze_windows(self, viewer: User, query: Query) -> Page[FreezeWindow]:
        """Return windows, oldest first.

        Filters: uuid, uuid__startswith, and service (UUID): windows that act on the service.
        """

    def add_freeze_window(self, viewer: User, new: NewFreezeWindow) -> FreezeWindow:
        """Store a window, and hold the pending redeploys to which it applies now. An equal window of the user is
        returned instead.

        Raises:
            ConflictError: There are `MAX_WINDOWS`.
            NotFoundError: The user sees no such service, or no service of such a stack.
        """

    def remove_freeze_window(self, viewer: User, uuid: str) -> None:
        """Remove a window, and let the redeploys that it held start."""

    def issuer_keys(self, url: str) -> IssuerKeys | None:
        """Return the keys of an issuer of identity tokens; None if nothing has named it."""

    def want_keys(self, url: str) -> None:
        """Let a notifier fetch the keys of an issuer again."""

    def add_request(self, service: Service, kind: str, arguments: Mapping[str, object]) -> str:
        """Queue an EngineRequest for a worker, and return its UUID."""

    def pop_response(self, request_uuid: str) -> Mapping[str, object] | None:
        """Return the response to a request and delete both; None if there is no response yet."""

    def wait_for_end(self, seen: int, timeout_s: float) -> int:
        """Wait until an action ends or a response is stored, or the time is over.

        It may return early, and may miss changes by other processes: read the state again from time to time.

        Args:
            seen: Result of the previous call, so that no change in between is missed; 0 at first.
        """
