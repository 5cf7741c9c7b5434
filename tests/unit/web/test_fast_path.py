"""The fast path responds and stores as the endpoint does."""

import asyncio
import json
from collections.abc import Sequence

import pytest
from starlette.types import Message, Scope

from tests.unit.web.contexts import web_context
from tutumd.model import Accepted, Call, Operation
from tutumd.ports.intake import OnStored
from tutumd.web.call.endpoint import CALL_PATH, CallEndpoint
from tutumd.web.call.fast_path import FastPath

SERVICE, HANDLER = "61a29874-9134-48f9-b460-f37d4bec4826", "7eaf7fff-882c-4f3d-9a8f-a22317ac00ce"
PATH = f"/api/v1/service/{SERVICE}/webhook/handler/{HANDLER}/call/"
ACCEPTED = Accepted(name='a "name" ä', operation=Operation.SCALEUP, action_uuid="a", handler_seq=1, action_seq=2)
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


def call_fast(scope: Scope, body: bytes) -> tuple[Response, Call]:
    async def run() -> tuple[Response, Call]:
        intake = RecordingIntake()
        context = web_context(intake=intake)
        response: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        fast_path = FastPath(context, CallEndpoint(context))
        assert fast_path.handle(scope, body, lambda *parts: response.set_result(response_of(*parts)))
        return await response, intake.calls[0]

    return asyncio.run(run())


def call_slow(scope: Scope, body: bytes) -> tuple[Response, Call]:
    async def run() -> tuple[Response, Call]:
        intake = RecordingIntake()
        sent: list[Message] = []
        match = CALL_PATH.fullmatch(scope["path"])
        assert match

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            sent.append(message)

        await CallEndpoint(web_context(intake=intake))(scope, receive, send, match)
        return response_of(sent[0]["status"], sent[0]["headers"], sent[1]["body"]), intake.calls[0]

    return asyncio.run(run())


@pytest.mark.parametrize("body", [b"", b'{"a": "\xc3\xa4\\u0000"}', b"\xff\0", b"x" * 20_000])
@pytest.mark.parametrize("path", [PATH, f"{PATH}7/"])
@pytest.mark.parametrize("headers", [HEADERS, [*HEADERS, (b"x-long", b"y" * 9000)], [(b"idempotency-key", b"k")]])
def test_fast_and_slow_calls_are_stored_and_responded_to_alike(
    path: str, headers: list[tuple[bytes, bytes]], body: bytes
) -> None:
    fast_response, fast_call = call_fast(scope_of(path, headers), body)
    slow_response, slow_call = call_slow(scope_of(path, headers), body)
    assert fast_response == slow_response
    assert json.loads(fast_call.content) == json.loads(slow_call.content)
    names = ("service_uuid", "handler_uuid", "amount", "origin", "body_size", "key", "previous_key", "has_tag_param")
    assert [getattr(fast_call, name) for name in names] == [getattr(slow_call, name) for name in names]


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
    context = web_context(intake=RecordingIntake())
    assert not FastPath(context, CallEndpoint(context)).handle(scope, b"", lambda *_: None)
