"""The call: `POST …/webhook/handler/H/call/`, in front of the framework, without credentials."""

import asyncio
import re

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from tutumd.application import calls
from tutumd.errors import TutumdError
from tutumd.web import render
from tutumd.web.body import read_body
from tutumd.web.errors import error_response, response_to
from tutumd.web.state import Edge, origin, parse_uuid

CALL_PATH = re.compile(
    r"/api/v1/service/(?P<service>[^/]+)/webhook/handler/(?P<handler>[^/]+)/call/(?:(?P<amount>[^/]+)/)?"
)


class CallEndpoint:
    """Answers calls: 202 once a call is on disk, never before."""

    def __init__(self, edge: Edge) -> None:
        """Take what the routes work with."""
        self._edge = edge

    async def __call__(self, scope: Scope, receive: Receive, send: Send, path: "re.Match[str]") -> None:
        """Answer one request whose path matched CALL_PATH."""
        request = Request(scope, receive)
        if request.method != "POST":
            response: Response = error_response(405, "a handler is called with POST", {"Allow": "POST"})
        else:
            response = await self._call(request, path)
        await response(scope, receive, send)

    async def _call(self, request: Request, path: "re.Match[str]") -> Response:
        try:
            body = await read_body(request)
            accepted = calls.accept(
                self._edge.intake,
                service_uuid=parse_uuid(path["service"]),
                handler_uuid=parse_uuid(path["handler"]),
                amount_text=path["amount"],
                origin=origin(request, self._edge.trusted_proxies),
                body_size=len(body),
            )
            result = await asyncio.wrap_future(accepted)
        except HTTPException as error:
            return error_response(error.status_code, error.detail, dict(error.headers or {}))
        except TutumdError as error:
            return response_to(error)
        action = render.action_uri(result.action_uuid)
        content = {**render.handler_fields(result.handler), "action": action}
        return JSONResponse(content, 202, headers={render.ACTION_HEADER: action})
