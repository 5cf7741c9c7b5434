"""The ASGI application: normalizes paths, sends calls to their endpoint and everything else through FastAPI."""

import re
import time
from typing import Any
from urllib.parse import unquote

import structlog
from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tutumd.web import access_log, errors
from tutumd.web.access_log import log_request, mark_call
from tutumd.web.api import (
    docs,
    freeze,
    group_objects,
    groups,
    handlers,
    keys,
    notifications,
    rollbacks,
    schemas,
    server,
    services,
)
from tutumd.web.api.handler_objects import CALL
from tutumd.web.api.objects import ERROR
from tutumd.web.body import components
from tutumd.web.call.endpoint import CALL_PATH, CallEndpoint
from tutumd.web.call.fast_path import NO_STORE, FastPath, Respond
from tutumd.web.context import WebContext
from tutumd.web.pages.cookies import keep_own_cookies
from tutumd.web.pages.live import LivePages
from tutumd.web.pages.site import create_site
from tutumd.web.uris import ACTION_HEADER, PREFIX

_SLASHES = re.compile(r"/{2,}")
_OF_API = re.compile(r"/(api|metrics|healthz|readyz)(/|$)")
# Paths of pages have one form: no empty parts, no `.` or `..`, no escapes.
_PAGE_PATH = re.compile(r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._~-]+)*/?")
MAX_QUERY_PARTS = 1_000  # parameters and escaped bytes in the query of a request that is not a call
_STACK_AND_NAME = re.compile(r"(?i)/+api/+v1/+service/+[^/]*%2f[^/]*")

_RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"model": ERROR, "description": text}
    for status, text in {
        400: "Wrong input: the text says what was wanted and what was found",
        401: "Credentials are missing or wrong",
        403: "The key lacks the scope; only admins may do this; or a page of another site sent Basic credentials",
        404: "No such object, or it is not yours",
        408: "The body was not complete in time",
        409: "The object cannot do this now: the text says why",
        413: "The body is too long",
        429: "Too many wrong keys came from this address, or too many calls: try again after `Retry-After` seconds",
        503: "Not possible now: try again after `Retry-After` seconds",
        504: "No worker responded within 10 s",
    }.items()
}

_CALL_RESPONSES = {
    200: "`Skipped`: the call does not count, or the hold of a rollback lasts; with `wait`: `Success`",
    400: "Wrong input: the text says what was wanted and what was found",
    401: "The signature or token of the sender is missing or wrong",
    404: "No such handler, or it cannot be called now or from there",
    408: "The body was not complete in time",
    409: "ROLLBACK: there is no older version, or the service cannot be rolled back; a group: more than 50 services are"
    " selected, or they depend on each other in a cycle",
    413: "The body is too long",
    429: "Too many calls: try again after `Retry-After` seconds",
    502: "With `wait`: `Failed` or `Canceled`, and why",
    503: "Not accepted: try again after `Retry-After` seconds",
    504: "With `wait`: not ended yet; the action goes on",
}


_BODIES = (
    schemas.ServiceIn,
    schemas.ServicePatch,
    schemas.RollbackIn,
    schemas.HoldIn,
    schemas.ApiKeyIn,
    schemas.HandlerIn,
    schemas.RotateIn,
    schemas.TestIn,
    schemas.TargetIn,
    freeze.FreezeIn,
    group_objects.GroupIn,
)


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
        responses=_RESPONSES,
        exception_handlers=errors.EXCEPTION_HANDLERS,
        default_response_class=errors.JsonResponse,
    )
    app.state.context = context
    objects = (services.router, rollbacks.router, services.actions, services.containers, freeze.router)
    for router in (
        handlers.of_services,
        handlers.of_groups,
        handlers.router,
        groups.router,
        *objects,
        notifications.router,
        keys.router,
        server.router,
        docs.router,
    ):
        app.include_router(router)
    _document_calls(app)
    endpoint = CallEndpoint(context)
    site = LivePages(create_site(context, version), context) if context.has_dashboard else None
    return _Front(errors.LastResort(app), site, endpoint, FastPath(context, endpoint), context)


class _Front:
    """Normalizes paths: `//` counts as `/`; the slash at the end and the path of the public URL are optional."""

    def __init__(
        self, app: ASGIApp, site: LivePages | None, endpoint: CallEndpoint, fast_path: FastPath, context: WebContext
    ) -> None:
        self._app, self._site = app, site
        self._endpoint = endpoint
        self._context = context
        self._fast_path, self.unfinished = fast_path, context.unfinished

    def handle_fast(self, scope: Scope, body: bytes, respond: Respond) -> bool:
        """Handle a request as `HandleFast` defines: a call, or an open page that checks whether it is up to date."""
        if scope["method"] == "GET":
            return self._site is not None and self._site.handle_fast(scope, respond)
        return self._fast_path.handle(scope, body, respond)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
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
        path = scope["path"]
        if "//" in path:
            path = _SLASHES.sub("/", path)
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


def _document_calls(app: FastAPI) -> None:
    """Add the parts to the OpenAPI document that FastAPI cannot know: request bodies, the call endpoint, the
    credentials.
    """
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        path = f"{PREFIX}/service/{{service_uuid}}/webhook/handler/{{handler_uuid}}/call/"
        if path in document["paths"]:
            return document
        for route, operations in document["paths"].items():
            for method, operation in operations.items():
                # FastAPI documents 422 for invalid input, which is 400 here.
                for status in {422, *_RESPONSES} - _possible_errors(method, route, operation):
                    operation["responses"].pop(str(status), None)
        names = ["service_uuid", "handler_uuid"]
        document["paths"][path] = _describe_call(names, "Perform the handler's operation.", "call")
        document["paths"][f"{path}{{amount}}/"] = _describe_call(
            [*names, "amount"], "The same; SCALEUP adds `amount` containers, 1 to 100.", "call_with_amount"
        )
        document["paths"][f"{PREFIX}/webhook/group/{{handler_uuid}}/call/"] = _describe_call(
            ["handler_uuid"], "Redeploy the services of the group.", "call_group", "GroupAcceptedOut"
        )
        document["components"]["schemas"] |= components([*_BODIES, CALL, group_objects.ACCEPTED])
        document["components"]["securitySchemes"] = {
            "ApiKey": {
                "type": "apiKey",
                "in": "header",
                "name": "Authorization",
                "description": "`ApiKey USER:KEY`",
            },
            "Basic": {"type": "http", "scheme": "basic", "description": "User and API key"},
        }
        document["security"] = [{"ApiKey": []}, {"Basic": []}]
        return document

    app.openapi = openapi  # type: ignore[method-assign] # FastAPI documents this way to extend the document


def _possible_errors(method: str, path: str, operation: dict[str, Any]) -> set[int]:
    """Return the possible error statuses of a route."""
    if path in ("/healthz", "/readyz"):
        return {503} if path == "/readyz" else set()
    statuses = {400, 404, 503}
    if "security" not in operation:
        statuses |= {401, 403, 429}
    if "requestBody" in operation:
        statuses |= {408, 413}
    changes = ("/v1/service/", "/apikey/", "/cancel/", "/abandon/", "/retry/")
    if "/service/{" in path or "/group/" in path or (method == "post" and path.endswith(changes)):
        statuses.add(409)
    if path.endswith(("/service/{uuid}/logs/", "/redeploy/")):
        statuses.add(504)
    return statuses


def _describe_call(path_names: list[str], summary: str, operation_id: str, schema: str = "CallOut") -> dict[str, Any]:
    text = {"type": "string"}
    return {
        "post": {
            "tags": ["webhook handlers"],
            "summary": summary,
            "description": "No credentials; any body up to 1 MiB. 202 once the call is on disk. With `?wait=S` (0 to"
            " 600) or `Prefer: wait=S` the response comes when the action has ended: 200, 502 if it failed, 504 if it"
            " goes on; its body is that of `status_url`. A call that does not match a filter: 200, `Skipped`.",
            "operationId": operation_id,
            "security": [],
            "parameters": [
                *({"name": name, "in": "path", "required": True, "schema": text} for name in path_names),
                *({"name": name, "in": "query", "schema": text} for name in ("wait", "tag")),
            ],
            "responses": {
                "202": {
                    "description": "Accepted",
                    "headers": {ACTION_HEADER: {"schema": text}},
                    "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}},
                },
                **{str(status): {"description": meaning} for status, meaning in _CALL_RESPONSES.items()},
            },
        }
    }
