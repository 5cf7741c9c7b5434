"""The dashboard as an application: its routes, its errors as pages, and who may see it at all."""

from ipaddress import ip_address
from typing import Any
from urllib.parse import quote

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse, Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from tutumd import errors
from tutumd.web.context import WebContext, context
from tutumd.web.errors import INTERNAL, STATUSES, error_response
from tutumd.web.pages import (
    account,
    actions,
    assets,
    audit,
    connect,
    deliveries,
    handlers,
    overview,
    service,
    service_acts,
    service_logs,
    services,
    sign_in,
)
from tutumd.web.pages.rendering import render
from tutumd.web.pages.visitors import SignInNeededError, find_visitor, protect

NOTHING_HERE = "there is nothing at this path: the routes are listed at /api/docs"


def create_site(web: WebContext, version: str) -> ASGIApp:
    """Return the application that serves the dashboard."""
    app = FastAPI(
        title="tutumd",
        version=version,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        dependencies=[Depends(allow_client), Depends(protect)],
        exception_handlers=_EXCEPTION_HANDLERS,
    )
    app.state.context = web
    for module in (
        overview,
        services,
        service,
        service_acts,
        service_logs,
        connect,
        handlers,
        deliveries,
        actions,
        account,
        audit,
        sign_in,
        assets,
    ):
        app.include_router(module.router)
    return app


def allow_client(request: Request) -> None:
    """Raise NotFoundError for clients of networks that may not see the dashboard."""
    web = context(request)
    if not web.dashboard_networks:
        return
    try:
        address = ip_address(web.read_origin(request.scope).address)
    except ValueError:
        raise errors.NotFoundError(NOTHING_HERE) from None
    if not any(address in network for network in web.dashboard_networks):
        raise errors.NotFoundError(NOTHING_HERE)


def _lead_to_sign_in(request: Request, _: Exception) -> Response:
    root, here = context(request).public_path, request.url.path
    back = f"?next={quote(here)}" if request.method == "GET" and here != "/" else ""
    headers = {"Cache-Control": "no-store"}
    if request.headers.get("hx-request") == "true":
        # The whole page leads there, not the part of it that a script asked for.
        return Response(status_code=401, headers=headers | {"HX-Redirect": f"{root}/sign-in/"})
    return RedirectResponse(f"{root}/sign-in/{back}", 303, headers=headers)


def _show_error(request: Request, status: int, text: str, headers: dict[str, str] | None = None) -> Response:
    if "text/html" not in request.headers.get("accept", ""):
        return error_response(status, text, headers)
    try:
        find_visitor(request)
    except errors.TutumdError:
        pass  # the database is away, which may be the error
    response = render(request, "error.html", status, error=text)
    response.headers.update(headers or {})
    return response


def _handle_tutumd(request: Request, error: Any) -> Response:
    status = next((STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES), 500)
    headers = {"Retry-After": str(error.retry_after_s)} if isinstance(error, errors.TooManyCallsError) else None
    return _show_error(request, status, str(error), headers)


def _handle_http(request: Request, error: Any) -> Response:
    text = NOTHING_HERE if error.status_code == 404 else str(error.detail)
    return _show_error(request, error.status_code, text, dict(error.headers or {}))


_EXCEPTION_HANDLERS: dict[Any, Any] = {
    SignInNeededError: _lead_to_sign_in,
    errors.TutumdError: _handle_tutumd,
    HTTPException: _handle_http,
    RequestValidationError: lambda request, _error: _show_error(request, 404, NOTHING_HERE),
    # Starlette raises the error again, so that LastResort logs it.
    Exception: lambda request, _error: _show_error(request, 500, INTERNAL),
}
