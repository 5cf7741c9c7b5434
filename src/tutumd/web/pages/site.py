"""The dashboard as an application: its routes, and its errors as pages."""

from contextlib import suppress
from typing import Any
from urllib.parse import quote

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from tutumd import errors
from tutumd.web.context import WebContext, context
from tutumd.web.errors import (
    INTERNAL,
    NO_ROUTE,
    LastResort,
    describe_error,
    describe_http_error,
    describe_problem,
    error_response,
)
from tutumd.web.pages import (
    account,
    actions,
    assets,
    connect,
    deliveries,
    freeze,
    groups,
    handler_form,
    handlers,
    notifications,
    overview,
    rollback,
    service,
    service_list,
    service_logs,
)
from tutumd.web.pages.cookies import with_safety
from tutumd.web.pages.rendering import render
from tutumd.web.pages.visitors import SignInNeededError, find_visitor, protect

_MAX_NEXT = 1000
_NOT_FOUND = {
    NO_ROUTE: "there is no such page, or it is not yours: check the address, or begin at the overview",
    # Also applies if the page of the action that terminated a service asks for its progress.
    errors.NOT_FOUND: "it is not there, or not yours. A service that is terminated or forgotten takes its actions and "
    "webhook handlers with it",
}
_HEADINGS = {403: "Not allowed", 404: "Not found", 503: "Not now"}
PAGES = (
    overview,
    service_list,
    service,
    rollback,
    service_logs,
    connect,
    handler_form,  # before `handlers`: `new` is not a number
    handlers,
    deliveries,
    groups,
    actions,
    freeze,
    notifications,
    account,
    assets,
)
"""Modules with a `router` each, which includes no other router: FastAPI hides the routes of nested routers."""


def create_site(web: WebContext, version: str) -> ASGIApp:
    """Return the application that serves the dashboard. Each of its routes is protected, and each response has the
    safety headers.
    """
    app = FastAPI(
        title="tutumd",
        version=version,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        dependencies=[Depends(protect)],
        exception_handlers=_EXCEPTION_HANDLERS,
    )
    app.state.context = web
    for module in PAGES:
        for route in module.router.routes:
            if isinstance(route, APIRoute) and route.methods and "GET" in route.methods:
                route.methods.add("HEAD")
        app.include_router(module.router)
    return with_safety(LastResort(app))


def _lead_to_sign_in(request: Request, _: Exception) -> Response:
    address = f"{context(request).public_path}/sign-in/"
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    if request.method != "POST" and here != "/" and len(here) <= _MAX_NEXT:
        address += f"?next={quote(here, safe='/')}"
    if request.headers.get("hx-request") == "true":
        # The complete page redirects there, not the part that a script requested.
        return Response(status_code=401, headers={"HX-Redirect": address})
    return RedirectResponse(address, 303)


def _show_error(request: Request, status: int, text: str, headers: dict[str, str] | None = None) -> Response:
    if "text/html" not in request.headers.get("accept", ""):
        return error_response(status, text, headers)
    is_signed_out = False
    with suppress(errors.TutumdError):  # the database is unavailable, or the proxy names no user: the page says so
        is_signed_out = find_visitor(request) is None
    text = _NOT_FOUND.get(text, text)
    response = render(
        request,
        "error.html",
        status,
        heading=_HEADINGS.get(status, "That did not work"),
        error=text,
        is_signed_out=is_signed_out,
    )
    response.headers.update({**(headers or {}), "x-reason": quote(text[:300])})
    return response


def _refuse_input(request: Request, error: Any) -> Response:
    if any(each["loc"][0] == "path" for each in error.errors()):
        return _show_error(request, *describe_http_error(request, HTTPException(404)))
    return _show_error(request, 400, describe_problem(error.errors()))


_EXCEPTION_HANDLERS: dict[Any, Any] = {
    SignInNeededError: _lead_to_sign_in,
    errors.TutumdError: lambda request, error: _show_error(request, *describe_error(error)),
    HTTPException: lambda request, error: _show_error(request, *describe_http_error(request, error)),
    RequestValidationError: _refuse_input,
    # Starlette raises the error again, so that LastResort logs it.
    Exception: lambda request, _error: _show_error(request, 500, INTERNAL),
}
