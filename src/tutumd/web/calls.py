"""The call: `POST …/webhook/handler/H/call/`, in front of the framework, without credentials."""

import json
import re

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from tutumd.application import calls
from tutumd.errors import TutumdError
from tutumd.model import Accepted
from tutumd.web import render
from tutumd.web.arrivals import Arrivals
from tutumd.web.body import read_body
from tutumd.web.errors import error_response, response_to
from tutumd.web.state import Edge, origin, parse_uuid

CALL_PATH = re.compile(
    r"/api/v1/service/(?P<service>[^/]+)/webhook/handler/(?P<handler>[^/]+)/call/(?:(?P<amount>[^/]+)/)?"
)
_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_HEADER = render.ACTION_HEADER.lower().encode()


class CallEndpoint:
    """Answers calls: 202 once a call is on disk, never before."""

    def __init__(self, edge: Edge) -> None:
        """Take what the routes work with."""
        self._edge = edge
        self._stored: Arrivals[Accepted] = Arrivals()

    async def __call__(self, scope: Scope, receive: Receive, send: Send, path: "re.Match[str]") -> None:
        """Answer one request whose path matched CALL_PATH."""
        request = Request(scope, receive)
        try:
            if request.method != "POST":
                raise HTTPException(405, "a handler is called with POST", {"Allow": "POST"})
            accepted = await self._accept(request, path)
        except HTTPException as error:
            await error_response(error.status_code, error.detail, dict(error.headers or {}))(scope, receive, send)
        except TutumdError as error:
            await response_to(error)(scope, receive, send)
        else:
            await _answer(accepted, send)

    async def _accept(self, request: Request, path: "re.Match[str]") -> Accepted:
        body = await read_body(request)
        future = calls.accept(
            self._edge.intake,
            service_uuid=parse_uuid(path["service"]),
            handler_uuid=parse_uuid(path["handler"]),
            amount_text=path["amount"],
            origin=origin(request, self._edge.trusted_proxies),
            body_size=len(body),
        )
        return await self._stored.wait(future)


async def _answer(accepted: Accepted, send: Send) -> None:
    """Answer 202. The framework's response would take longer to build than all the rest of it."""
    action = render.action_uri(accepted.action_uuid)
    body = _JSON.encode({**render.handler_fields(accepted.handler), "action": action}).encode()
    headers = [
        (b"content-length", str(len(body)).encode()),
        (b"content-type", b"application/json"),
        (_HEADER, action.encode()),
    ]
    await send({"type": "http.response.start", "status": 202, "headers": headers})
    await send({"type": "http.response.body", "body": body})
