"""The call: `POST …/webhook/handler/H/call/`, in front of the framework, without credentials."""

import asyncio
import json
import re
from collections.abc import Callable

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tutumd.application.calls import parse_amount
from tutumd.errors import TutumdError
from tutumd.model import Call
from tutumd.ports import Result
from tutumd.web import render
from tutumd.web.batches import Batches
from tutumd.web.body import read_body
from tutumd.web.errors import INTERNAL, error_response, log_unforeseen, response_to
from tutumd.web.state import Edge, origin, parse_uuid

CALL_PATH = re.compile(r"/api/v1/service/([^/]+)/webhook/handler/([^/]+)/call(?:/([^/]+))?/?")
_encode = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":")).encode
_HEADER = render.ACTION_HEADER.lower().encode()

Headers = list[tuple[bytes, bytes]]
Respond = Callable[[int, Headers, bytes], None]
"""Sends a whole answer: status, headers with the content's length, content."""


class CallEndpoint:
    """Answers calls: 202 once a call is on disk, never before."""

    def __init__(self, edge: Edge) -> None:
        """Take what the routes work with."""
        self._trusted_proxies = edge.trusted_proxies
        self._batches = Batches(edge.intake)

    def take(self, scope: Scope, body: bytes, respond: Respond) -> bool:
        """Answer a call that is here as a whole, without a task of its own; False where it has to go the usual way."""
        if scope["method"] != "POST" or scope["query_string"]:
            return False
        path = CALL_PATH.fullmatch(scope["path"])
        if path is None:
            return False
        try:
            call = self._read(scope, path, body)
        except TutumdError as error:
            _refuse(error, respond)
            return True
        self._batches.store(call, lambda result: _tell(result, call, respond))
        return True

    async def __call__(self, scope: Scope, receive: Receive, send: Send, path: "re.Match[str]") -> None:
        """Answer one request whose path matched CALL_PATH."""
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[Response] = loop.create_future()

        def respond(status: int, headers: Headers, content: bytes) -> None:
            response = Response(status_code=status)
            response.raw_headers, response.body = headers, content
            if not answered.done():
                answered.set_result(response)

        try:
            if scope["method"] != "POST":
                raise HTTPException(405, "a handler is called with POST", {"Allow": "POST"})
            call = self._read(scope, path, await read_body(Request(scope, receive)))
            self._batches.store(call, lambda result: _tell(result, call, respond))
            response = await answered
        except HTTPException as error:
            response = error_response(error.status_code, error.detail, dict(error.headers or {}))
        except TutumdError as error:
            response = response_to(error)
        await response(scope, receive, send)

    def _read(self, scope: Scope, path: "re.Match[str]", body: bytes) -> Call:
        service, handler, amount = path.groups()
        return Call(
            service_uuid=parse_uuid(service),
            handler_uuid=parse_uuid(handler),
            amount=1 if amount is None else parse_amount(amount),
            origin=origin(scope, self._trusted_proxies),
            body_size=len(body),
        )


def _tell(result: Result, call: Call, respond: Respond) -> None:
    if isinstance(result, Exception):
        _refuse(result, respond)
        return
    action = render.action_uri(result.action_uuid)
    fields = render.handler_fields(call.service_uuid, call.handler_uuid, result.name, result.operation)
    content = _encode({**fields, "action": action}).encode()
    headers = [
        (b"content-length", b"%d" % len(content)),
        (b"content-type", b"application/json"),
        (_HEADER, action.encode()),
    ]
    respond(202, headers, content)


def _refuse(error: Exception, respond: Respond) -> None:
    if isinstance(error, TutumdError):
        response = response_to(error)
    else:
        log_unforeseen(error)
        response = error_response(500, INTERNAL)
    respond(response.status_code, response.raw_headers, bytes(response.body))
