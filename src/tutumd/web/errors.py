"""The table from errors to statuses, and the form of error bodies: `{"error": text}`."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tutumd import errors

STATUSES: dict[type[errors.TutumdError], int] = {
    errors.InvalidInputError: 400,
    errors.UnauthorizedError: 401,
    errors.ForbiddenError: 403,
    errors.NotFoundError: 404,
    errors.ConflictError: 409,
    errors.TooManyCallsError: 429,
    errors.UnavailableError: 503,
    errors.SettingsError: 503,
    errors.AnswerTimeoutError: 504,
}

INTERNAL = "internal error: see the server's log"
NO_ROUTE = "there is nothing at this path: the routes are listed at /api/docs"
STOPPING = "the server is stopping; try again in a moment"
"""The response to a request that is canceled, since its server's grace is over."""
_HEADERS = {401: {"WWW-Authenticate": 'Basic realm="tutumd"'}, 503: {"Retry-After": "1"}}
_START = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>tutumd</title>
<h1>tutumd</h1>
<p>This server redeploys and scales services when a secret URL is called. From here, there are no pages to sign
in to: use the command <code>tutum</code>, or the <a href="api/docs">API</a>.</p>
</html>
"""
"""What a browser gets at `/` if there is no dashboard, or none for its network."""
_log = logging.getLogger(__name__)

# pydantic's own texts are written for Python programmers.
_TEXTS = {
    "model_type": "must be a JSON object",
    "dict_type": "must be a JSON object",
    "list_type": "must be a JSON list",
    "string_type": "must be a string",
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "extra_forbidden": "unknown field",
}


class JsonResponse(JSONResponse):
    """JSON that ends with a newline, so that a shell's prompt follows on its own line."""

    def render(self, content: Any) -> bytes:
        return super().render(content) + b"\n"


def error_response(status: int, text: str, headers: dict[str, str] | None = None) -> JsonResponse:
    """Return an error response."""
    return JsonResponse({"error": text}, status, headers={**_HEADERS.get(status, {}), **(headers or {})})


def describe_error(error: errors.TutumdError) -> tuple[int, str, dict[str, str]]:
    """Return status, text and headers for an error that was raised on purpose."""
    status = next((STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES), 500)
    retry_after_s = getattr(error, "retry_after_s", None)
    headers = {"Retry-After": str(retry_after_s)} if retry_after_s is not None else {}
    return status, str(error), headers


def describe_problem(problems: Sequence[Any]) -> str:
    """Return the first problem that a schema found, with its location."""
    problem = problems[0]
    place = ".".join(str(part) for part in problem["loc"] if part not in ("body", "query"))[:100]
    text = _TEXTS.get(problem["type"], problem["msg"])[:200]
    return f"{place}: {text}" if place else text


def _handle_http(request: Request, error: Any) -> Response:
    if request.url.path == "/" and "text/html" in request.headers.get("accept", ""):
        return HTMLResponse(_START, headers={"Content-Security-Policy": "default-src 'none'"})
    return error_response(*describe_http_error(request, error))


def describe_http_error(request: Request, error: Any) -> tuple[int, str, dict[str, str]]:
    """Return status, text and headers for an error of the framework."""
    if error.status_code == 404:
        return 404, NO_ROUTE, {}
    if error.status_code == 405:
        allowed = ", ".join(_allowed_methods(request))
        return 405, f"{request.method} is not possible here: use {allowed}", {"Allow": allowed}
    return error.status_code, error.detail, dict(error.headers or {})


def _allowed_methods(request: Request) -> list[str]:
    """Return the methods of all routes at the request's path: each route knows only its own methods."""
    return [
        method
        for method in ("GET", "HEAD", "POST", "PATCH", "DELETE")
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in request.app.routes)
    ]


EXCEPTION_HANDLERS: dict[Any, Any] = {
    errors.TutumdError: lambda _request, error: error_response(*describe_error(error)),
    HTTPException: _handle_http,
    RequestValidationError: lambda _request, error: error_response(400, describe_problem(error.errors())),
    # Starlette raises the error again, so that LastResort logs it.
    Exception: lambda _request, _error: error_response(500, INTERNAL),
}
"""For the framework: they give every error response our form."""


def log_unforeseen(error: Exception) -> None:
    """Log an unexpected error, without the path: the path of a call is a credential."""
    _log.error("a request failed", exc_info=error)


def render_failure(error: Exception) -> JsonResponse:
    """Return the response to a request that raised an error."""
    if isinstance(error, errors.TutumdError) and not isinstance(error, errors.SettingsError):
        return error_response(*describe_error(error))
    log_unforeseen(error)
    if isinstance(error, errors.SettingsError):
        return error_response(503, "a secret of this handler cannot be decrypted: see the server's log")
    return error_response(500, INTERNAL)


class LastResort:
    """Logs unexpected errors, and responds with 500 if nothing has been sent yet."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        has_started = False

        async def record(message: Message) -> None:
            nonlocal has_started
            has_started = True
            await send(message)

        try:
            await self._app(scope, receive, record)
        except asyncio.CancelledError:
            response = error_response(503, STOPPING)
        except Exception as error:  # noqa: BLE001 (the client gets a response whatever happened)
            response = render_failure(error)
        else:
            return
        if not has_started:
            await response(scope, receive, send)
