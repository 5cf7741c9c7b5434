"""Authentication with the Authorization header: `ApiKey USER:KEY` as in 2015, or Basic with the same pair."""

import base64
import binascii
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Annotated

from fastapi import Depends, Request

from tutumd.application.scopes import require_scope
from tutumd.errors import ForbiddenError, UnauthorizedError
from tutumd.model import Scope, User, Via
from tutumd.web.context import context


def parse_credentials(request: Request) -> tuple[str, str]:
    """Return user name and key of a request. Raises UnauthorizedError."""
    scheme, _, value = request.headers.get("authorization", "").strip().partition(" ")
    pair = value.strip()
    if scheme.lower() == "basic":
        try:
            pair = base64.b64decode(pair, validate=True).decode()
        except (binascii.Error, ValueError):
            raise UnauthorizedError("the Authorization header is not valid Basic authentication") from None
    elif scheme.lower() != "apikey":
        raise UnauthorizedError("credentials are needed: send Authorization: ApiKey USER:KEY")
    name, _, key = pair.partition(":")
    return name.strip(), key.strip()


def _authenticate(request: Request) -> User:
    """Return the user of a request, before the rest of the request is read.

    Raises:
        UnauthorizedError: Credentials are missing or wrong.
        TooManyCallsError: The client sent too many wrong credentials.
        ForbiddenError: A page of another site sent Basic credentials to change something.
    """
    web = context(request)
    credentials = parse_credentials(request)
    if request.headers.get("authorization", "").strip().lower().startswith("basic"):
        check_origin(request, web.public_host)
    return at_origin(request, web.sign_ins.authenticate(web.read_client(request.scope), *credentials), Via.API)


def at_origin(request: Request, user: User, via: Via) -> User:
    """Return the user with the origin of the request."""
    origin = context(request).read_origin(request.scope)
    access = replace(user.access, via=via, address=origin.address, user_agent=origin.user_agent)
    return replace(user, access=access)


def check_origin(request: Request, public_host: str, *, is_form: bool = False) -> None:
    """Refuse a change from another site's page, because browsers add Basic credentials and cookies automatically.

    X-Forwarded-Host counts from any client: scripts of other sites cannot set it.

    Args:
        is_form: Whether the request sends a form of ours. Our pages set a policy without a referrer, so that browsers
            send `Origin: null` with their forms (Fetch standard, "append a request Origin header"). A token in the form
            distinguishes them from other forms.
    """
    headers = request.headers
    hosts = [host for host in (headers.get("host"), headers.get("x-forwarded-host"), public_host) if host]
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    is_foreign = origin is not None and origin.partition("://")[2].lower() not in map(str.lower, hosts)
    if is_form and origin == "null":
        is_foreign = False
    if request.method != "GET" and (site not in (None, "none", "same-origin") or (site is None and is_foreign)):
        raise ForbiddenError("a page of another site sent this: send it from a page of this server, or with ApiKey")


def needs(scope: Scope, identify: Callable[[Request], User] = _authenticate) -> Callable[[User], Awaitable[User]]:
    """Return a dependency for routes that require a user with a scope. A request is identified once."""

    async def authenticate(user: Annotated[User, Depends(identify)]) -> User:
        require_scope(user, scope)
        return user

    return authenticate


# Each route declares its scope with one of these. A test compares their effect with the table in
# docs/reference/scopes.md.
Reader = Annotated[User, Depends(needs(Scope.READ))]
Caller = Annotated[User, Depends(needs(Scope.CALL))]
Operator = Annotated[User, Depends(needs(Scope.OPERATE))]
Administrator = Annotated[User, Depends(needs(Scope.ADMIN))]
"""A key with all rights of a user, who need not be an admin: `application` knows what only admins may do."""
