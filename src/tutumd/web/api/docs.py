"""Routes of the page `/api/docs`: Swagger UI from files of a package, so that it works without internet access."""

import base64
import hashlib
import json
from functools import cache
from importlib import resources

from fastapi import APIRouter, FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, Response

from tutumd.errors import NOT_FOUND, NotFoundError
from tutumd.web.context import context

OPENAPI_PATH = "/api/openapi.json"

router = APIRouter(include_in_schema=False)

_MEDIA_TYPES = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon-32x32.png": "image/png",
}

_SAFETY = {"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY"}
_POLICY = (
    "default-src 'none'; script-src 'self' 'sha256-{digest}'; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Swagger UI consists of one script of ours, one inline script that starts it, and inline styles."""


@router.api_route(OPENAPI_PATH, methods=["GET", "HEAD"])
async def get_document(request: Request) -> Response:
    """Get the OpenAPI document."""
    return Response(_write_document(request.app), media_type="application/json")


@cache
def _write_document(app: FastAPI) -> bytes:
    return json.dumps(app.openapi(), ensure_ascii=False, separators=(",", ":")).encode()


@router.get("/api/docs")
def get_page(request: Request) -> HTMLResponse:
    """Get the documentation of the API."""
    root = context(request).public_path
    page = get_swagger_ui_html(
        openapi_url=f"{root}{OPENAPI_PATH}",
        title="tutumd API",
        swagger_js_url=f"{root}/api/docs/swagger-ui-bundle.js",
        swagger_css_url=f"{root}/api/docs/swagger-ui.css",
        swagger_favicon_url=f"{root}/api/docs/favicon-32x32.png",
    )
    script = bytes(page.body).rpartition(b"<script>")[2].partition(b"</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script).digest()).decode()
    page.headers["Content-Security-Policy"] = _POLICY.format(digest=digest)
    page.headers.update(_SAFETY)
    return page


@router.get("/api/docs/{name}")
def get_file(name: str) -> Response:
    """Get a file of Swagger UI."""
    if name not in _MEDIA_TYPES:
        raise NotFoundError(NOT_FOUND)
    return Response(
        _read_file(name), media_type=_MEDIA_TYPES[name], headers={"Cache-Control": "max-age=86400", **_SAFETY}
    )


@cache  # all connections share this copy, even if they read slowly
def _read_file(name: str) -> bytes:
    return (resources.files("fastapi_swagger.resources") / name).read_bytes()
