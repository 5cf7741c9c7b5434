"""A call to a handler that does not exist: nothing of it is read."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from starlette.types import Message

from tests.unit.web.contexts import web_context
from tutumd.errors import NotFoundError, UnavailableError
from tutumd.model import EvaluationNeeded, HandlerPath
from tutumd.web.call.batches import MAX_PATHS, Lookups
from tutumd.web.call.endpoint import CALL_PATH, CallEndpoint

SERVICE, HANDLER = "61a29874-9134-48f9-b460-f37d4bec4826", "7eaf7fff-882c-4f3d-9a8f-a22317ac00ce"
PATH = f"/api/v1/service/{SERVICE}/webhook/handler/{HANDLER}/call/"
BARE = EvaluationNeeded(options={}, version=0)
CLOSED = EvaluationNeeded(options={"enabled": False}, version=1)


class Unread(list[tuple[bytes, bytes]]):
    """Headers that nobody may look at."""

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        raise AssertionError("the headers were read")


class UnreadQuery(bytes):
    """A query that nobody may look at."""

    def decode(self, *_: Any, **__: Any) -> str:
        raise AssertionError("the query was read")


class Handlers:
    """The store as far as calls look up handlers in it."""

    def __init__(self, handlers: Mapping[HandlerPath, EvaluationNeeded]) -> None:
        self.batches: list[list[HandlerPath]] = []
        self._handlers = handlers

    def callable_handlers(self, paths: Sequence[HandlerPath]) -> Mapping[HandlerPath, EvaluationNeeded]:
        self.batches.append(list(paths))
        return {path: self._handlers[path] for path in paths if path in self._handlers}


def call(handlers: Handlers, *, headers: list[tuple[bytes, bytes]]) -> tuple[int, bytes]:
    sent: list[Message] = []

    async def receive() -> Message:
        raise AssertionError("the body was read")

    async def send(message: Message) -> None:
        sent.append(message)

    async def run() -> None:
        scope = {"type": "http", "method": "POST", "path": PATH, "client": ("192.0.2.1", 1), "headers": headers}
        match = CALL_PATH.fullmatch(PATH)
        assert match
        context = web_context(store=handlers)
        await CallEndpoint(context)({**scope, "query_string": UnreadQuery(b"a=b")}, receive, send, match)

    asyncio.run(run())
    return sent[0]["status"], sent[1]["body"]


def test_a_call_to_an_unknown_handler_is_answered_before_anything_of_it_is_read() -> None:
    status, unknown = call(Handlers({}), headers=Unread([(b"host", b"h")]))
    assert status == 404
    other_service = Handlers({("00000000-0000-4000-8000-000000000000", HANDLER): BARE})
    assert call(other_service, headers=Unread([(b"host", b"h")])) == (404, unknown)
    assert call(Handlers({(SERVICE, HANDLER): CLOSED}), headers=[]) == (404, unknown), "nor the body of a closed one"


def find_all(
    read: Callable[[Sequence[HandlerPath]], Mapping[HandlerPath, EvaluationNeeded]], paths: Sequence[HandlerPath]
) -> list[EvaluationNeeded | BaseException]:
    async def run() -> list[EvaluationNeeded | BaseException]:
        return list(await asyncio.gather(*map(Lookups(read).find, paths), return_exceptions=True))

    return asyncio.run(run())


def test_handlers_that_are_called_at_once_are_read_together_up_to_a_limit() -> None:
    handlers = Handlers({("s", "50"): BARE})
    found = find_all(handlers.callable_handlers, [("s", str(number % 60)) for number in range(100)])
    assert [number for number, each in enumerate(found) if each == BARE] == [50]
    assert sum(isinstance(each, NotFoundError) for each in found) == 99
    assert [len(batch) for batch in handlers.batches] == [60]
    found = find_all(handlers.callable_handlers, [("t", str(number)) for number in range(MAX_PATHS + 1)])
    assert [type(each) for each in found] == [NotFoundError] * MAX_PATHS + [UnavailableError]
    assert [len(batch) for batch in handlers.batches] == [60, MAX_PATHS]


def test_a_database_that_is_away_is_told_to_all_who_wait() -> None:
    reads: list[Sequence[HandlerPath]] = []

    def fail(paths: Sequence[HandlerPath]) -> Mapping[HandlerPath, EvaluationNeeded]:
        reads.append(paths)
        raise UnavailableError("away")

    assert [str(each) for each in find_all(fail, [("s", "h")] * 3)] == ["away"] * 3
    assert [len(read) for read in reads] == [1]
