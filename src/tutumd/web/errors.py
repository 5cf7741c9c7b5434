"""The one table from error to status, and the one form of an error body: `{"error": text}`."""

import logging

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
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

_HEADERS = {401: {"WWW-Authenticate": 'Basic realm="tutumd"'}, 503: {"Retry-After": "1"}}
INTERNAL = "internal error: see the server's log"
_log = logging.getLogger(__name__)

# The texts of the schema library are made for people who know Python.
_WORDS = {
    "model_type": "must be a JSON object",
    "dict_type": "must be a JSON object",
    "list_type": "must be a JSON list",
    "string_type": "must be a string",
    "string_unicode": "must be text without half characters",
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "extra_forbidden": "is no field that can be given here",
    "invalid_key": "the name of a field must be text without half characters",
}


def error_response(status: int, text: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """Render an error."""
    return JSONResponse({"error": text}, status, headers={**_HEADERS.get(status, {}), **(headers or {})})


def response_to(error: errors.TutumdError) -> JSONResponse:
    """Render an error that was raised on purpose."""
    if isinstance(error, errors.TooManyCallsError):
        return error_response(429, str(error), {"Retry-After": str(error.retry_after_s)})
    status = next((STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES), 500)
    return error_response(status, str(error))


def install(app: FastAPI) -> None:
    """Render every error of the app in our form."""
    app.add_exception_handler(errors.TutumdError, _on_purpose)
    app.add_exception_handler(HTTPException, _by_framework)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _by_accident)


def _on_purpose(_request: Request, error: Exception) -> Response:
    assert isinstance(error, errors.TutumdError)  # noqa: S101 (registered for this type)
    return response_to(error)


def _by_framework(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 (registered for this type)
    if error.status_code == 404:
        return error_response(404, "there is nothing at this path: the routes are listed at /api/docs")
    if error.status_code == 405:
        allowed = ", ".join(_allowed_methods(request))
        return error_response(405, f"{request.method} is not possible here: use {allowed}", {"Allow": allowed})
    return error_response(error.status_code, error.detail, dict(error.headers or {}))


def _allowed_methods(request: Request) -> list[str]:
    """List the methods of the routes at the request's path: each route knows only its own."""
    routes = request.app.routes
    return [
        method
        for method in ("GET", "HEAD", "POST", "PATCH", "DELETE")
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in routes)
    ]


def _invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 (registered for this type)
    return error_response(400, first_problem(error.errors()))


def _by_accident(_request: Request, _error: Exception) -> Response:
    # The framework raises it once more, so that LastResort logs it.
    return error_response(500, INTERNAL)


def log_unforeseen(error: Exception) -> None:
    """Log what no code foresaw. No path with it: that of a call is a credential."""
    _log.error("a request failed", exc_info=error)


class LastResort:
    """Answers and logs, once, what no code foresaw, wherever in the application it happened."""

    def __init__(self, app: ASGIApp) -> None:
        """Take the whole application."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        is_answered = False

        async def watch(message: Message) -> None:
            nonlocal is_answered
            is_answered = True
            await send(message)

        try:
            await self._app(scope, receive, watch)
        except Exception as error:  # noqa: BLE001 (the edge: the client gets an answer whatever happened)
            log_unforeseen(error)
            if not is_answered:
                await error_response(500, INTERNAL)(scope, receive, send)


def first_problem(problems: "list[dict[str, object]] | tuple[object, ...] | object") -> str:
    """Say the first problem that a schema found, with where it is."""
    if not isinstance(problems, (list, tuple)) or not problems or not isinstance(problems[0], dict):
        return "the request does not have the form that is wanted"
    problem = problems[0]
    location = problem.get("loc", ())
    parts = [str(part) for part in location if part not in ("body", "query")] if isinstance(location, tuple) else []
    text = _WORDS.get(str(problem.get("type")), str(problem.get("msg", "is not valid")))
    return f"{'.'.join(parts)[:100]}: {text[:200]}" if parts else text[:200]
