"""The OpenAPI document, and the page `/api/docs`: Swagger UI from files of a package, so that it works without internet
access.
"""

import base64
import hashlib
import json
from functools import cache
from importlib import resources
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, Response

from tutumd.errors import NOT_FOUND, NotFoundError
from tutumd.web.access_log import CALL_ROUTE
from tutumd.web.api import freeze, schemas
from tutumd.web.api.handler_objects import ACCEPTED, CALL, GroupIn
from tutumd.web.api.objects import ERROR
from tutumd.web.body import components
from tutumd.web.context import context
from tutumd.web.uris import ACTION_HEADER, PREFIX

OPENAPI_PATH = "/api/openapi.json"

router = APIRouter(include_in_schema=False)

RESPONSES: dict[int | str, dict[str, Any]] = {
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
    GroupIn,
)

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
    """Return the OpenAPI document with the parts that FastAPI cannot know: request bodies, the call endpoint, the
    credentials.
    """
    document = app.openapi()
    for route, operations in document["paths"].items():
        for method, operation in operations.items():
            # FastAPI documents 422 for invalid input, which is 400 here.
            for status in {422, *RESPONSES} - _possible_errors(method, route, operation):
                operation["responses"].pop(str(status), None)
    names = ["service_uuid", "handler_uuid"]
    document["paths"][CALL_ROUTE] = _describe_call(names, "Perform the handler's operation.", "call")
    document["paths"][f"{CALL_ROUTE}{{amount}}/"] = _describe_call(
        [*names, "amount"], "The same; SCALEUP adds `amount` containers, 1 to 100.", "call_with_amount"
    )
    document["paths"][f"{PREFIX}/webhook/group/{{handler_uuid}}/call/"] = _describe_call(
        ["handler_uuid"], "Redeploy the services of the group.", "call_group", "GroupAcceptedOut"
    )
    document["components"]["schemas"] |= components([*_BODIES, CALL, ACCEPTED])
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
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


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
