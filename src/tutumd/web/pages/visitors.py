"""The visit to a page: the visitor with their rights, the check that a form is one of ours, and parts of addresses."""

import hmac
import json
import secrets
import shlex
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Annotated, Any, TypeVar
from urllib.parse import parse_qs, urlencode

from fastapi import Depends, Path, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import Response

from tutumd.application import services
from tutumd.application.admission.json_checks import is_storable
from tutumd.application.digests import sha256_hex
from tutumd.application.scopes import require_scope
from tutumd.errors import ConflictError, ForbiddenError, InvalidInputError, NotFoundError, UnavailableError
from tutumd.model import Access, Action, Delivery, NewSession, Origin, Scope, Service, User, Via
from tutumd.model.notifications import Notification
from tutumd.ports import Store
from tutumd.web.auth import at_origin, check_origin
from tutumd.web.body import read_body
from tutumd.web.context import IS_UUID, WebContext, context
from tutumd.web.pages.cookies import make_csrf, read_token, set_cookie
from tutumd.web.pages.rendering import go_to, render

PROXY = "proxy"
"""Credential of users that a proxy has signed in: the proxy names them in a header of each request."""

SESSION_LASTS = timedelta(days=14)
MAX_STRANGER = 16 * 1024
"""Maximum bytes of a form of a visitor who is not signed in: a user and a key."""
_MAX_FIELDS = 500
_MAX_NAME = 100
_FORM_TYPE = "application/x-www-form-urlencoded"


Form = dict[str, str]
Read = TypeVar("Read")


async def protect(request: Request) -> Form:
    """Let only forms of our own pages change something, and return the fields of the submitted form. For all routes.

    Raises:
        ForbiddenError: Another site's page sent the form, or its token does not match the browser's cookie.
        InvalidInputError: The body is not a form. The body is too long.
    """
    if request.method in ("GET", "HEAD"):
        return {}
    check_origin(request, context(request).public_host, is_form=True)
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM_TYPE:
        raise InvalidInputError(f"a form is needed here: the content type must be {_FORM_TYPE}")
    visitor = await run_in_threadpool(find_visitor, request)
    body = await read_body(request)
    if visitor is None and len(body) > MAX_STRANGER:
        raise HTTPException(413, f"this form must have at most {MAX_STRANGER} bytes")
    form = await run_in_threadpool(_parse, body)
    token = read_token(request)
    if not token:
        raise ForbiddenError(
            "your browser sent no cookie: sign in again, and allow cookies for this server if that does not help"
        )
    expected = make_csrf(token, read_user_name(request))
    if not hmac.compare_digest(expected.encode(), form.get("csrf", "").encode()):
        first = "you are signed out. Sign in, " if visitor is None else ""
        raise ForbiddenError(f"this form is out of date: {first}go back, load the page again, and repeat it")
    return form


SentForm = Annotated[Form, Depends(protect)]


def _parse(body: bytes) -> Form:
    """Return the fields of a form. The last value of a repeated name counts."""
    try:
        form = parse_qs(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_MAX_FIELDS)
    except ValueError:
        raise InvalidInputError(f"the form must be URL-encoded UTF-8 of at most {_MAX_FIELDS} fields") from None
    if not all(is_storable(text) for name, values in form.items() for text in (name, *values)):
        raise InvalidInputError("the form must not contain NUL characters")
    return {name: values[-1] for name, values in form.items()}


def fingerprint(*values: object) -> str:
    """Return a text that changes with the given values, and reveals nothing about them.

    That of a form identifies repeated submissions, because `ui.once` adds a random field.
    """
    return sha256_hex(json.dumps(values, sort_keys=True))


def read_user_name(request: Request) -> str:
    """Return the name in the header; empty if there is none, or if the client is not a trusted proxy.

    Raises:
        ForbiddenError: There are several headers, so one of them is from the client itself.
    """
    web = context(request)
    if not web.user_header or not web.is_of_proxy(request.scope):
        return ""
    wanted = web.user_header.lower().encode()
    values = [value for name, value in request.scope["headers"] if name.lower() == wanted]
    if len(values) > 1:
        raise ForbiddenError(
            f"the request has {len(values)} headers {web.user_header}: the proxy must replace what the client sends"
        )
    # RFC 9110, 5.5: spaces and tabs surround a value. `str.strip` also removes U+00A0, which is part of a name.
    return values[0].strip(b" \t").decode("utf-8", "surrogateescape") if values else ""


def find_proxy_user(request: Request) -> User | None:
    """Return the user that a trusted proxy names, with all of the user's rights; None if it names none.

    Raises:
        ForbiddenError: The user does not exist, or the header is not accepted.
    """
    name = read_user_name(request)
    if not name:
        return None
    can_be_added = is_storable(name) and len(name) <= _MAX_NAME
    try:
        user = context(request).store.user_named(name if can_be_added else "")
    except NotFoundError:
        advice = f" An admin adds it with: tutumd user add {shlex.quote(name)}" if can_be_added else ""
        raise ForbiddenError(
            f"the proxy has signed you in as {name[:_MAX_NAME]!r}, and this server has no such user.{advice}"
        ) from None
    return replace(user, access=Access(via=Via.PAGE, credential=PROXY))


def find_visitor(request: Request) -> User | None:
    """Return the user whom a proxy or the session of the request names; None if there is none.

    Raises:
        ForbiddenError: The proxy names a user that this server does not have.
    """
    state = request.state
    if not hasattr(state, "visitor"):
        named = find_proxy_user(request)
        user = _find_session_user(request, named)
        if named is not None and user is None:
            user = _begin_proxy_session(request, named)
        if user is not None:
            begin_visit(request)
            user = at_origin(request, user, Via.PAGE)
        state.visitor = user
    visitor: User | None = state.visitor
    return visitor


def _find_session_user(request: Request, named: User | None) -> User | None:
    """Return the user of the session. A session that a proxy began counts only while the proxy names the same user."""
    token = read_token(request)
    user = context(request).store.session_user(sha256_hex(token)) if token else None
    if user is None or named is None:
        return None if user is None or user.access.credential == PROXY else user
    return user if (user.uuid, user.access.credential) == (named.uuid, PROXY) else None


def _begin_proxy_session(request: Request, named: User) -> User:
    """Begin a session of a user whom a proxy names, after the browser has shown that it keeps the cookie.

    The session is for the audit log, the list of sessions and open pages. It grants no access without the proxy's
    header.
    """
    web, token = context(request), read_token(request)
    if not token or web.store.session_user(sha256_hex(token)) is not None:
        request.state.new_token = secrets.token_urlsafe(32)  # no session, or a session of another user
        return named
    # Another request of this browser may have done it in the meantime, or the disk is full.
    with suppress(NotFoundError, UnavailableError):
        web.store.add_session(
            at_origin(request, named, Via.PAGE),
            NewSession(token_sha256=sha256_hex(token), expires=web.clock() + SESSION_LASTS),
        )
    return _find_session_user(request, named) or named


def begin_visit(request: Request) -> None:
    """Let the rendered page have forms: tie them to the browser's cookie, or set a cookie."""
    token = getattr(request.state, "new_token", "") or read_token(request)
    if not token:
        request.state.new_token = token = secrets.token_urlsafe(32)
    request.state.csrf = make_csrf(token, read_user_name(request))


def make_session(request: Request, response: Response) -> NewSession:
    """Return a session to begin, with a new token, which replaces the browser's old token. Nothing is stored."""
    token, before = secrets.token_urlsafe(32), read_token(request)
    set_cookie(request, response, token, int(SESSION_LASTS.total_seconds()))
    return NewSession(
        token_sha256=sha256_hex(token),
        expires=context(request).clock() + SESSION_LASTS,
        replaces=sha256_hex(before) if before else None,
    )


class SignInNeededError(Exception):
    """The page requires a signed-in user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """A request of a signed-in user for a page.

    Attributes:
        user: The visitor, with the rights of the session.
    """

    request: Request
    user: User

    @property
    def web(self) -> WebContext:
        """The objects of the server."""
        return context(self.request)

    @property
    def store(self) -> Store:
        """The store of the server."""
        return self.web.store

    @property
    def root(self) -> str:
        """The path in front of all addresses of pages."""
        return self.web.public_path

    @property
    def origin(self) -> Origin:
        """The sender of the request."""
        return self.web.read_origin(self.request.scope)

    def name_in_command(self, service: Service) -> str:
        """Return the name of a service, or its UUID if a command would mistake the name for another one or an
        option.
        """
        name = service.full_name
        with suppress(NotFoundError, ConflictError):
            if not name.startswith("-") and services.find(self.store, self.user, name) == service.uuid:
                return name
        return service.uuid

    def render(self, template: str, status: int = 200, **values: Any) -> Response:
        """Return a page, as `rendering.render`."""
        return render(self.request, template, status, **values)

    def go_to(self, path: str, did: str = "") -> Response:
        """Redirect to another page, as `rendering.go_to`."""
        return go_to(self.request, path, did)


def visit_with(scope: Scope) -> Callable[[Request], Visit]:
    """Return the dependency of a page that requires a scope. It raises SignInNeededError or ForbiddenError."""

    def begin(request: Request) -> Visit:
        user = find_visitor(request)
        if user is None:
            raise SignInNeededError
        require_scope(user, scope)
        return Visit(request=request, user=user)

    return begin


Reader = Annotated[Visit, Depends(visit_with(Scope.READ))]
Caller = Annotated[Visit, Depends(visit_with(Scope.CALL))]
Operator = Annotated[Visit, Depends(visit_with(Scope.OPERATE))]
Admin = Annotated[Visit, Depends(visit_with(Scope.ADMIN))]

Uuid = Annotated[str, IS_UUID]
Number = Annotated[int, Path(ge=1, le=2**62)]


def if_there(read: Callable[..., Read], *arguments: Any) -> Read | None:
    """Return the result of a read of the store; None if there is no such object."""
    with suppress(NotFoundError):
        return read(*arguments)
    return None


def find_service(visit: Reader, uuid: Uuid) -> Service:
    """Return the service of a page's address. Raises NotFoundError."""
    return visit.store.service(visit.user, uuid)


ServiceOfPage = Annotated[Service, Depends(find_service)]


After = Annotated[int, Query(ge=0, le=2**62)]
Before = Annotated[int | None, Query(ge=1, le=2**62)]
"""Numbers at which a page of a list begins."""


def cut_page(
    found: Sequence[Action | Delivery | Notification],
    size: int,
    address: str,
    before: int | None,
    *,
    name: str = "before",
    **kept: str | None,
) -> dict[str, Any]:
    """Return a page of a list as `rows`, and the addresses of the `older` page and of the `newest` page.

    Args:
        found: The rows of the page, newest first, and the next row if there is one.
        address: Address of the list.
        before: Number of the next newer row; None: this is the newest page.
        name: Name of this number in addresses.
        kept: Filters in addresses.
    """
    filters = {key: value for key, value in kept.items() if value}
    older = f"{address}?{urlencode({**filters, name: found[size - 1].number})}" if len(found) > size else ""
    newest = f"{address}?{urlencode(filters)}".rstrip("?") if before else ""
    return {"rows": found[:size], "older": older, "newest": newest}
