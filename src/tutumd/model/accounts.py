"""Users, API keys, sessions, and the audit log of what they did."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class Scope(StrEnum):
    """What a key allows. Each scope includes those before it.

    READ sees everything but the UUIDs of handlers, which are the right to call them. CALL sees these too, and does what
    a handler does: redeploys, and delivers again. OPERATE does everything to services, handlers and actions that any
    user may do. ADMIN is all that the user may do: also with their keys, and for admins what only admins may do.
    """

    READ = "read"
    CALL = "call"
    OPERATE = "operate"
    ADMIN = "admin"

    def includes(self, other: "Scope") -> bool:
        """Return whether this scope allows what `other` allows."""
        order = tuple(Scope)
        return order.index(self) >= order.index(other)


class Via(StrEnum):
    """Where something was done: over the API, on a page of the dashboard, or by a command on the server."""

    API = "api"
    PAGE = "page"
    COMMAND = "command"


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How a user came in, and what that allows.

    Attributes:
        service_uuid, stack: The only service, or the only stack, that the credentials are for; None: all.
        expires: When the API key ends that they are or come from; None: never.
        credential: How people tell the credentials: hint of an API key, `login link`, `proxy`, or a command.
        key_sha256: Of the API key; None if there was none. What is made from a key ends with it.
        session: Number of the session; None if there is none.
    """

    scope: Scope = Scope.ADMIN
    service_uuid: str | None = None
    stack: str | None = None
    expires: datetime | None = None
    via: Via = Via.API
    credential: str = ""
    key_sha256: str | None = field(default=None, repr=False)
    session: int | None = None
    address: str = ""
    user_agent: str = ""

    @property
    def is_narrow(self) -> bool:
        """Whether it is for one service or stack only."""
        return self.service_uuid is not None or self.stack is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A user. An admin sees and changes everything, a member only their own services.

    Attributes:
        access: What their credentials allow; by default all that the user may do.
    """

    uuid: str
    name: str
    is_admin: bool
    created: datetime
    access: Access = Access()

    def may(self, scope: Scope) -> bool:
        """Return whether the user may do what needs a scope, on services that they see."""
        return self.access.scope.includes(scope) and (scope is not Scope.ADMIN or self.is_admin)

    @property
    def administers(self) -> bool:
        """Whether the user may do what only admins may, and what is not about one service."""
        return self.may(Scope.ADMIN) and not self.access.is_narrow


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """An API key to store.

    Attributes:
        key_sha256: Hexadecimal. The key itself is not stored.
        hint: Its first characters, to distinguish keys.
        expires: From then on it is refused; None: never.
        form_sha256: Of the form that makes it, which makes no other one; None: there is none.
    """

    key_sha256: str = field(repr=False)
    hint: str
    scope: Scope = Scope.ADMIN
    service_uuid: str | None = None
    stack: str | None = None
    expires: datetime | None = None
    form_sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey(NewKey):
    """An API key that is stored.

    Attributes:
        last_used: Up to 5 minutes late; None: never.
    """

    user_name: str
    created: datetime
    last_used: datetime | None = None

    @property
    def id(self) -> str:
        """By which pages and the API name the key."""
        return self.key_sha256[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A session of a user with the dashboard.

    Attributes:
        credential: How the user signed in, as of `Access`.
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
        token_sha256: Of the token in the browser's cookie, hexadecimal. The token itself is not stored.
        replaces: Of the token of the browser's session before, which ends; None: it had none.
    """

    token_sha256: str = field(repr=False)
    expires: datetime
    replaces: str | None = field(default=None, repr=False)


class AuditEvent(StrEnum):
    """What a user did: object and event."""

    HANDLER_CREATED = "handler created"
    HANDLER_CHANGED = "handler changed"
    HANDLER_ROTATED = "handler rotated"
    HANDLER_REVOKED = "handler revoked"
    ACTION_SUBMITTED = "action submitted"
    ACTION_CANCELED = "action canceled"
    ACTION_ABANDONED = "action abandoned"
    ACTION_RETRIED = "action retried"
    DELIVERY_REPEATED = "delivery repeated"
    SERVICE_CREATED = "service created"
    SERVICE_CHANGED = "service changed"
    SERVICE_FORGOTTEN = "service forgotten"
    USER_ADDED = "user added"
    USER_REMOVED = "user removed"
    KEY_MADE = "key made"
    KEY_REVOKED = "key revoked"
    LOGIN_LINK_MADE = "login link made"
    SESSION_STARTED = "session started"
    SESSION_ENDED = "session ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """Something that a user did.

    Attributes:
        what: An `AuditEvent`, or one that only another release knows.
        service_name: As it was then; empty if it was about no service.
        handler_number: Handlers are named by number: their UUIDs are credentials.
        details: What else people want to know, in a few words: fields that were changed, the verb of an action.
        count: How often it happened, with these values or, if the user did very much that day, with others.
        last_at: When it happened last, if more than once.
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
    """Which entries of the audit log are wanted: those with all of these values. None: any.

    Attributes:
        service_name, stack: Of the service, as they were then.
        since, until: From the first moment on, before the second one.
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
        entries: May be few, or none, also if there are more: only so many are looked through for a page.
        next: Below which number the next page begins; None: there is no more.
    """

    entries: tuple[AuditEntry, ...]
    next: int | None
