"""The cookie of the dashboard, and the form token that is derived from it.

The cookie holds a random token. After a sign-in, the token belongs to a session, and the store has its hash. Before a
sign-in, and for users that a proxy has signed in, no store has it: it only ties forms to the browser that loaded them.
"""

import hmac
import re
from collections.abc import Sequence

from fastapi import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tutumd.web.context import context

_NAME = "tutumd_session"
OWN_COOKIE = re.compile(rb"(?:^|; *)((?:__Host-|__Secure-)?tutumd_session=([^;]*))")
"""A cookie of the dashboard in a header, and its token."""

_MAX_BYTES = 16 * 1024  # of a header: a browser that sends more is signed out
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)


def keep_own_cookies(headers: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return the headers of a request without other sites' cookies: FastAPI parses all of them, which can take 25
    ms.
    """
    cookies = [value for name, value in headers if name == b"cookie" and len(value) <= _MAX_BYTES]
    own = [cookie for value in cookies for cookie, _ in OWN_COOKIE.findall(value)][:4]
    return [header for header in headers if header[0] != b"cookie"] + [(b"cookie", cookie) for cookie in own]


def read_token(request: Request) -> str:
    """Return the token in the request's cookie; empty if there is none."""
    token = request.cookies.get(_cookie_name(request), "")
    return token if _TOKEN.fullmatch(token) else ""


def make_csrf(token: str, user_name: str = "") -> str:
    """Return the form token for a cookie. The token depends on nothing else, so that all replicas can compute it.

    Args:
        user_name: Name of the user whom a proxy has signed in: if the proxy names another user, older forms become
            invalid.
    """
    return hmac.new(
        token.encode(), b"tutumd form " + user_name.encode("utf-8", "surrogateescape"), "sha256"
    ).hexdigest()


def set_cookie(request: Request, response: Response, token: str, lasts_s: int | None = None) -> None:
    """Set the cookie; without `lasts_s`, it lasts until the browser ends."""
    response.set_cookie(
        _cookie_name(request),
        token,
        max_age=lasts_s,
        path=context(request).public_path or "/",
        secure=is_secure(request),
        httponly=True,
        samesite="lax",
    )


def is_secure(request: Request) -> bool:
    """Return whether the browser uses TLS, which a proxy terminates.

    On a direct connection without a proxy, the connection itself decides, because its address is not the public one.
    """
    web = context(request)
    is_of_proxy = web.is_of_proxy(request.scope)
    if is_of_proxy and (scheme := request.headers.get("x-forwarded-proto")):
        return scheme.rpartition(",")[2].strip().lower() == "https"
    if request.url.scheme == "https":
        return True
    is_public = is_of_proxy or request.headers.get("host", "").lower() == web.public_host.lower()
    return is_public and web.public_url.startswith("https://")


def _cookie_name(request: Request) -> str:
    # Browsers accept these names only over TLS, and the first name only from the host itself (RFC 6265bis, 4.1.3).
    if not is_secure(request):
        return _NAME
    return f"__Secure-{_NAME}" if context(request).public_path else f"__Host-{_NAME}"


SAFETY = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
        " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Robots-Tag": "noindex, nofollow",
    "Cache-Control": "no-store",
}
"""Headers of every response of the dashboard; only `Cache-Control` may say something else, for files."""

SAFETY_HEADERS = [(name.lower().encode(), value.encode()) for name, value in SAFETY.items()]


def with_safety(app: ASGIApp) -> ASGIApp:
    """Return an application that adds the headers to every response, including redirects and errors."""

    async def respond(scope: Scope, receive: Receive, send: Send) -> None:
        async def add_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = list(message.get("headers", ()))
                names = {name.lower() for name, _ in given}
                message["headers"] = given + [(name, value) for name, value in SAFETY_HEADERS if name not in names]
            await send(message)

        await app(scope, receive, add_headers)

    return respond
