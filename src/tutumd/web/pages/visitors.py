"""Who visits a page: sessions in a cookie, what they may do, and that a form is one of ours."""

import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Annotated
from urllib.parse import parse_qs

from fastapi import Depends, Request
from starlette.responses import Response

from tutumd.errors import ForbiddenError, InvalidInputError
from tutumd.model import Access, Scope, User, Via
from tutumd.web.auth import check_origin
from tutumd.web.body import read_body
from tutumd.web.context import context

SESSION_LASTS = timedelta(days=14)
CSRF_FIELD = "csrf"
_COOKIE = "tutumd_session"
_MAX_FIELDS = 500


class SignInNeededError(Exception):
    """The page is for users who are signed in, and nobody is."""


Form = dict[str, list[str]]
"""The fields of a form: the values of each name, in order."""


async def protect(request: Request) -> None:
    """Let only forms of our own pages change something. For all routes.

    Raises:
        ForbiddenError: Another site's page sent the form, or its token is not that of the session.
        InvalidInputError: The body is not a form.
    """
    if request.method in ("GET", "HEAD"):
        return
    check_origin(request, context(request).public_host, is_form=True)
    request.state.form = form = _parse(await read_body(request))
    token = read_token(request)
    if token and not hmac.compare_digest(make_csrf(token), field(form, CSRF_FIELD)):
        raise ForbiddenError("this form is out of date: go back, load the page again, and repeat it")


def _parse(body: bytes) -> Form:
    try:
        text = body.decode()
        return parse_qs(text, keep_blank_values=True, errors="strict", max_num_fields=_MAX_FIELDS)
    except ValueError:
        raise InvalidInputError("the form cannot be read: it must be URL-encoded text") from None


def read_form(request: Request) -> Form:
    """Return the fields of the form that was sent."""
    form: Form = request.state.form
    return form


SentForm = Annotated[Form, Depends(read_form)]


def field(form: Form, name: str, default: str = "") -> str:
    """Return the last value of a field."""
    return form.get(name, [default])[-1]


def find_visitor(request: Request) -> User | None:
    """Return the user of the request's session; None if there is none."""
    web, token = context(request), read_token(request)
    user = web.store.session_user(hash_token(token)) if token else None
    if user is None:
        return None
    origin = web.read_origin(request.scope)
    access = replace(user.access, via=Via.PAGE, address=origin.address, user_agent=origin.user_agent)
    request.state.csrf = make_csrf(token)
    request.state.visitor = user = replace(user, access=access)
    return user


def visitor_with(scope: Scope) -> Callable[[Request], User]:
    """Return the dependency of a route that needs a scope."""

    def require(request: Request) -> User:
        user = find_visitor(request)
        if user is None:
            raise SignInNeededError
        if not user.may(scope):
            raise ForbiddenError(
                f"this needs the scope {scope.value}, and you signed in with a key that has {user.access.scope.value}"
                if not user.access.scope.includes(scope)
                else "only admins may do this"
            )
        return user

    return require


Reader = Annotated[User, Depends(visitor_with(Scope.READ))]
Caller = Annotated[User, Depends(visitor_with(Scope.CALL))]
Operator = Annotated[User, Depends(visitor_with(Scope.OPERATE))]
Admin = Annotated[User, Depends(visitor_with(Scope.ADMIN))]


def begin_session(request: Request, response: Response, user: User) -> None:
    """Begin a session of a user, with a new token, and end the one that the browser had."""
    web, token = context(request), secrets.token_urlsafe(32)
    origin = web.read_origin(request.scope)
    access: Access = replace(user.access, via=Via.PAGE, address=origin.address, user_agent=origin.user_agent)
    end_session(request, response)
    web.store.add_session(replace(user, access=access), hash_token(token), web.clock() + SESSION_LASTS)
    response.set_cookie(
        _cookie_name(request),
        token,
        max_age=int(SESSION_LASTS.total_seconds()),
        path=web.public_path or "/",
        secure=is_secure(request),
        httponly=True,
        samesite="lax",
    )


def end_session(request: Request, response: Response) -> None:
    """End the session of the request, if it has one."""
    web = context(request)
    user = find_visitor(request)
    if user is not None:
        web.store.end_sessions(user, user.access.session)
    response.delete_cookie(_cookie_name(request), path=web.public_path or "/", secure=is_secure(request), httponly=True)


def read_token(request: Request) -> str:
    """Return the session's token from the cookie; empty if there is none."""
    return request.cookies.get(_cookie_name(request), "")


def hash_token(token: str) -> str:
    """Return the SHA-256 of a random token, which alone is stored."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def make_csrf(token: str) -> str:
    """Return the token of a session's forms. It depends on nothing else, so that all replicas know it."""
    return hmac.new(token.encode("utf-8", "surrogateescape"), b"tutumd form", "sha256").hexdigest()


def is_secure(request: Request) -> bool:
    """Return whether the browser uses TLS, also if a proxy ends it."""
    web = context(request)
    client = request.client.host if request.client else ""
    if client in web.trusted_proxies and (scheme := request.headers.get("x-forwarded-proto")):
        return scheme.rpartition(",")[2].strip() == "https"
    return request.url.scheme == "https" or web.public_url.startswith("https://")


def _cookie_name(request: Request) -> str:
    # Browsers accept these names only from the host itself, over TLS (RFC 6265bis, 4.1.3).
    if not is_secure(request):
        return _COOKIE
    return f"__Secure-{_COOKIE}" if context(request).public_path else f"__Host-{_COOKIE}"
