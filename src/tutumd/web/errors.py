"""The one table from error to status, and the one form of an error body: `{"error": text}`."""

import logging

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from tutumd import errors

STATUSES: dict[type[errors.TutumdError], int] = {
    errors.InvalidInputError: 400,
    errors.UnauthorizedError: 401,
    errors.ForbiddenError: 403,
    errors.NotFoundError: 404,
    errors.ConflictError: 409,
    errors.UnavailableError: 503,
    errors.AnswerTimeoutError: 504,
}

_HEADERS = {401: {"WWW-Authenticate": 'Basic realm="tutumd"'}, 503: {"Retry-After": "1"}}
_log = logging.getLogger(__name__)


def error_response(status: int, text: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """Render an error."""
    return JSONResponse({"error": text}, status, headers={**_HEADERS.get(status, {}), **(headers or {})})


def response_to(error: errors.TutumdError) -> JSONResponse:
    """Render an error that was raised on purpose."""
    return error_response(STATUSES.get(type(error), 500), str(error))


def install(app: FastAPI) -> None:
    """Render every error of the app in our form."""
    app.add_exception_handler(errors.TutumdError, _on_purpose)
    app.add_exception_handler(HTTPException, _by_framework)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _by_accident)


def _on_purpose(_request: Request, error: Exception) -> Response:
    assert isinstance(error, errors.TutumdError)  # noqa: S101 (registered for this type)
    return response_to(error)


def _by_framework(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 (registered for this type)
    return error_response(error.status_code, error.detail.lower(), dict(error.headers or {}))


def _invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 (registered for this type)
    return error_response(400, first_problem(error.errors()))


def _by_accident(_request: Request, error: Exception) -> Response:
    # No path here: that of a call is a credential.
    _log.error("a request failed", exc_info=error)
    return error_response(500, "internal error: see the server's log")


def first_problem(problems: "list[dict[str, object]] | tuple[object, ...] | object") -> str:
    """Say the first problem that a schema found, with where it is."""
    if not isinstance(problems, (list, tuple)) or not problems or not isinstance(problems[0], dict):
        return "the request does not have the form that is wanted"
    problem = problems[0]
    location = problem.get("loc", ())
    parts = [str(part) for part in location if part not in ("body", "query")] if isinstance(location, tuple) else []
    text = str(problem.get("msg", "is not valid"))
    return f"{'.'.join(parts)[:100]}: {text[:200]}" if parts else text[:200]
