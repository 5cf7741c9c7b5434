"""The call: `POST …/webhook/handler/H/call/`, in front of the framework, without credentials."""

import asyncio
import json
import re
from collections.abc import Callable
from dataclasses import replace
from json.encoder import encode_basestring
from typing import Any
from urllib.parse import parse_qsl

import anyio.to_thread
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from tutumd.application import calls
from tutumd.application.admission import bodies
from tutumd.application.admission.evaluate import Received
from tutumd.application.admission.redact import keep_call, keep_key
from tutumd.application.calls import StatusTokens, parse_amount, parse_wait
from tutumd.errors import SettingsError, TutumdError, UnavailableError
from tutumd.model import Accepted, ActionState, Call, Evaluation, EvaluationNeeded
from tutumd.ports import CallResult
from tutumd.web.api import render
from tutumd.web.body import read_body
from tutumd.web.call.batches import Batches
from tutumd.web.call.header_cache import Head, Heads, decode
from tutumd.web.call.long_poll import Waits
from tutumd.web.context import UUID, WebContext, parse_uuid
from tutumd.web.errors import INTERNAL, error_response, log_unforeseen, response_to

CALL_PATH = re.compile(r"/api/v1/service/([^/]+)/webhook/handler/([^/]+)/call(?:/([^/]+))?/?")
_PLAIN_PATH = re.compile(rf"/api/v1/service/({UUID})/webhook/handler/({UUID})/call/", re.ASCII)
"""The path as it was told, of which nothing is left to check."""
WAITED = {ActionState.SUCCESS: 200, ActionState.FAILED: 502, ActionState.CANCELED: 502}
"""The status that tells the end of an action, so that `curl -f` fails where it failed."""

_encode = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":")).encode
_HEADER = render.ACTION_HEADER.lower().encode()
_TRIES = 3

RawHeaders = list[tuple[bytes, bytes]]
Respond = Callable[[int, RawHeaders, bytes], None]
"""Sends a whole answer: status, headers with the content's length, content."""


class CallEndpoint:
    """Answers calls: 202 once a call is on disk, never before."""

    def __init__(self, edge: WebContext, waits: Waits) -> None:
        """Take what the routes work with."""
        self._heads = Heads(edge.trusted_proxies)
        self._batches = Batches(edge.intake)
        self._clock = edge.clock
        self._options = edge.options
        self.status_tokens = edge.status_tokens
        self._waits = waits
        self._tasks: set[asyncio.Task[None]] = set()

    def take(self, scope: Scope, body: bytes, respond: Respond) -> bool:
        """Answer a call that is here as a whole, without a task of its own; False where it has to go the usual way."""
        if scope["method"] != "POST" or scope["query_string"]:
            return False
        head = self._heads.read(scope)
        if head.prefers:
            return False
        plain = _PLAIN_PATH.fullmatch(scope["path"])
        if plain is not None:
            service, handler = plain.groups()
            call = Call(
                service_uuid=service,
                handler_uuid=handler,
                amount=1,
                origin=head.origin,
                body_size=len(body),
                content=_content(scope, head, body),
                key=head.key,
            )
        else:
            path = CALL_PATH.fullmatch(scope["path"])
            if path is None:
                return False
            try:
                call = _call(scope, path, head, body)
            except TutumdError as error:
                _send(response_to(error), respond)
                return True

        def tell(result: CallResult) -> None:
            if isinstance(result, Accepted):
                respond(*_accepted(result, call, self.status_tokens))
            else:
                task = asyncio.ensure_future(self._go_on(scope, body, call, result, respond))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

        self._batches.store(call, tell)
        return True

    async def __call__(self, scope: Scope, receive: Receive, send: Send, path: "re.Match[str]") -> None:
        """Answer one request whose path matched CALL_PATH."""
        try:
            if scope["method"] != "POST":
                raise HTTPException(405, "a handler is called with POST", {"Allow": "POST"})
            body = await read_body(Request(scope, receive))
            call = _call(scope, path, self._heads.read(scope), body)
            wait_s = parse_wait(dict(_query(scope)).get("wait"), _header(scope, b"prefer"))
            response = await self._answer(scope, body, call, await self._store(call), wait_s)
        except HTTPException as error:
            response = error_response(error.status_code, error.detail, dict(error.headers or {}))
        except Exception as error:  # noqa: BLE001 (the edge: the client gets an answer whatever happened)
            response = _refusal(error)
        await response(scope, receive, send)

    async def _go_on(self, scope: Scope, body: bytes, call: Call, result: CallResult, respond: Respond) -> None:
        """Answer a call that could not be answered at once."""
        try:
            response = await self._answer(scope, body, call, result, None)
        except Exception as error:  # noqa: BLE001 (as above)
            response = _refusal(error)
        _send(response, respond)

    async def _answer(self, scope: Scope, body: bytes, call: Call, result: CallResult, wait_s: int | None) -> Response:
        """Evaluate a call by its handler's options and store it; with `wait`, wait for the end."""
        for _ in range(_TRIES):
            if not isinstance(result, EvaluationNeeded):
                break
            call = await self._judge(scope, body, call, result)
            result = await self._store(call)
        else:
            result = UnavailableError("the handler is being changed; try again in a moment")
        if isinstance(result, Exception):
            raise result
        if not isinstance(result, Accepted):
            return _passed(call.evaluation)
        if wait_s is None:
            status, raw_headers, content = _accepted(result, call, self.status_tokens)
            response = Response(content, status)
            response.raw_headers = raw_headers
            return response
        reference = (result.handler_seq, result.action_seq)
        status_url = render.status_uri(self.status_tokens.make(*reference))
        action = render.action_uri(result.action_uuid)
        try:
            progress = await self._waits.until_ended(reference, wait_s)
        except UnavailableError:
            told = "the call is accepted, but how it goes cannot be told now: ask at status_url, and do not call again"
            return JSONResponse({"error": told, "status_url": status_url}, 504, {render.ACTION_HEADER: action})
        fields = render.progress(progress, status_url)
        if call.evaluation is not None and call.evaluation.notes:
            fields["notes"] = list(call.evaluation.notes)
        return JSONResponse(fields, WAITED.get(progress.action.state, 504), {render.ACTION_HEADER: action})

    async def _judge(self, scope: Scope, body: bytes, call: Call, result: EvaluationNeeded) -> Call:
        address, now = call.origin.address, self._clock()
        options = self._options.read_open(call.handler_uuid, result, address, now)
        asked = decode(scope["headers"])
        received = Received(headers=asked, query=_query(scope), body=body, address=address, now=now)
        if options.looks_at_payload:
            # A hostile body may take half a second.
            evaluation = await anyio.to_thread.run_sync(calls.evaluation, options, result.version, received)
        else:
            evaluation = calls.evaluation(options, result.version, received)
        kept = keep_call(asked, received.query, body, options.verify)
        # What the store keeps in columns of its own is kept as the same header would be.
        origin = replace(call.origin, user_agent=dict(kept["headers"]).get("user-agent", ""))
        key = keep_key(call.key, options.verify)
        return replace(call, evaluation=evaluation, content=_encode(kept), origin=origin, key=key)

    async def _store(self, call: Call) -> CallResult:
        waiter: asyncio.Future[CallResult] = asyncio.get_running_loop().create_future()
        self._batches.store(call, lambda result: None if waiter.done() else waiter.set_result(result))
        return await waiter


def accepted_fields(accepted: Accepted, call: Call, status_tokens: StatusTokens) -> dict[str, Any]:
    """Write what the caller is told: the handler, the action, and where to ask how it stands."""
    fields: dict[str, Any] = {
        **render.handler_fields(call.service_uuid, call.handler_uuid, accepted.name, accepted.operation),
        "action": render.action_uri(accepted.action_uuid),
        "status_url": render.status_uri(status_tokens.make(accepted.handler_seq, accepted.action_seq)),
    }
    if call.evaluation is not None and call.evaluation.notes:
        fields["notes"] = list(call.evaluation.notes)
    return fields


def _accepted(accepted: Accepted, call: Call, status_tokens: StatusTokens) -> tuple[int, RawHeaders, bytes]:
    """Answer 202. The framework's response would take longer to build than all the rest of it."""
    action = render.action_uri(accepted.action_uuid)
    if call.evaluation is not None:
        content = _encode(accepted_fields(accepted, call, status_tokens)).encode()
    else:
        uri = render.handler_uri(call.service_uuid, call.handler_uuid)
        name = "null" if accepted.name is None else _encode(accepted.name)
        status = render.status_uri(status_tokens.make(accepted.handler_seq, accepted.action_seq))
        content = (
            f'{{"url":"{uri}call/","name":{name},"operation":"{accepted.operation.value}","resource_uri":"{uri}",'
            f'"uuid":"{call.handler_uuid}","action":"{action}","status_url":"{status}"}}'
        ).encode()
    raw_headers = [
        (b"content-length", b"%d" % len(content)),
        (b"content-type", b"application/json"),
        (_HEADER, action.encode()),
    ]
    return 202, raw_headers, content


def _passed(evaluation: Evaluation | None) -> Response:
    if evaluation is not None and evaluation.refuse:
        return JSONResponse({"error": evaluation.refuse}, 401)
    return JSONResponse({"state": "Skipped", "reason": evaluation.skip if evaluation else ""})


def _refusal(error: Exception) -> JSONResponse:
    if isinstance(error, SettingsError):
        log_unforeseen(error)
        return response_to(UnavailableError("a secret of this handler cannot be read: see the server's log"))
    if isinstance(error, TutumdError):
        return response_to(error)
    log_unforeseen(error)
    return error_response(500, INTERNAL)


def _send(response: Response, respond: Respond) -> None:
    respond(response.status_code, response.raw_headers, bytes(response.body))


def _call(scope: Scope, path: "re.Match[str]", head: Head, body: bytes) -> Call:
    """Make a call of any request. Raises NotFoundError, InvalidInputError."""
    service, handler, amount = path.groups()
    return Call(
        service_uuid=parse_uuid(service),
        handler_uuid=parse_uuid(handler),
        amount=1 if amount is None else parse_amount(amount),
        origin=head.origin,
        body_size=len(body),
        content=_content(scope, head, body),
        key=head.key,
        has_tag_param=any(name == "tag" for name, _ in _query(scope)),
    )


def _content(scope: Scope, head: Head, body: bytes) -> str:
    """Write what is kept of a call for its handler's owner, as JSON."""
    if head.kept is not None and not scope["query_string"]:
        kept = bodies.keep(body)
        if not kept.is_base64 and not kept.is_cut:
            return f'{{"headers":{head.kept},"body":{encode_basestring(kept.text)}}}'
    return _encode(keep_call(decode(scope["headers"]), _query(scope), body, None))


def _query(scope: Scope) -> list[tuple[str, str]]:
    return parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)


def _header(scope: Scope, wanted: bytes) -> str:
    return ",".join(value.decode("latin-1") for name, value in scope["headers"] if name == wanted)
