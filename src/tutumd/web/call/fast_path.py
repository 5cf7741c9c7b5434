"""The fast path of calls: code that exists for speed alone. Without it, `endpoint.py` would respond to all calls in the
same way.

Each optimization can be removed alone. Calls per second without it, as a share of those with it, on SQLite with 32
connections (median of ten alternating rounds): all of this module 0.56; HeaderCache 0.82 with senders that repeat their
headers; encode_content 0.86; for calls with a query, COMPLETE 0.82. A new optimization must gain 10 %.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from json.encoder import encode_basestring

import structlog
from starlette.types import Scope
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from tutumd.application.admission import headers
from tutumd.application.admission.fields import DEFAULTS
from tutumd.application.admission.redact import redact_call, redact_headers, truncate
from tutumd.application.admission.verify import Verification
from tutumd.application.calls import parse_amount
from tutumd.model import Accepted, Call, Origin
from tutumd.model.groups import GroupAccepted
from tutumd.ports import CallResult
from tutumd.web import access_log, uris
from tutumd.web.access_log import log_request, mark_call
from tutumd.web.body import COMPLETE
from tutumd.web.call.endpoint import (
    CALL_PATH,
    CallEndpoint,
    decode_headers,
    encode_accepted,
    encode_json,
    parse_path,
)
from tutumd.web.call.protocol import BoundedProtocol
from tutumd.web.context import WebContext
from tutumd.web.errors import render_failure

MAX_CACHED = 1_000
MAX_CACHED_BYTES = 1024
"""Limit for the headers of one call, so that the cache takes few megabytes."""

CacheKey = tuple[object, ...]
RawHeaders = list[tuple[bytes, bytes]]
Respond = Callable[[int, RawHeaders, bytes], None]
"""Sends a complete response: status, headers with the content's length, content."""
HandleFast = Callable[[Scope, bytes, Respond], bool]
"""Handles a request with its complete body; returns False if the request has to go through ASGI."""

NO_STORE = (b"cache-control", b"no-store")
_JSON = (b"content-type", b"application/json")
_ACCEPTED = (Accepted, GroupAccepted)
_ACTION_HEADER = uris.ACTION_HEADER.lower().encode()


class FastProtocol(BoundedProtocol):
    """Passes calls to the application without an ASGI task: the task and its messages take as long as everything
    else.
    """

    _begun: "tuple[RequestResponseCycle, ASGI3Application] | None" = None
    """A request whose headers have arrived. Whether its body arrived with them is known once all data is parsed."""

    def settle(self) -> None:
        super().settle()
        self._begin_incomplete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._begin_incomplete()  # the waiting request: its body may take long to arrive

    def _begin_incomplete(self) -> None:
        """Begin a request whose body did not arrive with its headers."""
        if self._begun is not None:
            begun, self._begun = self._begun, None
            super()._start_asgi_task(*begun)

    def on_message_complete(self) -> None:
        """Begin a request that is complete."""
        self.scope[COMPLETE] = True  # type: ignore[literal-required] # ASGI lets servers add keys
        super().on_message_complete()
        if self._begun is not None and self._begun[0] is self.cycle:
            begun, self._begun = self._begun, None
            self._start_request(*begun)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        if cycle.more_body:
            self._begun = (cycle, app)
        else:
            self._start_request(cycle, app)

    def _start_request(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        handle: HandleFast | None = getattr(app, "handle_fast", None)
        if handle is None or not handle(cycle.scope, bytes(cycle.body), partial(self._respond, cycle)):  # type: ignore[arg-type] # a dict
            super()._start_asgi_task(cycle, app)

    def _respond(self, cycle: RequestResponseCycle, status: int, raw_headers: RawHeaders, content: bytes) -> None:
        """Send a complete response, as the cycle's `send` would."""
        if cycle.disconnected:
            return
        cycle.response_started = cycle.response_complete = True
        closing = () if cycle.keep_alive else ((b"connection", b"close"),)
        head = [b"%b: %b\r\n" % header for header in (*cycle.default_headers, *raw_headers, *closing)]
        self.transport.write(b"".join((STATUS_LINE[status], *head, b"\r\n", content)))
        if closing:
            self.transport.close()
        cycle.on_response()


class FastPath:
    """Responds to complete calls without parameters. Passes other calls, and calls that cannot be accepted immediately,
    to the endpoint.
    """

    def __init__(self, context: WebContext, endpoint: CallEndpoint) -> None:
        self._context = context
        self._endpoint = endpoint
        self._header_cache = HeaderCache(context.read_origin)
        self._tasks: set[asyncio.Task[None]] = set()

    def handle(self, scope: Scope, body: bytes, respond: Respond) -> bool:
        """Respond to a call later, without a separate task; return False if the request has to go through ASGI."""
        began = time.monotonic()
        path = CALL_PATH.fullmatch(scope["path"])
        if path is None or scope["method"] != "POST" or scope["query_string"]:
            return False
        service, handler, amount = path.groups()
        try:
            handler_path = parse_path(service, handler)
            remembered = self._context.admission_cache.recall(handler_path)
            if remembered is None:
                return False  # before anything else of the request is read
            parsed = self._header_cache.read(scope)
            if parsed.has_prefer:
                return False
            containers = 1 if amount is None else parse_amount(amount)
            evaluation = None
            if remembered.options is not DEFAULTS:
                evaluation = self._endpoint.judge_now(scope, body, handler_path[1], parsed.origin.address, remembered)
                if evaluation is None or has_secret(parsed, body, remembered.options.verify):
                    return False
        except Exception:  # noqa: BLE001 (the endpoint raises the error again and reports it)
            return False
        call = Call(
            service_uuid=handler_path[0],
            handler_uuid=handler_path[1],
            amount=containers,
            origin=parsed.origin,
            body_size=len(body),
            content=encode_content(scope, parsed, body),
            key=(evaluation and evaluation.key) or parsed.key,
            evaluation=evaluation,
        )
        request_id = access_log.choose(parsed.request_id, scope["path"])

        def respond_with_id(status: int, raw_headers: RawHeaders, content: bytes) -> None:
            respond(status, [*raw_headers, NO_STORE, (access_log.HEADER, request_id)], content)
            if self._context.logs_requests:
                mark_call(scope, handler_path[0])
                log_request(
                    self._context, scope, status=status, headers=dict(raw_headers), began=began, request_id=request_id
                )

        def on_result(result: CallResult) -> None:
            self._endpoint.settle(call, result)
            if isinstance(result, _ACCEPTED):
                self._header_cache.keep(parsed)
                self._context.call_metrics.count(202, began)
                content, uuid = encode_accepted(self._context, call, result), result.action_uuid
                action = [(_ACTION_HEADER, uris.uri("action", uuid).encode())] if uuid else []
                respond_with_id(202, [(b"content-length", b"%d" % len(content)), _JSON, *action], content)
            else:
                # The task takes over the ID, for log lines.
                with structlog.contextvars.bound_contextvars(request_id=request_id.decode()):
                    task = asyncio.ensure_future(self._finish(scope, body, call, result, respond_with_id, began))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

        self._context.batches.submit(call, on_result)
        return True

    async def _finish(
        self, scope: Scope, body: bytes, call: Call, result: CallResult, respond: Respond, began: float
    ) -> None:
        try:
            response = await self._endpoint.respond(scope, body, call, result)
        except Exception as error:  # noqa: BLE001 (the caller gets a response whatever happened)
            response = render_failure(error)
        self._context.call_metrics.count(response.status_code, began)
        respond(response.status_code, response.raw_headers, bytes(response.body))


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedHeaders:
    """Parsed headers of a call.

    Attributes:
        cache_key: Key of the headers in HeaderCache.
        origin: With the user agent as in the stored headers.
        visible: All headers except those with the name of a secret.
        stored_json: The headers to store, as a JSON array; None if there are too many to store.
        key: The delivery's key, as `headers.delivery_key` returns it.
        has_prefer: Whether there is a header `Prefer`, which may request a wait.
        request_id: As `access_log.parse` returns it.
    """

    cache_key: CacheKey
    origin: Origin
    visible: bytes
    stored_json: str | None
    key: str | None
    has_prefer: bool
    request_id: bytes | None


class HeaderCache:
    """Parses the headers of calls, once for headers that senders repeat. An instance serves one event loop."""

    def __init__(self, read_origin: Callable[[Scope], Origin]) -> None:
        self._read_origin = read_origin
        self._cache: dict[CacheKey, ParsedHeaders] = {}

    def read(self, scope: Scope) -> ParsedHeaders:
        """Return the parsed headers of a request."""
        client = scope.get("client")
        # Headers with the name of a secret are not kept here: no parsed value depends on them.
        visible = [header for header in scope["headers"] if not headers.is_secret(header[0].decode("latin-1"))]
        cache_key = (client and client[0], *visible)
        return self._cache.get(cache_key) or self._parse(scope, cache_key, visible)

    def keep(self, parsed: ParsedHeaders) -> None:
        """Keep the parsed headers of an accepted call, unless they are unique, such as the ID of a delivery or request.

        Before acceptance, it is unknown whether the handler has a secret in a header of any name.
        """
        if parsed.key is None and parsed.request_id is None and len(parsed.visible) <= MAX_CACHED_BYTES:
            if len(self._cache) >= MAX_CACHED:
                self._cache.clear()
            self._cache[parsed.cache_key] = parsed

    def _parse(self, scope: Scope, cache_key: CacheKey, visible: RawHeaders) -> ParsedHeaders:
        decoded = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in visible]
        stored = redact_headers(decoded)
        pairs = [f"[{encode_basestring(name)},{encode_basestring(value)}]" for name, value in stored]
        return ParsedHeaders(
            cache_key=cache_key,
            origin=replace(self._read_origin(scope), user_agent=dict(stored).get("user-agent", "")),
            visible=b"\n".join(b"%b: %b" % header for header in visible),
            stored_json=f"[{','.join(pairs)}]" if len(stored) == len(decoded) else None,
            key=headers.delivery_key(decoded),
            has_prefer=any(name == "prefer" for name, _ in decoded),
            request_id=access_log.parse(visible),
        )


def has_secret(parsed: ParsedHeaders, body: bytes, verification: Verification | None) -> bool:
    """Return whether the stored content of a call may contain a secret and therefore must be redacted."""
    if verification is None:
        return False
    is_kept = verification.header and not headers.is_secret(verification.header)
    secrets = verification.secrets
    texts = {text for secret in secrets for text in (secret.encode(), secret.encode("latin-1", "ignore"))}
    return bool(is_kept) or any(text in parsed.visible or text in body for text in texts)


def encode_content(scope: Scope, parsed: ParsedHeaders, body: bytes) -> str:
    """Return the stored content of a call without parameters, as JSON. Its headers are already encoded."""
    stored = truncate(body)
    if parsed.stored_json is None or len(stored) > 1:
        return encode_json(redact_call(decode_headers(scope), (), body, None))
    return f'{{"headers":{parsed.stored_json},"body":{encode_basestring(stored["body"])}}}'
