"""Targets and notifications of users, the queue of the notifier, and its sender for each kind of target."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from tutumd.model import Page, Query, User
from tutumd.model.notifications import ClaimedNotification, NewTarget, Notification, SendResult, Target


class Targets(Protocol):
    """The application's reads and writes. Each method except `delete_target` is one transaction, with its audit entry.

    A user, admin or not, sees only their own targets and notifications. Credentials for one service or stack see only
    the targets that are limited to this service, to this stack, or to a service of this stack. All others raise
    NotFoundError with the same text as an object that does not exist. Callers check before each change that the
    credentials have the scope ADMIN and are not limited.
    """

    def targets(self, viewer: User, query: Query) -> Page[Target]:
        """Return targets, oldest first.

        Filters: uuid, uuid__startswith, name, and service (UUID): targets that cover the service.
        """

    def target(self, viewer: User, uuid: str) -> Target:
        """Return a target."""

    def add_target(self, viewer: User, new: NewTarget) -> Target:
        """Create a target.

        Raises:
            ConflictError: The name is taken, or the user has `MAX_TARGETS`.
            NotFoundError: The user sees no such service, or no service of such a stack.
        """

    def change_target(self, viewer: User, uuid: str, change: Callable[[Target], NewTarget]) -> Target:
        """Set a target to what `change` returns; nobody else can change it in between. Raises as `add_target` does.

        A target that is enabled again has no `disabled_reason` any more, and its count of dead notifications in a row
        starts at 0.
        """

    def delete_target(self, viewer: User, uuid: str) -> None:
        """Delete first the notifications of a target, in several transactions, then the target."""

    def notifications(self, viewer: User, query: Query) -> Page[Notification]:
        """Return notifications, newest first.

        Filters: uuid, uuid__startswith, state, target (UUID), action (UUID), and number__lt.
        """

    def queue_test(self, viewer: User, target_uuid: str) -> Notification:
        """Queue a test of a target, also of a disabled one. A test has one attempt."""

    def retry_notification(self, viewer: User, uuid: str) -> Notification:
        """Queue a dead notification again, with the same ID. Raises ConflictError if it is not dead."""

    def retry_dead(self, viewer: User, target_uuid: str) -> int:
        """Queue all dead notifications of a target again, and return how many.

        A commit status that a newer one replaces stays dead.
        """


class Sender(Protocol):
    """Sends messages to targets of one kind. Implementations are safe for calls from several threads."""

    def send(self, claimed: ClaimedNotification) -> SendResult:
        """Make one attempt, within 15 seconds (a library that blocks: 30 seconds). The settings of the target are in
        plain text.

        Whatever the receiver does, it returns a result: it raises nothing, and no text of the result contains a secret
        of the target.
        """


class NotificationQueue(Protocol):
    """Operations of the notifier. Each method is one transaction."""

    def claim_notifications(self, notifier: str, limit: int, lease: timedelta) -> Sequence[ClaimedNotification]:
        """Claim due notifications of enabled targets, oldest due first, at most one per target.

        A target with a claimed notification is skipped. A notification whose lease has ended is claimed again, with the
        same ID: its message may be sent twice.
        """

    def finish_notification(
        self, claimed: ClaimedNotification, result: SendResult, next_attempt: datetime | None
    ) -> None:
        """Store the result of an attempt. Nothing happens if the lease was lost.

        Args:
            next_attempt: None: there is none, and a notification that was not sent is dead. The tenth dead notification
                in a row disables its target, as `is_gone` does, and notifies the owner's other targets.
        """

    def is_needed(self) -> bool:
        """Return whether there is anything to do for a notifier: a target, or an issuer of identity tokens."""

    def claim_issuer(self) -> str | None:
        """Return the URL of an issuer whose keys must be fetched now, at most once per minute; None if there is none.

        Keys are fetched every hour, and when they are wanted. An issuer that no handler names any more is deleted.
        """

    def save_keys(self, url: str, keys: str, error: str) -> None:
        """Store the fetched keys of an issuer; with an error, the old keys stay."""

    def next_due(self) -> datetime | None:
        """Return when the next notification is due, also if that is in the past; None if there is none."""

    def wait(self, timeout_s: float) -> None:
        """Wait until a notification is stored, or the time is over."""

    def wake(self) -> None:
        """Let a `wait` of this process return."""
