"""Open pages that ask for their changed parts: what says "nothing changed" in microseconds, and bounds all else.

A page asks with `HX-Request: true` and, in `If-None-Match`, the tag of what it shows. A tag has the stamp of the page's
subject, and a MAC of it with the session, the rights of the viewer, the address and the query. So a session gets 304
only for a tag that it was given itself, with the rights that it has now, and only while it lasts.
"""

import asyncio
import hashlib
import hmac
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tutumd.errors import UnavailableError
from tutumd.web.call.fast_path import Respond
from tutumd.web.context import WebContext
from tutumd.web.pages.safety import SAFETY_HEADERS
from tutumd.web.pages.stamps import Kind, Stamp, Stamps, Watched

RENDERING_SHARE = 0.2
BUSY_RENDERING_SHARE = 0.01
BUSY_CALLS = 100
"""Share of the time in which a process renders changed pages for scripts; the second one while there are more than this
many calls a second. Beyond it, pages show what they have, and ask again: calls go on, however many pages are open."""
SESSION_SHARE = RENDERING_SHARE / 2
"""Share of the time for one session at most, so that it leaves some to others."""
MAX_SESSIONS = 1_000
COUNTED_S = 1.0
"""Time over which calls are counted at least: they come in batches, and between two of them there is none."""
RENDERING_AT_ONCE_S = 0.5
"""Time of rendering that is saved up: enough for all pages that people look at on a server where little is called."""

_UUID = "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
_PATH = re.compile(
    rf"/(?:(service|action)/({_UUID})/(?!logs/|redeploy/)[a-z0-9/-]*|(?:services/|connect/|running/)?)", re.ASCII
)
"""Addresses of pages that scripts refresh. Those that ask an engine are none: all others would wait with them."""
CORNER = b"/running/"
"""Address of the corner of unfinished actions, which each page has besides its own live part."""
_SESSION = re.compile(rb"(?:^|; *)(?:__Host-|__Secure-)?tutumd_session=([^;]*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request of an open page.

    Attributes:
        user: Whom a proxy names. Tags are for this user and this address, besides the subject.
        tag: Of what the page shows; empty if it does not know it.
        is_script: It asks for the part that changes.
    """

    watched: Watched
    path: bytes
    query: bytes
    user: bytes
    tag: bytes
    is_script: bool


class LivePages:
    """The dashboard, for browsers and for the pages that they have open. For one event loop."""

    def __init__(self, site: ASGIApp, context: WebContext, clock_s: Callable[[], float] = time.monotonic) -> None:
        """Wrap the dashboard. `clock_s` is monotonic."""
        self._site, self._context, self._clock_s = site, context, clock_s
        self._stamps = Stamps(context.store, clock_s)
        self._secret = context.cipher.derive("live pages")
        self._allowance = Allowance(lambda: context.call_metrics.total, clock_s)
        self._of_sessions: dict[str, Allowance] = {}
        # One after the other: several threads at once would keep the event loop from its calls.
        self._turn = asyncio.Lock()
        self._public_path = context.public_path
        self._user_header = context.user_header.lower().encode()

    def handle_fast(self, scope: Scope, respond: Respond) -> bool:
        """Respond 304 if nothing has changed, without a task, a thread or the database; return False if it has."""
        asked = self._parse(scope, scope["path"].removeprefix(self._public_path))
        if asked is None or not self._context.shows_dashboard(scope):
            return False
        stamp = self._stamps.recall(asked.watched)
        if stamp is None:
            return False
        is_ours = self._is_ours(asked, stamp)
        if not (is_ours and _has_stamp(asked.tag, stamp)) and self._has_time(asked):
            return False
        respond(304 if is_ours else 204, _unchanged(asked), b"")
        return True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond as the dashboard does. Pages get a tag; those that ask again get 304, if nothing has changed."""
        asked = self._parse(scope, scope["path"], of_scripts=False)
        if asked is None:
            await self._site(scope, receive, send)
            return
        # Before what is rendered: a change in between is then shown twice, but never missed.
        if not asked.is_script:
            corner = replace(asked, watched=Watched(asked.watched.session, Kind.OVERVIEW), path=CORNER, query=b"")
            names = {"live_tag": asked, "corner_tag": corner}
            stamps = await asyncio.gather(*map(self._find_stamp, names.values()))
            tags = zip(names.items(), stamps, strict=True)
            scope.setdefault("state", {}).update(
                {name: self._make_tag(part, stamp).decode() for (name, part), stamp in tags if stamp}
            )
            await self._site(scope, receive, send)
        elif (stamp := await self._find_stamp(asked)) is None:
            await self._site(scope, receive, send)
        elif self._is_ours(asked, stamp) and _has_stamp(asked.tag, stamp):
            await _send_empty(send, 304, asked)
        else:
            await self._refresh(asked, stamp, scope, receive, send)

    async def _find_stamp(self, asked: Asked) -> Stamp | None:
        """Return the stamp; None if the session has ended or the database is away, which the dashboard tells."""
        try:
            return self._stamps.recall(asked.watched) or await self._stamps.read(asked.watched)
        except UnavailableError:
            return None

    async def _refresh(self, asked: Asked, stamp: Stamp, scope: Scope, receive: Receive, send: Send) -> None:
        """Render a page that has changed; later, if others have used up the time for that."""

        async def send_tagged(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 200:
                message["headers"] = [*message.get("headers", ()), (b"etag", self._make_tag(asked, stamp))]
            await send(message)

        async with self._turn:
            if not self._has_time(asked):
                # 204 says as little as 304, for a page that has no tag of ours.
                await _send_empty(send, 304 if self._is_ours(asked, stamp) else 204, asked)
                return
            began_s = self._clock_s()
            try:
                await self._site(scope, receive, send_tagged)
            finally:
                self._use_time(asked, self._clock_s() - began_s)

    def _has_time(self, asked: Asked) -> bool:
        own = self._of_sessions.get(asked.watched.session)
        return self._allowance.has_some() and (own is None or own.has_some())

    def _use_time(self, asked: Asked, seconds: float) -> None:
        self._allowance.use(seconds)
        session = asked.watched.session
        if session not in self._of_sessions:
            if len(self._of_sessions) >= MAX_SESSIONS:
                self._of_sessions.clear()
            self._of_sessions[session] = Allowance(lambda: 0, self._clock_s, SESSION_SHARE)
        self._of_sessions[session].use(seconds)

    def _parse(self, scope: Scope, path: str, *, of_scripts: bool = True) -> Asked | None:
        """Return what a page asks; None if it is another request, or does not say which session it is of.

        Args:
            of_scripts: Only what scripts ask for.
        """
        if scope["method"] != "GET" or (match := _PATH.fullmatch(path)) is None:
            return None
        tag, cookies, user, is_script = b"", b"", b"", False
        for name, value in scope["headers"]:
            if name == b"if-none-match":
                tag = value
            elif name == b"cookie":
                cookies = cookies + b"; " + value if cookies else value
            elif name == b"hx-request":
                is_script = value == b"true"
            elif name == self._user_header:
                user += b"," + value
        tokens = _SESSION.findall(cookies)
        if (of_scripts and not is_script) or len(tokens) != 1:
            return None
        kind, uuid = match.groups()
        if user and (scope.get("client") or ("",))[0] not in self._context.trusted_proxies:
            user = b""  # as when a page is rendered, which checks the user that a proxy names
        return Asked(
            watched=Watched(hashlib.sha256(tokens[0]).hexdigest(), Kind(kind or "overview"), uuid or ""),
            path=path.encode(),
            query=scope["query_string"],
            user=user,
            tag=tag,
            is_script=is_script,
        )

    def _make_tag(self, asked: Asked, stamp: Stamp) -> bytes:
        text = stamp.text.encode()
        return b'"%b.%b"' % (text, self._sign(asked, stamp.viewer, text))

    def _is_ours(self, asked: Asked, stamp: Stamp) -> bool:
        """Return whether the page got its tag from us, in its session, and with the rights that it still has."""
        text, _, mac = asked.tag.strip(b'"').partition(b".")
        return hmac.compare_digest(mac, self._sign(asked, stamp.viewer, text))

    def _sign(self, asked: Asked, viewer: str, text: bytes) -> bytes:
        parts = (
            asked.watched.session.encode(),
            viewer.encode("utf-8", "surrogatepass"),
            asked.path,
            asked.query,
            asked.user,
            text,
        )
        mac = hashlib.blake2b(key=self._secret, digest_size=16)
        for part in parts:
            mac.update(b"%d:%b" % (len(part), part))
        return mac.hexdigest().encode()


class Allowance:
    """Time for rendering: a share of all time, which is smaller while there are many calls, saved up to a limit."""

    def __init__(
        self, count_calls: Callable[[], int], clock_s: Callable[[], float], share: float = RENDERING_SHARE
    ) -> None:
        """Begin with all that can be saved up. `count_calls` returns how many calls there have been."""
        self._count_calls, self._clock_s, self._share = count_calls, clock_s, share
        self._left_s, self._filled_s, self._calls = RENDERING_AT_ONCE_S, clock_s(), count_calls()

    def has_some(self) -> bool:
        """Return whether time is left."""
        now_s, calls = self._clock_s(), self._count_calls()
        if (passed_s := now_s - self._filled_s) >= COUNTED_S:
            share = BUSY_RENDERING_SHARE if calls - self._calls > BUSY_CALLS * passed_s else self._share
            self._left_s = min(RENDERING_AT_ONCE_S, self._left_s + passed_s * share)
            self._filled_s, self._calls = now_s, calls
        return self._left_s > 0

    def use(self, seconds: float) -> None:
        """Count time that was used, also if it was more than was left."""
        self._left_s -= seconds


def _has_stamp(tag: bytes, stamp: Stamp) -> bool:
    return tag.strip(b'"').partition(b".")[0] == stamp.text.encode()


def _unchanged(asked: Asked) -> list[tuple[bytes, bytes]]:
    return [(b"etag", asked.tag), *SAFETY_HEADERS]


async def _send_empty(send: Send, status: int, asked: Asked) -> None:
    await send({"type": "http.response.start", "status": status, "headers": _unchanged(asked)})
    await send({"type": "http.response.body", "body": b""})
