"""Open pages that request their changed parts: reports "nothing changed" in microseconds, and bounds all other work.

A page sends `HX-Request: true` and, in `If-None-Match`, the tag of its content. A tag is a keyed hash of the revision
of the page's subject, the session, the rights of the viewer, the address and the query. So a session gets 304 only for
its own tag, with its current rights, and only while it lasts.
"""

import asyncio
import hashlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import anyio.to_thread
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tutumd.errors import UnavailableError
from tutumd.ports import Store
from tutumd.web.call.fast_path import Respond
from tutumd.web.context import UUID, WebContext
from tutumd.web.pages.cookies import OWN_COOKIE, SAFETY, SAFETY_HEADERS

FRESH_S = 1.0
"""An older revision does not count, nor does its proof that a session still exists. A slow database is read less."""
ASKED_S = 10.0
"""A page counts as open for this time after its last request."""
MAX_WATCHED = 5_000
"""Pages whose revisions a process keeps. Those of others are read when they ask."""
_PAUSE_PER_READ = 20.0
"""Pause after a read of all open pages, as a multiple of its time."""
_MAX_PAUSE_S = 3.0
_READ_AT_ONCE = 500

Watched = tuple[str, str]
"""SHA-256 of the token of a session, and the UUID of the page's service or action; empty for all."""

RENDERING_SHARE = 0.2
BUSY_RENDERING_SHARE = 0.01
BUSY_CALLS = 100
"""Share of the time in which a process renders changed pages for scripts; the second value applies while there are more
than this many calls a second. Beyond the share, pages keep their content and ask again: calls continue, however many
pages are open.
"""
COUNTED_S = 1.0
"""Minimum time over which calls are counted, because they arrive in batches with nothing in between."""
RENDERING_AT_ONCE_S = 0.5
"""Maximum saved rendering time: enough for all open pages on a server with few calls."""

_PATH = re.compile(
    rf"/(?:(?:service|action)/({UUID.pattern})/(?!logs/|redeploy/|image/|rollback/)[a-z0-9/-]*|(?:services/|connect/|running/|groups/[0-9]+/|groupcall/[0-9]+/)?)",
    re.ASCII,
)
"""Addresses of pages that scripts refresh. Pages that query an engine are excluded: all others would wait with them."""
CORNER = "/running/"
"""Address of the corner of unfinished actions, which each page has besides its own live part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request of an open page.

    Attributes:
        page: Address and query of the page, and the user whom a proxy names.
        tag: Tag of the page's content; empty if the page has none.
        is_script: Whether it requests only the part that changes.
    """

    watched: Watched
    page: tuple[str, bytes, bytes]
    tag: bytes
    is_script: bool


class LivePages:
    """The dashboard, for browsers and for their open pages. An instance serves one event loop."""

    def __init__(self, site: ASGIApp, context: WebContext, clock_s: Callable[[], float] = time.monotonic) -> None:
        """Wrap the dashboard. `clock_s` is monotonic."""
        self._site, self._context, self._clock_s = site, context, clock_s
        self._revisions = Revisions(context.store, clock_s)
        self._secret = context.cipher.derive("live pages")
        self._allowance = Allowance(lambda: context.call_metrics.total, clock_s)
        # One after the other: several parallel threads would block the event loop's calls.
        self._turn = asyncio.Lock()
        self._user_header = context.user_header.lower().encode()

    def handle_fast(self, scope: Scope, respond: Respond) -> bool:
        """Respond 304 if nothing has changed, without a task, a thread or the database; return False if something
        has.
        """
        asked = self._parse(scope, scope["path"].removeprefix(self._context.public_path))
        if asked is None or not asked.is_script or not self._context.shows_dashboard(scope):
            return False
        revision = self._revisions.recall(asked.watched)
        if revision is None:
            return False
        is_same = asked.tag == self._make_tag(asked, revision)
        if not is_same and self._allowance.has_some(asked.watched[0]):
            return False
        respond(304 if is_same else 204, [(b"etag", asked.tag), *SAFETY_HEADERS], b"")
        return True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond as the dashboard does. Pages get a tag. A page that asks again gets 304 if nothing has changed."""
        asked = self._parse(scope, scope["path"])
        # Read before rendering: a change in between is then shown twice, but never missed.
        tag = await self._find_tag(asked) if asked else b""
        if asked is None or not tag:
            await self._site(scope, receive, send)
        elif not asked.is_script:
            corner = replace(asked, watched=(asked.watched[0], ""), page=(CORNER, b"", asked.page[2]))
            corner_tag = await self._find_tag(corner)
            scope.setdefault("state", {}).update(live_tag=tag.decode(), corner_tag=corner_tag.decode())
            await self._site(scope, receive, send)
        elif tag == asked.tag:
            await Response(status_code=304, headers=SAFETY | {"etag": tag.decode()})(scope, receive, send)
        else:
            await self._refresh(asked, tag, scope, receive, send)

    async def _find_tag(self, asked: Asked) -> bytes:
        """Return the tag; empty if the session has ended or the database is unavailable, which the dashboard
        reports.
        """
        try:
            revision = self._revisions.recall(asked.watched) or await self._revisions.read(asked.watched)
        except UnavailableError:
            return b""
        return self._make_tag(asked, revision) if revision else b""

    async def _refresh(self, asked: Asked, tag: bytes, scope: Scope, receive: Receive, send: Send) -> None:
        """Render a changed page; later, if others have used up the time for that."""

        async def send_tagged(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 200:
                message["headers"] = [*message.get("headers", ()), (b"etag", tag)]
            await send(message)

        async with self._turn:
            if not self._allowance.has_some(asked.watched[0]):
                await Response(status_code=204, headers=SAFETY)(scope, receive, send)
                return
            began_s = self._clock_s()
            try:
                await self._site(scope, receive, send_tagged)
            finally:
                self._allowance.use(asked.watched[0], self._clock_s() - began_s)

    def _parse(self, scope: Scope, path: str) -> Asked | None:
        """Return the request of an open page; None if it is another request, or names no session."""
        if scope["method"] != "GET" or (match := _PATH.fullmatch(path)) is None:
            return None
        headers: dict[bytes, list[bytes]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name, []).append(value)
        cookies = OWN_COOKIE.findall(b"; ".join(headers.get(b"cookie", ())))
        if len(cookies) != 1:
            return None
        # As for a rendered page, which checks the user that a proxy names.
        user = b",".join(headers.get(self._user_header, ())) if self._context.is_of_proxy(scope) else b""
        return Asked(
            watched=(hashlib.sha256(cookies[0][1]).hexdigest(), match[1] or ""),
            page=(path, scope["query_string"], user),
            tag=b"".join(headers.get(b"if-none-match", ())),
            is_script=headers.get(b"hx-request") == [b"true"],
        )

    def _make_tag(self, asked: Asked, revision: str) -> bytes:
        text = repr((asked.watched, asked.page, revision)).encode()
        return b'"%b"' % hashlib.blake2b(text, key=self._secret, digest_size=16).hexdigest().encode()


class Allowance:
    """Time for rendering: a share of all time, smaller during many calls, saved up to a limit.

    One session gets at most half of it, so that some is left for others.
    """

    def __init__(self, count_calls: Callable[[], int], clock_s: Callable[[], float]) -> None:
        """Begin with the maximum saved time. `count_calls` returns the total number of calls."""
        self._count_calls, self._clock_s = count_calls, clock_s
        self._left_s, self._filled_s, self._calls = RENDERING_AT_ONCE_S, clock_s(), count_calls()
        self._of_each_s, self._used_s = RENDERING_AT_ONCE_S / 2, dict[str, float]()

    def has_some(self, session: str) -> bool:
        """Return whether a session has time left."""
        now_s, calls = self._clock_s(), self._count_calls()
        if (passed_s := now_s - self._filled_s) >= COUNTED_S:
            share = BUSY_RENDERING_SHARE if calls - self._calls > BUSY_CALLS * passed_s else RENDERING_SHARE
            self._left_s = min(RENDERING_AT_ONCE_S, self._left_s + passed_s * share)
            self._filled_s, self._calls = now_s, calls
            self._of_each_s, self._used_s = self._left_s / 2, {}
        return self._left_s > 0 and self._used_s.get(session, 0.0) < self._of_each_s

    def use(self, session: str, seconds: float) -> None:
        """Count used time, even if it exceeds the remaining time."""
        self._left_s -= seconds
        self._used_s[session] = self._used_s.get(session, 0.0) + seconds


@dataclass(slots=True)
class Known:
    """The revision of an open page, when the page asked last, and until when and which `Store.ended` it counts."""

    revision: str
    asked_s: float
    until_s: float
    ended: int


class Revisions:
    """The revisions of the open pages of one event loop.

    A revision is a text that changes with the subject of a page, and with the rights of its viewer. Open pages are read
    together, at most once a second. A page that is not known is read alone.
    """

    def __init__(self, store: Store, clock_s: Callable[[], float] = time.monotonic) -> None:
        """Watch nothing yet. `clock_s` is monotonic."""
        self._store, self._clock_s = store, clock_s
        self._known: dict[Watched, Known] = {}
        self._next_s = clock_s()
        self._readings: dict[Watched | None, asyncio.Future[dict[Watched, str]]] = {}

    def recall(self, watched: Watched) -> str | None:
        """Return the revision from the last read, if it is fresh."""
        known = self._known.get(watched)
        if known is None:
            return None
        known.asked_s = now_s = self._clock_s()
        return known.revision if now_s <= known.until_s and known.ended == self._store.ended else None

    async def read(self, watched: Watched) -> str | None:
        """Return the current revision; None if the session has ended.

        Raises:
            UnavailableError: The database cannot be read.
        """
        if watched in self._known and self._clock_s() >= self._next_s:
            found = await self._share(None)
            if watched in found:
                return found[watched]
        return (await self._share(watched)).get(watched)

    async def _share(self, watched: Watched | None) -> dict[Watched, str]:
        """Read a page, or all open pages. Requests that come meanwhile wait for the same result."""
        if watched not in self._readings:
            reading = self._readings[watched] = asyncio.ensure_future(self._read(watched))
            reading.add_done_callback(lambda _: self._readings.pop(watched))
        return await asyncio.shield(self._readings[watched])

    async def _read(self, watched: Watched | None) -> dict[Watched, str]:
        began_s, ended, found = self._clock_s(), self._store.ended, dict[Watched, str]()
        if watched is None or len(self._known) >= MAX_WATCHED:
            self._known = {each: known for each, known in self._known.items() if known.asked_s >= began_s - ASKED_S}
        batch = list(self._known) if watched is None else [watched]
        for start in range(0, len(batch), _READ_AT_ONCE):
            some = batch[start : start + _READ_AT_ONCE]
            found |= await anyio.to_thread.run_sync(read_revisions, self._store, some)
        now_s = self._clock_s()
        if watched is None:
            self._next_s = now_s + max(FRESH_S, min(_PAUSE_PER_READ * (now_s - began_s), _MAX_PAUSE_S))
        until_s = max(now_s + FRESH_S, self._next_s)
        for each in batch:
            before = self._known.pop(each, None)
            if each in found and len(self._known) < MAX_WATCHED:
                self._known[each] = Known(found[each], before.asked_s if before else now_s, until_s, ended)
        return found


def read_revisions(store: Store, watched: list[Watched]) -> dict[Watched, str]:
    """Return the revisions of at most 500 pages, except those of sessions that have ended."""
    users = store.session_users(list({session for session, _ in watched}))
    texts = store.revisions({uuid for session, uuid in watched if session in users}) if users else {}
    return {(session, uuid): repr((users[session], texts.get(uuid))) for session, uuid in watched if session in users}
