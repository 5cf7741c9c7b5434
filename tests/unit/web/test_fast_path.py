"""The fast path responds and stores as the endpoint does."""

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from starlette.types import Message, Scope

from tests.unit.web.contexts import NOW, web_context
from tutumd.application.admission.evaluate import MAX_QUICK_BYTES
from tutumd.application.admission.options import parse_options, write_stored
from tutumd.application.refused_calls import MAX_REFUSED
from tutumd.errors import NotFoundError
from tutumd.model import Accepted, Call, EvaluationNeeded, NotQueued, Operation
from tutumd.ports.intake import OnStored
from tutumd.web.call.endpoint import CALL_PATH, CallEndpoint
from tutumd.web.call.fast_path import FastPath, HeaderCache
from tutumd.web.context import WebContext

SERVICE, HANDLER = "61a29874-9134-48f9-b460-f37d4bec4826", "7eaf7fff-882c-4f3d-9a8f-a22317ac00ce"
PATH = f"/api/v1/service/{SERVICE}/webhook/handler/{HANDLER}/call/"
ACCEPTED = Accepted(
    name='a "name" ä',
    operation=Operation.SCALEUP,
    action_uuid="a",
    handler_seq=1,
    action_seq=2,
    notes=('it goes back to "app"', "ä"),
)
HEADERS = [(b"host", b"h"), (b"user-agent", b"curl"), (b"x-a", b"\xff"), (b"x-token", b"s3cret"), (b"cookie", b"c")]

Response = tuple[int, dict[bytes, bytes], dict[str, str]]


class RecordingIntake:
    """Accepts every call, and records it."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def failing_s(self) -> float | None:
        return None

    def store(self, calls: Sequence[Call], on_stored: OnStored) -> None:
        self.calls += calls
        on_stored([ACCEPTED] * len(calls))


def scope_of(path: str, headers: list[tuple[bytes, bytes]], query: bytes = b"", method: str = "POST") -> Scope:
    return {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query,
        "headers": headers,
        "client": ("192.0.2.1", 4711),
    }


def response_of(status: int, headers: list[tuple[bytes, bytes]], content: bytes) -> Response:
    fields = json.loads(content)
    assert fields.pop("status_url").startswith("/api/v1/status/")
    lengthless = {name: value for name, value in headers if name != b"content-length"}
    assert dict(headers)[b"content-length"] == str(len(content)).encode()
    return status, lengthless, fields


def remembering_context(intake: RecordingIntake, options: Mapping[str, Any] | None) -> WebContext:
    """Return a context that has read the options of the handler before."""
    context = web_context(intake=intake)
    stored = write_stored(parse_options(options or {}, NOW), context.cipher)
    context.admission_cache.read((SERVICE, HANDLER), EvaluationNeeded(options=stored, version=7))
    return context


def call_fast(scope: Scope, body: bytes, options: Mapping[str, Any] | None = None) -> tuple[Response, Call]:
    async def run() -> tuple[Response, Call]:
        intake = RecordingIntake()
        context = remembering_context(intake, options)
        response: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        fast_path = FastPath(context, CallEndpoint(context))
        assert fast_path.handle(scope, body, lambda *parts: response.set_result(response_of(*parts)))
        status, headers, fields = await response
        # The slow path has these from the application around it.
        assert headers.pop(b"x-request-id")
        assert headers.pop(b"cache-control") == b"no-store"
        return (status, headers, fields), intake.calls[0]

    return asyncio.run(run())


def call_slow(scope: Scope, body: bytes, options: Mapping[str, Any] | None = None) -> tuple[Response, Call]:
    async def run() -> tuple[Response, Call]:
        intake = RecordingIntake()
        context = remembering_context(intake, options)
        sent: list[Message] = []
        match = CALL_PATH.fullmatch(scope["path"])
        assert match

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            sent.append(message)

        await CallEndpoint(context)(scope, receive, send, match)
        return response_of(sent[0]["status"], sent[0]["headers"], sent[1]["body"]), intake.calls[0]

    return asyncio.run(run())


@pytest.mark.parametrize(
    "scope",
    [
        scope_of(PATH, HEADERS, b"wait=5"),
        scope_of(PATH, [*HEADERS, (b"prefer", b"wait=5")]),
        scope_of(PATH, HEADERS, method="GET"),
        scope_of(PATH.upper(), HEADERS),
        scope_of(f"{PATH}0/", HEADERS),
        scope_of(f"{PATH}101/", HEADERS),
        scope_of("/api/v1/service/", HEADERS),
    ],
)
def test_any_other_request_goes_through_asgi(scope: Scope) -> None:
    context = remembering_context(RecordingIntake(), None)
    assert not FastPath(context, CallEndpoint(context)).handle(scope, b"", lambda *_: None)


class Unread(list[tuple[bytes, bytes]]):
    """Headers that nobody may look at."""

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        raise AssertionError("the headers were read")


SECRET = "a-secret-of-the-handler"
TOKEN = {"verify": {"preset": "token", "secrets": [SECRET]}}
SENT = [*HEADERS, (b"authorization", f"Bearer {SECRET}".encode())]
BODY = b'{"ref": "refs/heads/main"}'


@pytest.mark.parametrize("options", [None, TOKEN, {"show_log": True}, {"pass_body": True}])
@pytest.mark.parametrize("body", [BODY, b"", b'{"a": "\xc3\xa4\\u0000"}', b"\xff\0", b"x" * 20_000])
@pytest.mark.parametrize(
    "headers",
    [
        SENT,
        HEADERS,
        [*HEADERS, (b"x-long", b"y" * 9000)],
        [(b"idempotency-key", b"k"), *SENT],
        [(b"user-agent", b"a://b:c@d?e"), *SENT[2:]],
    ],
)
def test_fast_and_slow_calls_are_judged_stored_and_responded_to_alike(
    headers: list[tuple[bytes, bytes]], options: Mapping[str, Any] | None, body: bytes
) -> None:
    scope = scope_of(PATH if body else f"{PATH}7/", headers)
    (fast_response, fast_call), (slow_response, slow_call) = (do(scope, body, options) for do in (call_fast, call_slow))
    assert fast_response == slow_response
    assert fast_call.evaluation == slow_call.evaluation
    assert (fast_call.evaluation and fast_call.evaluation.version) == (7 if options else None)
    assert json.loads(fast_call.content) == json.loads(slow_call.content)
    assert replace(fast_call, content="") == replace(slow_call, content="")


@pytest.mark.parametrize(
    ("options", "headers", "body"),
    [
        (TOKEN, [*SENT, (b"x-b", f"with {SECRET}".encode())], BODY),
        (TOKEN, SENT, f"with {SECRET}".encode()),
        (TOKEN, SENT, b"x" * (MAX_QUICK_BYTES + 1)),
        ({"verify": {"preset": "token", "header": "X-A", "secrets": [SECRET]}}, SENT, BODY),
        ({"filter": {"preset": "branch", "branch": "main"}}, HEADERS, BODY),
        ({"enabled": False}, HEADERS, BODY),
        ({**TOKEN, "max_uses": 3}, SENT, BODY),
    ],
    ids=[
        "secret in a header",
        "secret in the body",
        "long body",
        "header that is kept",
        "filter",
        "closed",
        "max_uses",
    ],
)
def test_a_call_that_is_redacted_or_looked_up_or_may_take_long_goes_through_asgi(
    options: Mapping[str, Any], headers: list[tuple[bytes, bytes]], body: bytes
) -> None:
    async def is_handled() -> bool:
        context = remembering_context(RecordingIntake(), options)
        return FastPath(context, CallEndpoint(context)).handle(scope_of(PATH, headers), body, lambda *_: None)

    assert not asyncio.run(is_handled())


def test_a_call_that_cannot_be_read_goes_through_asgi() -> None:
    context = remembering_context(RecordingIntake(), TOKEN)
    scope = scope_of(PATH, Unread(SENT))
    assert not FastPath(context, CallEndpoint(context)).handle(scope, BODY, lambda *_: None)


def test_a_cached_set_of_headers_holds_no_secret() -> None:
    cache = HeaderCache(web_context().read_origin)
    first = cache.read(scope_of(PATH, SENT))
    assert first is not cache.read(scope_of(PATH, SENT))
    cache.keep(first)
    assert cache.read(scope_of(PATH, [*HEADERS, (b"authorization", b"Bearer another")])) is first
    assert SECRET not in repr(vars(cache))
    assert "s3cret" not in repr(vars(cache))


def test_what_the_store_decides_is_noted_and_nothing_else() -> None:
    context = remembering_context(RecordingIntake(), TOKEN)
    endpoint, limits = CallEndpoint(context), context.refused_calls
    remembered = context.admission_cache.recall((SERVICE, HANDLER))
    assert remembered is not None
    evaluation = endpoint.judge_now(scope_of(PATH, HEADERS), BODY, HANDLER, "192.0.2.1", remembered)
    assert evaluation is not None
    assert evaluation.refuse
    _, call = call_fast(scope_of(PATH, HEADERS), BODY, TOKEN)
    for _ in range(MAX_REFUSED - 1):
        limits.record(HANDLER, call.origin.address, is_refused=True)
    endpoint.settle(call, EvaluationNeeded(options={}, version=8))
    assert limits.wait_s(HANDLER, call.origin.address) == 0
    endpoint.settle(call, NotQueued())
    assert limits.wait_s(HANDLER, call.origin.address) > 0
    assert context.admission_cache.recall((SERVICE, HANDLER)) is not None
    endpoint.settle(call, NotFoundError("gone"))
    assert context.admission_cache.recall((SERVICE, HANDLER)) is None


def test_a_client_that_has_to_wait_costs_no_hmac_unless_the_store_says_so() -> None:
    context = remembering_context(RecordingIntake(), TOKEN)
    remembered = context.admission_cache.recall((SERVICE, HANDLER))
    assert remembered is not None
    for _ in range(MAX_REFUSED):
        context.refused_calls.record(HANDLER, "192.0.2.1", is_refused=True)
    assert CallEndpoint(context).judge_now(scope_of(PATH, SENT), BODY, HANDLER, "192.0.2.1", remembered) is None
