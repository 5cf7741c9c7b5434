"""Open pages that ask again: who gets 304 for what, and how many reads and renderings that takes."""

import asyncio
import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from tests.unit.web.contexts import NOW, web_context
from tutumd.errors import UnavailableError
from tutumd.model import Access, User
from tutumd.model import Scope as KeyScope
from tutumd.web.pages import live
from tutumd.web.pages.live import ASKED_S, BUSY_CALLS, COUNTED_S, FRESH_S, RENDERING_AT_ONCE_S, Allowance, LivePages

SERVICE = "11111111-1111-4111-8111-111111111111"
OTHER = "22222222-2222-4222-8222-222222222222"
PROXY, STRANGER = "192.0.2.1", "198.51.100.1"
ANN = User(uuid="ann", name="ann", is_admin=True, created=NOW)
BOB = User(uuid="bob", name="bob", is_admin=False, created=NOW)


@dataclass
class FakeStore:
    """Sessions and revisions that the test changes. It counts how often they are read."""

    users: dict[str, User] = field(default_factory=lambda: {"a": ANN, "b": BOB})
    texts: dict[str, str] = field(default_factory=lambda: {SERVICE: "1", OTHER: "1", "": "1"})
    reads: int = 0
    uuids: list[str] = field(default_factory=list)
    is_away: bool = False
    ended: int = 0

    def session_users(self, token_sha256s: Sequence[str]) -> Mapping[str, User]:
        self.reads += 1
        if self.is_away:
            raise UnavailableError("the database is away")
        by_hash = {hashlib.sha256(token.encode()).hexdigest(): user for token, user in self.users.items()}
        return {token: by_hash[token] for token in token_sha256s if token in by_hash}

    def revisions(self, uuids: Collection[str]) -> Mapping[str, str]:
        self.uuids = sorted(uuids)
        return {uuid: self.texts[uuid] for uuid in uuids if uuid in self.texts}


class Pages:
    """The dashboard with a site that counts what it renders, and a clock that the test moves."""

    def __init__(self, **context: Any) -> None:
        self.store, self.rendered, self.status = FakeStore(), 0, 200
        self.now_s, self.takes_s, self.address = 1000.0, 0.0, PROXY
        self.at_once, self.most_at_once, self.tag_in_page = 0, 0, ""
        self.tag_in_corner = ""
        self.web = web_context(store=self.store, trusted_proxies=(PROXY,))
        for name, value in {"has_dashboard": True, **context}.items():
            setattr(self.web, name, value)
        self.live = LivePages(self._render, self.web, lambda: self.now_s)

    async def _render(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.rendered += 1
        self.tag_in_page = scope.get("state", {}).get("live_tag", "")
        self.tag_in_corner = scope.get("state", {}).get("corner_tag", "")
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0)
        self.now_s += self.takes_s
        self.at_once -= 1
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        await send({"type": "http.response.body", "body": b"page"})

    async def get(
        self, path: str, session: str = "a", tag: str = "", query: str = "", cookie: str = "", **headers: str
    ) -> tuple[int, str]:
        """Ask as the server does: first without a task, then through ASGI. Returns status and tag."""
        cookie = cookie or f"x=1; tutumd_session={session}"
        sent = {"hx-request": "true", "cookie": cookie} | ({"if-none-match": tag} if tag else {}) | headers
        scope: Scope = {
            "type": "http",
            "method": "GET",
            "path": path,
            "query_string": query.encode(),
            "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in sent.items()],
            "client": (self.address, 1),
        }
        fast: list[tuple[int, str]] = []
        if self.live.handle_fast(scope, lambda status, raw, _: fast.append((status, dict(raw)[b"etag"].decode()))):
            return fast[0]
        if not self.web.shows_dashboard(scope):
            return 404, ""
        messages: list[Message] = []

        async def send(message: Message) -> None:
            messages.append(message)

        async def receive() -> Message:
            return {"type": "http.disconnect"}

        await self.live(scope, receive, send)
        return messages[0]["status"], dict(messages[0]["headers"]).get(b"etag", b"").decode()


PATH = f"/service/{SERVICE}/"
CHANGES: dict[str, tuple[Callable[[FakeStore], object], int]] = {
    "the page": (lambda store: store.texts.update({SERVICE: "2"}), 200),
    "the scope of the key": (lambda store: store.users.update(a=replace(ANN, access=Access(scope=KeyScope.READ))), 200),
    "the session, which ended": (lambda store: store.users.pop("a"), 401),
    "the database, which is away": (lambda store: setattr(store, "is_away", True), 503),
}


async def opened(**context: Any) -> tuple[Pages, str]:
    """Return the dashboard after somebody has opened a page, and the tag of that page."""
    pages = Pages(**context)
    return pages, (await pages.get(PATH))[1]


async def test_an_unchanged_page_is_not_rendered_again() -> None:
    pages, tag = await opened()
    assert await pages.get(PATH, tag=tag) == (304, tag)
    assert pages.rendered == 1


async def test_pages_that_ask_at_the_same_time_are_read_at_once() -> None:
    pages = Pages()
    answers = await asyncio.gather(*(pages.get(f"{PATH}handler/{number}/") for number in range(200)))
    assert {status for status, _ in answers} == {200}
    assert pages.store.reads <= 2


@pytest.mark.parametrize("what", CHANGES)
async def test_what_has_changed_is_rendered_again(what: str) -> None:
    pages, tag = await opened()
    change, status = CHANGES[what]
    change(pages.store)
    pages.now_s += FRESH_S + 0.1
    pages.status = status
    seen, new = await pages.get(PATH, tag=tag)
    assert (seen, pages.rendered) == (status, 2)
    assert new != tag and bool(new) == (status == 200)
    if new:
        assert await pages.get(PATH, tag=new) == (304, new)


@pytest.mark.parametrize(
    ("path", "session", "query"),
    [(f"/service/{OTHER}/", "a", ""), (f"{PATH}handler/1/", "a", ""), (PATH, "b", ""), (PATH, "a", "after=3")],
)
async def test_a_tag_counts_only_for_its_page_and_session(path: str, session: str, query: str) -> None:
    pages, tag = await opened()
    assert (await pages.get(path, session, tag=tag, query=query))[0] == 200
    # It is known now, so that the fast path decides.
    assert (await pages.get(path, session, tag=tag, query=query))[0] == 200


@pytest.mark.parametrize("tag", ['"1.00000000000000000000000000000000"', '"1"', '"."', "*", '"1.é"', 'W/"1."'])
async def test_a_made_up_tag_says_nothing(tag: str) -> None:
    pages = Pages()
    await pages.get(PATH)
    assert (await pages.get(PATH, tag=tag))[0] == 200


async def test_an_error_page_gets_no_tag() -> None:
    pages = Pages()
    pages.status = 404
    assert await pages.get(PATH) == (404, "")


@pytest.mark.parametrize("headers", [{"cookie": "tutumd_session=a; __Host-tutumd_session=b"}, {"cookie": "x=1"}])
async def test_other_requests_go_to_the_dashboard_without_a_tag(headers: dict[str, str]) -> None:
    pages = Pages()
    assert await pages.get(PATH, **headers) == (200, "")
    assert pages.store.reads == 0


async def test_the_user_that_the_proxy_names_and_nobody_else_is_part_of_the_tag() -> None:
    pages = Pages(user_header="X-User")
    _, tag = await pages.get(PATH, x_user="ann")
    assert await pages.get(PATH, tag=tag, x_user="ann") == (304, tag)
    assert (await pages.get(PATH, tag=tag, x_user="bob"))[0] == 200
    pages.address, pages.status = STRANGER, 401
    assert (await pages.get(PATH, tag=tag, x_user="ann"))[0] == 401


async def test_networks_without_the_dashboard_are_told_nothing() -> None:
    pages = Pages(dashboard_networks=(ip_network("192.0.2.0/24"),))
    pages.takes_s = 2 * RENDERING_AT_ONCE_S  # beyond the allowance, all others get an answer from memory
    _, tag = await pages.get(PATH)
    pages.address = STRANGER
    assert [(await pages.get(PATH, tag=each))[0] for each in (tag, "")] == [404, 404]
    pages.address = PROXY
    assert [(await pages.get(PATH, tag=each))[0] for each in (tag, "")] == [304, 204]


async def test_beyond_the_allowance_pages_keep_what_they_show() -> None:
    pages, tag = await opened()
    pages.store.texts[SERVICE] = "2"
    pages.now_s += FRESH_S + 0.1
    pages.takes_s = 0.9 * RENDERING_AT_ONCE_S
    answers = [await pages.get(PATH, tag=tag) for _ in range(4)]
    assert [status for status, _ in answers] == [200, 204, 204, 204]
    pages.now_s += 2 * COUNTED_S
    assert (await pages.get(PATH, tag=tag))[0] == 200


async def test_one_session_leaves_time_to_others() -> None:
    pages = Pages()
    pages.takes_s = 0.6 * RENDERING_AT_ONCE_S
    assert [(await pages.get(PATH, session))[0] for session in ("a", "a", "b")] == [200, 204, 200]


@pytest.mark.parametrize("path", ["logs/", "redeploy/"])
async def test_a_page_that_waits_for_an_engine_takes_no_time_of_others(path: str) -> None:
    pages = Pages()
    pages.takes_s = 2 * RENDERING_AT_ONCE_S
    assert await pages.get(PATH + path) == (200, "")
    assert (await pages.get(PATH))[0] == 200


def test_many_calls_leave_less_time_for_pages_also_if_they_come_in_batches() -> None:
    now_s, calls = 0.0, 0
    allowance = Allowance(lambda: calls, lambda: now_s)
    allowance.use("a", RENDERING_AT_ONCE_S + 0.05)
    now_s, calls = 1.0, 2 * BUSY_CALLS
    assert not allowance.has_some("a")
    now_s, calls = 2.0, calls + 1
    assert allowance.has_some("a")
    allowance.use("a", RENDERING_AT_ONCE_S + 0.2)
    for millisecond in range(2000, 12_000):
        now_s = millisecond / 1000
        calls += 0 if millisecond % 20 else 20
        assert not allowance.has_some("a")


async def test_a_whole_page_has_the_tag_of_its_corner() -> None:
    pages = Pages()
    await pages.get(PATH, query="before=7", hx_request="false")
    corner = "/running/"
    assert await pages.get(corner, tag=pages.tag_in_corner) == (304, pages.tag_in_corner)
    pages.store.texts[""] = "2"
    pages.now_s += FRESH_S + 0.1
    assert (await pages.get(corner, tag=pages.tag_in_corner))[0] == 200
    assert (await pages.get(PATH, tag=pages.tag_in_corner))[0] == 200


async def test_changed_pages_are_rendered_one_after_the_other() -> None:
    pages = Pages()
    await asyncio.gather(*(pages.get(f"{PATH}handler/{number}/") for number in range(20)))
    assert (pages.rendered, pages.most_at_once) == (20, 1)


async def test_pages_that_do_not_ask_any_more_are_not_read() -> None:
    pages = Pages()
    for path in (PATH, f"/service/{OTHER}/"):
        await pages.get(path)
    for passed_s, read in ((FRESH_S + 1, [SERVICE, OTHER]), (ASKED_S, [OTHER])):
        pages.now_s += passed_s
        await pages.get(f"/service/{OTHER}/")
        assert pages.store.uuids == read


@pytest.mark.parametrize("session", ["invented", "b"])
async def test_an_unknown_page_is_read_alone_and_an_invented_session_is_not_kept(session: str) -> None:
    pages, _ = await opened()
    pages.now_s += FRESH_S + 1
    pages.store.uuids = []
    await pages.get(f"/service/{OTHER}/", session=session)
    assert pages.store.uuids == ([] if session == "invented" else [OTHER])
    await pages.get(PATH)
    assert pages.store.uuids == ([SERVICE] if session == "invented" else [SERVICE, OTHER])


async def test_a_slow_database_is_read_less(monkeypatch: pytest.MonkeyPatch) -> None:
    pages, _ = await opened()
    read = pages.store.session_users

    def read_slowly(token_sha256s: Sequence[str]) -> Mapping[str, User]:
        pages.now_s += 1.5
        return read(token_sha256s)

    monkeypatch.setattr(pages.store, "session_users", read_slowly)
    pages.now_s += FRESH_S + 1
    for _ in range(5):
        await pages.get(PATH)
        pages.now_s += 0.5
    assert pages.store.reads == 2


async def test_pages_beyond_the_limit_are_read_until_others_close(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MAX_WATCHED", 1)
    pages, _ = await opened()
    for passed_s, reads in ((0, [2, 3]), (ASKED_S + 1, [4, 4])):
        pages.now_s += passed_s
        for expected in reads:
            await pages.get(f"/service/{OTHER}/")
            assert pages.store.reads == expected


async def test_a_session_that_this_process_has_ended_gets_nothing_from_memory() -> None:
    pages, tag = await opened()
    del pages.store.users["a"]
    pages.store.ended += 1
    assert (await pages.get(PATH, tag=tag))[0] == 200
    assert pages.rendered == 2, "by the dashboard, which leads to the sign-in"
