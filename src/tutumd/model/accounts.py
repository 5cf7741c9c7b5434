"""Users, API keys, sessions, and the audit log of what they did."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class Scope(StrEnum):
    """The rights of a key. Each scope includes those before it.

    READ allows everything except the UUIDs of handlers, which are the right to call them. CALL also shows these UUIDs,
    and allows the effects of a handler: redeploys and redeliveries. OPERATE allows everything that any user may do to
    services, handlers and actions. ADMIN allows everything that the user may do: also with their keys and, for
            admins, the actions reserved for admins.
    """

    READ = "read"
    CALL = "call"
    OPERATE = "operate"
    ADMIN = "admin"

    def includes(self, other: "Scope") -> bool:
        """Return whether this scope includes the rights of `other`."""
        order = tuple(Scope)
        return order.index(self) >= order.index(other)


class Via(StrEnum):
    """Where the user acted: over the API, on a page of the dashboard, or with a command on the server."""

    API = "api"
    PAGE = "page"
    COMMAND = "command"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """The rights of an API key, or of credentials that derive from it.

    Attributes:
        service_uuid, stack: The only service, or the only stack, that they cover; None: all.
        expires: Time from which the key is refused; None: never.
    """

    scope: Scope = Scope.ADMIN
    service_uuid: str | None = None
    stack: str | None = None
    expires: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Access(Rights):
    """How a user signed in, and which rights that grants.

    Attributes:
        credential: Name of the credentials for people: hint and name of an API key, `login link`, `proxy`, or a
            command.
        key_sha256: SHA-256 of the API key; None if there was none. Keys and sessions that derive from a key end with
            it.
        session: Number of the session; None if there is none.
    """

    via: Via = Via.API
    credential: str = ""
    key_sha256: str | None = field(default=None, repr=False)
    session: int | None = None
    address: str = ""
    user_agent: str = ""

    @property
    def is_narrow(self) -> bool:
        """Whether the access is limited to one service or stack."""
        return self.service_uuid is not None or self.stack is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A user. An admin sees and changes everything, a member only their own services.

    Attributes:
        access: Rights of their credentials; by default all rights of the user.
    """

    uuid: str
    name: str
    is_admin: bool
    created: datetime
    access: Access = Access()

    @property
    def role(self) -> str:
        """The role in one word."""
        return "admin" if self.is_admin else "member"

    def may(self, scope: Scope) -> bool:
        """Return whether the user may do what requires a scope, on services that they see."""
        return self.access.scope.includes(scope) and (scope is not Scope.ADMIN or self.is_admin)

    @property
    def administers(self) -> bool:
        """Whether the user may do what is reserved for admins and does not concern a single service."""
        return self.may(Scope.ADMIN) and not self.access.is_narrow


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey(Rights):
    """An API key to store.

    Attributes:
        key_sha256: Hexadecimal. The key itself is not stored.
        name: Name that a person chose; empty: none.
        hint: Its first characters, to distinguish keys.
        form_sha256: Hash of the form that creates the key. A form creates one key only; None: no form.
    """

    key_sha256: str = field(repr=False)
    hint: str
    name: str = ""
    form_sha256: str | None = None

    @property
    def shown_name(self) -> str:
        """The hint, with the name if the key has one."""
        return f"{self.hint} {self.name}".rstrip()


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey(NewKey):
    """A stored API key.

    Attributes:
        last_used: Up to 5 minutes late; None: never.
    """

    user_name: str
    created: datetime
    last_used: datetime | None = None

    @property
    def id(self) -> str:
        """Name of the key in pages and the API."""
        return self.key_sha256[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A session of a user with the dashboard.

    Attributes:
        credential: Name of the credentials at sign-in, as in `Access`.
        last_seen: Up to 5 minutes late.
    """

    number: int
    user_name: str
    credential: str
    created: datetime
    last_seen: datetime
    expires: datetime
    address: str
    user_agent: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSession:
    """A session to begin.

    Attributes:
        token_sha256: Hash of the token in the browser's cookie, hexadecimal. The token itself is not stored.
        replaces: Hash of the token of the browser's previous session, which ends; None: there was no session.
    """

    token_sha256: str = field(repr=False)
    expires: datetime
    replaces: str | None = field(default=None, repr=False)


class AuditEvent(StrEnum):
    """Audited events of users: object and event."""

    HANDLER_CREATED = "handler created"
    HANDLER_CHANGED = "handler changed"
    HANDLER_ROTATED = "handler rotated"
    HANDLER_REVOKED = "handler revoked"
    ACTION_SUBMITTED = "action submitted"
    ACTION_CALLED = "action called"
    ACTION_CANCELED = "action canceled"
    ACTION_ABANDONED = "action abandoned"
    ACTION_RETRIED = "action retried"
    DELIVERY_REPEATED = "delivery repeated"
    SERVICE_CREATED = "service created"
    SERVICE_CHANGED = "service changed"
    SERVICE_HELD = "service held"
    SERVICE_RESUMED = "service resumed"
    SERVICE_FORGOTTEN = "service forgotten"
    USER_ADDED = "user added"
    USER_REMOVED = "user removed"
    KEY_MADE = "key made"
    KEY_REVOKED = "key revoked"
    LOGIN_LINK_MADE = "login link made"
    TARGET_CREATED = "notification target created"
    TARGET_CHANGED = "notification target changed"
    TARGET_DELETED = "notification target deleted"
    TARGET_DISABLED = "notification target disabled"
    TARGET_TESTED = "notification target tested"
    NOTIFICATION_RETRIED = "notification retried"
    FREEZE_ADDED = "freeze window added"
    FREEZE_REMOVED = "freeze window removed"
    SESSION_STARTED = "session started"
    SESSION_ENDED = "session ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """An entry of the audit log.

    Attributes:
        what: An `AuditEvent`, or an event that only another release knows.
        service_name: Name at the time; empty if the entry concerns no service.
        handler_number: Handlers are named by number: their UUIDs are credentials.
        details: Further information in a few words: changed fields, the verb of an action.
        count: Number of equal events; if a user caused very many on that day, of events with other values, too.
        last_at: Time of the last event, if there were several.
    """

    number: int
    at: datetime
    user_name: str
    via: Via
    credential: str
    address: str
    user_agent: str
    what: str
    service_uuid: str | None = None
    service_name: str = ""
    handler_number: int | None = None
    action_uuid: str | None = None
    details: str = ""
    count: int = 1
    last_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilters:
    """Filters of the audit log: entries with all of these values. None: any.

    Attributes:
        service_name, stack: Of the service, as named at the time.
        since, until: From `since` on, before `until`.
    """

    user_name: str | None = None
    what: str | None = None
    via: Via | None = None
    service_name: str | None = None
    stack: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditPage:
    """Entries of the audit log, newest first.

    Attributes:
        entries: May be few or none even if there are more: a page looks through a limited number of entries.
        next: The next page has the numbers below this one; None: there are no more entries.
    """

    entries: tuple[AuditEntry, ...]
    next: int | None
