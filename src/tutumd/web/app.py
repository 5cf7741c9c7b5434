"""The ASGI application: tidies the path, sends calls the short way and everything else through FastAPI."""

import re
from typing import Any

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from tutumd.web import errors
from tutumd.web.api import actions, containers, deliveries, docs, handlers, schemas, server, services
from tutumd.web.call.endpoint import CALL_PATH, CallEndpoint
from tutumd.web.call.fast_path import FastPath
from tutumd.web.context import WebContext
from tutumd.web.uris import PREFIX

_SLASHES = re.compile(r"/{2,}")

_RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"model": schemas.ErrorOut, "description": text}
    for status, text in {
        400: "Bad content: the text says what was wanted and what was found",
        401: "Credentials are missing or wrong",
        404: "No such object, or it is not yours",
    }.items()
}

_OF_CALLS = {
    200: "`Skipped`: the call does not count; with `wait`: `Success`",
    401: "The signature or token of the sender is missing or wrong",
    404: "No such handler, or it cannot be called now or from there",
    413: "The body is too long",
    429: "Too many calls: again after `Retry-After` seconds",
    502: "With `wait`: `Failed` or `Canceled`, and why",
    503: "Not accepted: again after `Retry-After` seconds",
    504: "With `wait`: not ended yet, and it goes on",
}


def create_app(context: WebContext, version: str) -> ASGIApp:
    """Build the application that serves the API."""
    app = FastAPI(
        title="tutumd",
        version=version,
        description="Webhook handlers for containers: redeploy or scale one service with a POST to a secret URL.",
        openapi_url=docs.OPENAPI_PATH,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        responses=_RESPONSES,
    )
    app.state.context = context
    errors.install(app)
    for module in (handlers, deliveries, services, actions, containers, server, docs):
        app.include_router(module.router)
    _document(app)
    endpoint = CallEndpoint(context)
    return _Front(errors.LastResort(app), endpoint, FastPath(context, endpoint))


class _Front:
    """What every request meets first. `//` counts as `/`, and a slash at the end may be there or not."""

    def __init__(self, app: ASGIApp, endpoint: CallEndpoint, fast_path: FastPath) -> None:
        self._app = app
        self._endpoint = endpoint
        self.take = fast_path.take  # for FastProtocol

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        if "//" in path:
            path = _SLASHES.sub("/", path)
        matched = CALL_PATH.fullmatch(path)
        if matched:
            await self._endpoint(scope, receive, send, matched)
            return
        path = path.rstrip("/")
        if not path or path.startswith(f"{PREFIX}/"):
            path += "/"
        scope["path"] = path
        await self._app(scope, receive, send)


def _document(app: FastAPI) -> None:
    """Add to the OpenAPI document what FastAPI cannot see: the call, and the credentials."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        base = f"{PREFIX}/service/{{service_uuid}}/webhook/handler/{{handler_uuid}}/call/"
        if base in document["paths"]:
            return document
        for operations in document["paths"].values():
            for operation in operations.values():
                # FastAPI's answer to bad content, which is a 400 here.
                operation["responses"].pop("422", None)
        names = ["service_uuid", "handler_uuid"]
        document["paths"][base] = _call_path(names, "Perform the handler's operation.", "call")
        document["paths"][f"{base}{{amount}}/"] = _call_path(
            [*names, "amount"], "The same; SCALEUP adds `amount` containers, 1 to 100.", "call_with_amount"
        )
        document["components"]["schemas"]["CallOut"] = schemas.CallOut.model_json_schema()
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


def _call_path(names: list[str], text: str, operation: str) -> dict[str, Any]:
    return {
        "post": {
            "tags": ["webhook handlers"],
            "summary": text,
            "description": "No credentials; any body up to 1 MiB. 202 once the call is on disk. With `?wait=S` (to "
            "600) or `Prefer: wait=S` the answer comes when the action ended: 200, or 502 where it failed, or 504 "
            "where it goes on; its body is then that of `status_url`. A call that a filter leaves out: 200, `Skipped`.",
            "operationId": operation,
            "security": [],
            "parameters": [
                *({"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names),
                *({"name": name, "in": "query", "schema": {"type": "string"}} for name in ("wait", "tag")),
            ],
            "responses": {
                "202": {
                    "description": "Accepted",
                    "headers": {"X-Tutum-Action-URI": {"schema": {"type": "string"}}},
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/CallOut"}}},
                },
                **{str(status): {"description": response["description"]} for status, response in _RESPONSES.items()},
                **{str(status): {"description": description} for status, description in _OF_CALLS.items()},
            },
        }
    }
