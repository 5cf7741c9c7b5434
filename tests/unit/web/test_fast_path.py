"""The fast path responds and stores as the endpoint does."""

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from starlette.types import Message, Scope

from tests.support.identity_tokens import AUDIENCE, IssuerKeys, claims_of, public_jwk, sign
from tests.unit.web.contexts import NOW, web_context
from tutumd.application.admission.evaluate import MAX_QUICK_BYTES, parse_options, write_stored
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


async def respond_fast(context: WebContext, scope: Scope, body: bytes) -> Response:
    response: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
    fast_path = FastPath(context, CallEndpoint(context))
    assert fast_path.handle(scope, body, lambda *parts: response.set_result(response_of(*parts)))
    status, headers, fields = await response
    # The slow path has these from the application around it.
    assert headers.pop(b"x-request-id")
    assert headers.pop(b"cache-control") == b"no-store"
    return status, headers, fields


async def respond_slowly(context: WebContext, scope: Scope, body: bytes) -> Response:
    sent: list[Message] = []
    match = CALL_PATH.fullmatch(scope["path"])
    assert match

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    await CallEndpoint(context)(scope, receive, send, match)
    return response_of(sent[0]["status"], sent[0]["headers"], sent[1]["body"])


def call(
    scope: Scope, body: bytes, options: Mapping[str, Any] | None = None, *, is_fast: bool = True
) -> tuple[Response, Call]:
    """Return the response to a call, and what was stored."""
    intake = RecordingIntake()
    context = remembering_context(intake, options)
    respond = respond_fast if is_fast else respond_slowly
    return asyncio.run(respond(context, scope, body)), intake.calls[0]


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
    (fast_response, fast_call), (slow_response, slow_call) = (
        call(scope, body, options, is_fast=is_fast) for is_fast in (True, False)
    )
    assert fast_response == slow_response
    assert fast_call.evaluation == slow_call.evaluation
    assert (fast_call.evaluation and fast_call.evaluation.version) == (7 if options else None)
    assert json.loads(fast_call.content) == json.loads(slow_call.content)
    assert replace(fast_call, content="") == replace(slow_call, content="")


LONG_BODY = b"x" * (MAX_QUICK_BYTES + 1)
OF_KEPT = {"verify": {"preset": "token", "header": "X-A", "secrets": [SECRET]}}
OF_MAIN = {"filter": {"preset": "branch", "branch": "main"}}
OTHERS: dict[str, tuple[Mapping[str, Any] | None, Scope, bytes]] = {
    "waits": (None, scope_of(PATH, HEADERS, b"wait=5"), b""),
    "prefers to wait": (None, scope_of(PATH, [*HEADERS, (b"prefer", b"wait=5")]), b""),
    "another method": (None, scope_of(PATH, HEADERS, method="GET"), b""),
    "upper case": (None, scope_of(PATH.upper(), HEADERS), b""),
    "amount 0": (None, scope_of(f"{PATH}0/", HEADERS), b""),
    "amount 101": (None, scope_of(f"{PATH}101/", HEADERS), b""),
    "another route": (None, scope_of("/api/v1/service/", HEADERS), b""),
    "secret in a header": (TOKEN, scope_of(PATH, [*SENT, (b"x-b", f"with {SECRET}".encode())]), BODY),
    "secret in the body": (TOKEN, scope_of(PATH, SENT), f"with {SECRET}".encode()),
    "long body": (TOKEN, scope_of(PATH, SENT), LONG_BODY),
    "header that is kept": (OF_KEPT, scope_of(PATH, SENT), BODY),
    "filter": (OF_MAIN, scope_of(PATH, HEADERS), BODY),
    "closed": ({"enabled": False}, scope_of(PATH, HEADERS), BODY),
    "max_uses": ({**TOKEN, "max_uses": 3}, scope_of(PATH, SENT), BODY),
    "cannot be read": (TOKEN, scope_of(PATH, Unread(SENT)), BODY),
}


def test_identity_tokens_are_judged_alike_and_are_the_key() -> None:
    options = {"verify": {"preset": "oidc", "issuer": "github", "claims": {"repository": "me/shop"}}}
    keyed = [(b"idempotency-key", b"k"), (b"authorization", f"Bearer {sign(claims_of(NOW))}".encode())]
    calls = []
    for respond in (respond_fast, respond_slowly):
        intake = RecordingIntake()
        context: Any = remembering_context(intake, options)
        context.issuer_keys, context.public_origin = IssuerKeys(), AUDIENCE
        assert asyncio.run(respond(context, scope_of(PATH, keyed), BODY))[0] == 202
        calls += intake.calls
    assert calls[0] == calls[1]
    assert calls[0].key == "oidc:a8d1"
    assert str(calls[0].evaluation and calls[0].evaluation.caller) == "me/shop@main, run 123, by ada"
    unknown: Any = remembering_context(RecordingIntake(), options)
    unknown.issuer_keys, unknown.public_origin = IssuerKeys(public_jwk("ES256")), AUDIENCE
    assert not FastPath(unknown, CallEndpoint(unknown)).handle(scope_of(PATH, keyed), BODY, lambda *_: None)


@pytest.mark.parametrize("what", OTHERS)
async def test_a_call_that_is_redacted_or_looked_up_or_may_take_long_goes_through_asgi(what: str) -> None:
    options, scope, body = OTHERS[what]
    context = remembering_context(RecordingIntake(), options)
    assert not FastPath(context, CallEndpoint(context)).handle(scope, body, lambda *_: None)


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
    _, stored = call(scope_of(PATH, HEADERS), BODY, TOKEN)
    for _ in range(MAX_REFUSED - 1):
        limits.record(HANDLER, stored.origin.address, is_refused=True)
    endpoint.settle(stored, EvaluationNeeded(options={}, version=8))
    assert limits.wait_s(HANDLER, stored.origin.address) == 0
    endpoint.settle(stored, NotQueued())
    assert limits.wait_s(HANDLER, stored.origin.address) > 0
    assert context.admission_cache.recall((SERVICE, HANDLER)) is not None
    endpoint.settle(stored, NotFoundError("gone"))
    assert context.admission_cache.recall((SERVICE, HANDLER)) is None


def test_a_client_that_has_to_wait_costs_no_hmac_unless_the_store_says_so() -> None:
    context = remembering_context(RecordingIntake(), TOKEN)
    remembered = context.admission_cache.recall((SERVICE, HANDLER))
    assert remembered is not None
    for _ in range(MAX_REFUSED):
        context.refused_calls.record(HANDLER, "192.0.2.1", is_refused=True)
    assert CallEndpoint(context).judge_now(scope_of(PATH, SENT), BODY, HANDLER, "192.0.2.1", remembered) is None
