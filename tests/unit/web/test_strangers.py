"""What strangers get of the server's own routes, and the shares of users."""

import asyncio
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from threading import Event, Thread
from typing import Any, cast

import pytest
from starlette.types import Message

from tests.support.waiting import wait_until
from tests.unit.web.contexts import NOW, web_context
from tutumd.errors import UnavailableError
from tutumd.model import EngineInfo, User
from tutumd.web.api.docs import OPENAPI_PATH
from tutumd.web.app import MAX_QUERY_PARTS, create_app
from tutumd.web.context import MAX_QUESTIONS, WebContext
from tutumd.web.pace import Pace
from tutumd.web.scrapes import Scrapes

SERVER = "192.0.2.10"
Answer = tuple[int, dict[bytes, bytes], bytes]


class Engines:
    """A store with one engine, and an intake that works."""

    def engines(self) -> tuple[EngineInfo, ...]:
        return (EngineInfo(name="secret-engine", kind="docker", can_create=False, last_heartbeat=NOW),)

    def wal_bytes(self) -> int:
        return 0

    def failing_s(self) -> float | None:
        return None


def ask(
    context: WebContext,
    *paths: str,
    client: str = "198.51.100.1",
    headers: Iterable[tuple[str, str]] = (),
    method: str = "GET",
) -> list[Answer]:
    """Ask for some paths, and return status, headers and body of each response."""
    app = create_app(context, "0")
    context.pace = Pace()  # the one of this event loop

    async def one(path: str) -> Answer:
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Message) -> None:
            sent.append(message)

        plain, _, query = path.partition("?")
        scope: dict[str, Any] = {"type": "http", "method": method, "path": plain, "raw_path": plain.encode()}
        scope |= {"query_string": query.encode(), "client": (client, 1), "server": (SERVER, 80)}
        raw = [(name.encode(), value.encode()) for name, value in headers]
        await app({**scope, "headers": raw}, receive, send)
        return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]

    async def run() -> list[Answer]:
        return [await one(path) for path in paths]

    return asyncio.run(run())


def test_the_openapi_document_is_written_once() -> None:
    context = web_context()
    (_, _, first), (_, _, second) = ask(context, OPENAPI_PATH, OPENAPI_PATH)
    assert first is second
    assert "/api/v1/service/" in json.loads(first)["paths"]


def readiness(client: str, context: WebContext, *headers: tuple[str, str]) -> tuple[str, bool]:
    """Return the state of the server, and whether engines are named."""
    ((_, _, body),) = ask(context, "/readyz", client=client, headers=headers)
    return json.loads(body)["status"], b"secret-engine" in body


def test_readiness_names_engines_to_the_machine_itself_and_to_who_may_read_the_metrics() -> None:
    context = web_context(store=Engines(), intake=Engines(), trusted_proxies=("192.0.2.99",))
    assert readiness("198.51.100.1", context) == ("ready", False)
    assert readiness(SERVER, context) == ("ready", True)
    assert readiness(SERVER, context, ("x-forwarded-for", SERVER)) == ("ready", False), "a proxy on this machine"
    assert readiness("192.0.2.99", context, ("x-forwarded-for", "198.51.100.1")) == ("ready", False)
    context.scrapes = Scrapes(cast(Any, None), "0", token="a-token")
    assert readiness("198.51.100.1", context, ("authorization", "Bearer a-token")) == ("ready", True)
    assert readiness("198.51.100.1", context, ("authorization", "Bearer another")) == ("ready", False)


@pytest.mark.parametrize(("failing_s", "database"), [(None, "ok"), (3.0, "unavailable")])
def test_a_server_that_stops_says_so_without_its_database(failing_s: float | None, database: str) -> None:
    class Failing(Engines):
        def failing_s(self) -> float | None:
            return failing_s

    context = web_context(intake=Failing())  # a store that has no methods
    context.is_stopping = True
    ((status, _, body),) = ask(context, "/readyz", client=SERVER)
    assert (status, json.loads(body)) == (
        503,
        {"status": "stopping", "database": database, "engines": {}, "worker": None, "notifier": "ok"},
    )


@pytest.mark.parametrize("start", ["", "/", "/tutum", "//tutum/", "/tutum/"])
def test_no_response_of_the_api_is_kept_by_caches(start: str) -> None:
    context = web_context()
    context.public_path = "/tutum"
    path = f"{start}/api/v1/service/61a29874-9134-48f9-b460-f37d4bec4826/webhook/handler/none/call/"
    others = ask(context, "/api/v1/service/", "/api/v1/nothing/", "/api/v1//auth/")
    assert {status for status, _, _ in others} == {401, 404}
    for _, headers, body in (*ask(context, path, method="POST"), *others):
        assert (headers.get(b"cache-control"), b"{" in body) == (b"no-store", True)


def test_a_query_of_too_many_parts_is_refused_unless_it_is_a_calls() -> None:
    many = "&".join("a" for _ in range(MAX_QUERY_PARTS + 2))
    for query in (many, "%41" * (MAX_QUERY_PARTS + 1)):
        ((status, _, body),) = ask(web_context(), f"/api/v1/service/?{query}")
        assert status == 400
        assert b"at most 1000 parameters" in body


def user(name: str) -> User:
    return User(uuid=name, name=name, is_admin=False, created=datetime(2026, 1, 1, tzinfo=UTC))


def test_no_user_takes_all_places_for_questions_to_engines() -> None:
    context, is_over, threads = web_context(), Event(), list[Thread]()
    waiting: list[str] = []

    def wait(name: str) -> None:
        waiting.append(name)
        is_over.wait()

    def begin(name: str) -> bool:
        """Ask an engine in a thread, and return whether the question was taken."""
        refused: list[bool] = []

        def question() -> None:
            try:
                context.ask_engine(user(name), lambda: wait(name))
            except UnavailableError:
                refused.append(True)

        before = len(waiting)
        threads.append(Thread(target=question))
        threads[-1].start()
        wait_until(lambda: len(waiting) > before or refused, "it waits, or is refused")
        return not refused

    try:
        assert [begin("greedy") for _ in range(MAX_QUESTIONS)].count(True) == MAX_QUESTIONS // 2
        assert begin("admin")
        assert begin("other")
        assert not begin("greedy")
        taken = sum(begin(f"user-{number}") for number in range(MAX_QUESTIONS))
        assert len(waiting) == MAX_QUESTIONS, f"no place is left over: {taken}"
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
    assert context.ask_engine(user("greedy"), lambda: True), "the places are free again"
