"""Headers that keep browsers from misusing pages."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

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
