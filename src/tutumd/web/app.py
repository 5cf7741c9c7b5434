"""The ASGI application: normalizes paths, sends calls to their endpoint and everything else through FastAPI."""

import re
import time
from urllib.parse import unquote

import structlog
from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tutumd.web import access_log, errors
from tutumd.web.access_log import log_request, mark_call
from tutumd.web.api import (
    docs,
    freeze,
    handlers,
    keys,
    notifications,
    rollbacks,
    server,
    services,
)
from tutumd.web.call.endpoint import CALL_PATH, CallEndpoint
from tutumd.web.call.fast_path import NO_STORE, FastPath, Respond
from tutumd.web.context import WebContext
from tutumd.web.pages.cookies import keep_own_cookies
from tutumd.web.pages.live import LivePages
from tutumd.web.pages.site import create_site
from tutumd.web.uris import PREFIX

_SLASHES = re.compile(r"/{2,}")
_OF_API = re.compile(r"/(api|metrics|healthz|readyz)(/|$)")
# Paths of pages have one form: no empty parts, no `.` or `..`, no escapes.
_PAGE_PATH = re.compile(r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._~-]+)*/?")
MAX_QUERY_PARTS = 1_000  # parameters and escaped bytes in the query of a request that is not a call
_STACK_AND_NAME = re.compile(r"(?i)/+api/+v1/+service/+[^/]*%2f[^/]*")


def create_app(context: WebContext, version: str) -> ASGIApp:
    """Return the application that serves the API."""
    app = FastAPI(
        title="tutumd",
        servers=[{"url": context.public_path}] if context.public_path else None,
        version=version,
        description="Webhook handlers for containers: redeploy or scale one service with a POST to a secret URL.",
        openapi_url=None,  # `docs` has a route that writes the document once
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        responses=docs.RESPONSES,
        exception_handlers=errors.EXCEPTION_HANDLERS,
        default_response_class=errors.JsonResponse,
    )
    app.state.context = context
    for router in (
        handlers.of_services,
        handlers.of_groups,
        handlers.router,
        handlers.of_calls,
        services.router,
        rollbacks.router,
        services.actions,
        services.containers,
        freeze.router,
        notifications.router,
        keys.router,
        server.router,
        docs.router,
    ):
        app.include_router(router)
    site = LivePages(create_site(context, version), context) if context.has_dashboard else None
    return _Front(errors.LastResort(app), site, context)


class _Front:
    """Normalizes paths: `//` counts as `/`; the slash at the end and the path of the public URL are optional."""

    def __init__(self, app: ASGIApp, site: LivePages | None, context: WebContext) -> None:
        self._app, self._site, self._context = app, site, context
        self._endpoint = CallEndpoint(context)
        self._fast_path = FastPath(context, self._endpoint)
        self.unfinished = context.unfinished

    def handle_fast(self, scope: Scope, body: bytes, respond: Respond) -> bool:
        """Handle a request as `HandleFast` defines: a call, or an open page that checks whether it is up to date."""
        if scope["method"] == "GET":
            return self._site is not None and self._site.handle_fast(scope, respond)
        return self._fast_path.handle(scope, body, respond)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began, status, headers = time.monotonic(), 0, dict[bytes, bytes]()
        request_id = access_log.choose(access_log.parse(scope["headers"]), scope["path"])

        async def send_with_id(message: Message) -> None:
            nonlocal status, headers
            if message["type"] == "http.response.start":
                # Responses of the API contain URLs of handlers, which are credentials.
                kept_nowhere = [NO_STORE] if scope["path"].startswith(f"{PREFIX}/") else []
                message["headers"] = [*message.get("headers", ()), *kept_nowhere, (access_log.HEADER, request_id)]
                status, headers = message["status"], dict(message["headers"])
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id.decode()):
            try:
                await self._respond(scope, receive, send_with_id)
            finally:
                if self._context.logs_requests:
                    log_request(
                        self._context, scope, status=status, headers=headers, began=began, request_id=request_id
                    )

    async def _respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = _SLASHES.sub("/", scope["path"])
        raw = scope.get("raw_path", b"").decode("latin-1")
        if path.startswith(f"{self._context.public_path}/api/"):
            path, raw = path.removeprefix(self._context.public_path), raw.removeprefix(self._context.public_path)
        scope["path"] = path
        if match := CALL_PATH.fullmatch(path):
            mark_call(scope, match[1])
            await self._endpoint(scope, receive, send, match)
            return
        await self._context.pace.wait()
        if scope["query_string"].count(b"&") + scope["query_string"].count(b"%") > MAX_QUERY_PARTS:
            refused = f"the query must have at most {MAX_QUERY_PARTS} parameters and escaped bytes"
            await errors.error_response(400, refused)(scope, receive, send)
            return
        scope["headers"] = keep_own_cookies(scope["headers"])
        if match := _STACK_AND_NAME.match(raw):
            # The slash of `shop%2Fweb` stays encoded, so that the routes match.
            named = re.sub("(?i)%2f", "%252F", match[0])
            path = _SLASHES.sub("/", unquote(named + raw[match.end() :]))
        path = path.rstrip("/")
        # A client that may not see the dashboard gets the responses of a server without a dashboard. A proxy may sign
        # in people on some paths only. The proxy must not mistake another path for a page.
        is_page = _PAGE_PATH.fullmatch(raw) and not _OF_API.match(path)
        if self._site and is_page and self._context.shows_dashboard(scope):
            under_root = (
                path.removeprefix(self._context.public_path)
                if f"{path}/".startswith(f"{self._context.public_path}/")
                else path
            )
            scope["path"] = under_root if under_root.startswith("/static/") else f"{under_root}/"
            await self._site(scope, receive, send)
            return
        if not path or path.startswith(f"{PREFIX}/"):
            path += "/"
        scope["path"] = path
        await self._app(scope, receive, send)
