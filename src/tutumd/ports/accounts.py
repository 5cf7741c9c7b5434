"""The part of Store about users and their credentials."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from tutumd.model import ApiKey, AuditFilters, AuditPage, NewKey, NewSession, Origin, Session, User


class Accounts(Protocol):
    """Users, API keys, sessions and the audit log. Each method is one transaction.

    Each change is recorded in the audit log in the same transaction, with its user.

    Attributes:
        ended: Changes when this process has ended sessions, also with their keys or users: sessions that were read
            before are then outdated.
    """

    ended: int

    def user_by_key(self, key_sha256: str) -> User | None:
        """Return the owner of an API key, with the rights of the key; None also after the key has expired. `key_sha256`
        is hexadecimal. The use of the key is recorded, at most every 5 minutes.
        """

    def users(self) -> tuple[User, ...]:
        """Return all users, oldest first. The oldest admin is the first admin."""

    def user_named(self, name: str) -> User:
        """Return the user with a name, with all of the user's rights. Raises NotFoundError."""

    def add_user(self, name: str, *, is_admin: bool, key: NewKey | None = None, by: User | None = None) -> User:
        """Add a user, with an API key if one is given. `by` is the acting user in the audit log; None: the server
        itself.

        Raises:
            ConflictError: The name or the key is taken.
        """

    def remove_user(self, name: str, by: User | None = None) -> int:
        """Remove a user and the user's keys. Services created through tutumd lose their owner.

        Returns:
            Number of services whose label still names the user. The next user with this name will own them.

        Raises:
            NotFoundError: There is no such user.
            ConflictError: The user is the last admin.
        """

    def add_key(self, user_name: str, key: NewKey, by: User | None = None) -> ApiKey:
        """Add an API key to a user.

        Raises:
            NotFoundError: There is no such user, or the user sees no such service or no service of such a stack.
            ConflictError: The key is taken, or its form has already created a key.
        """

    def keys(self, user_name: str | None = None) -> tuple[ApiKey, ...]:
        """Return the API keys of one user, or of all users, oldest first."""

    def revoke_keys(self, name: str, by: User | None = None) -> int:
        """Delete the keys of the user `name`, or else the keys with the hint or ID `name`, and return how many.

        Sessions that began with a deleted key end.
        """

    def revoke_key(self, user_name: str, key_id: str, by: User | None = None) -> None:
        """Delete one key of a user, with the sessions that began with it. Raises NotFoundError if there is none."""

    def add_session(self, user: User, new: NewSession) -> int:
        """Begin a session of a user with the rights of `user.access`, and return its number. Raises NotFoundError."""

    def session_user(self, token_sha256: str) -> User | None:
        """Return the user of a session that has not ended, with the current rights of its key.

        The use of the session is recorded, at most every 5 minutes.
        """

    def session_users(self, token_sha256s: Sequence[str]) -> Mapping[str, User]:
        """Return the users of sessions by the sessions' tokens, as `session_user` does; at most 500 per call."""

    def sessions(self, user_name: str) -> tuple[Session, ...]:
        """Return the sessions of a user that have not ended, newest first."""

    def end_sessions(self, user: User, number: int | None = None) -> int:
        """End one session of a user, or all (None), and return how many."""

    def add_login_link(self, user_name: str, token_sha256: str, expires: datetime, by: User | None = None) -> None:
        """Add a link that signs a user in once. Raises NotFoundError for an unknown user."""

    def use_login_link(self, token_sha256: str, new: NewSession, origin: Origin) -> User | None:
        """Begin a session of a link's user, delete the link, and return the user; None if there is no such link.

        The link is used up only if the session has begun.
        """

    def audit(
        self, viewer: User, filters: AuditFilters = AuditFilters(), *, before: int | None = None, limit: int = 50
    ) -> AuditPage:
        """Return entries of the audit log, newest first, numbered below `before`.

        Administrators of the server see all entries. Other users see their own entries from the API and pages. Narrow
        credentials see only entries about their service, or about services that were in their stack at the time.
        """
