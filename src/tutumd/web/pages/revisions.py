"""Revisions of what open pages show. One read serves all open pages of a process, and only while pages ask."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import anyio.to_thread

from tutumd.ports.store import Store

FRESH_S = 1.0
"""Older revisions, and with them the knowledge that a session goes on, do not count."""
ASKED_S = 10.0
"""A page counts as open for this time after it asked."""
_READ_AT_ONCE = 500

Watched = tuple[str, str]
"""SHA-256 of the token of a session, and the UUID of the service or action that its page is about; empty for all."""


@dataclass(frozen=True, slots=True)
class Revision:
    """How the subject of a page was when it was read.

    Attributes:
        viewer: Who the viewer is, and what they may see and do.
        text: Changes with the subject; empty if there is none.
        read_s: When it was read, on the clock of `Revisions`.
        ended: `Store.ended` before it was read.
    """

    viewer: str
    text: str
    read_s: float
    ended: int


class Revisions:
    """The revisions of the pages that are open on one event loop."""

    def __init__(self, store: Store, clock_s: Callable[[], float] = time.monotonic) -> None:
        """Watch nothing yet. `clock_s` is monotonic."""
        self._store, self._clock_s = store, clock_s
        self._asked_s: dict[Watched, float] = {}
        self._known: dict[Watched, Revision] = {}
        self._batch: list[Watched] = []
        self._reading: asyncio.Future[None] | None = None

    def recall(self, watched: Watched) -> Revision | None:
        """Return the revision that was read last, if it is fresh."""
        revision, now_s = self._known.get(watched), self._clock_s()
        if revision is None or now_s - revision.read_s > FRESH_S or revision.ended != self._store.ended:
            return None
        self._asked_s[watched] = now_s
        return revision

    async def read(self, watched: Watched) -> Revision | None:
        """Return the revision as it is now, read together with those of all open pages; None if the session has ended.

        Raises:
            UnavailableError: The database cannot be read.
        """
        now_s = self._asked_s[watched] = self._clock_s()
        if self._reading is None or self._reading.done():
            self._batch = [each for each, asked_s in self._asked_s.items() if now_s - asked_s <= ASKED_S]
            self._reading = asyncio.ensure_future(self._read(self._batch))
        elif watched not in self._batch:
            await asyncio.wait([self._reading])
            return self.recall(watched) or await self.read(watched)
        await asyncio.shield(self._reading)  # others wait for it, too
        return self._known.get(watched)

    async def _read(self, batch: list[Watched]) -> None:
        known: dict[Watched, Revision] = {}
        for start in range(0, len(batch), _READ_AT_ONCE):
            some = batch[start : start + _READ_AT_ONCE]
            known |= await anyio.to_thread.run_sync(read_revisions, self._store, some, self._clock_s())
        self._known = known
        # Invented sessions and UUIDs are not read again.
        gone = {each for each in batch if each not in known or not known[each].text}
        self._asked_s = {each: self._asked_s[each] for each in (*batch, *self._asked_s) if each not in gone}


def read_revisions(store: Store, watched: list[Watched], now_s: float) -> dict[Watched, Revision]:
    """Return the revisions of at most 500 pages, except those of sessions that have ended."""
    ended = store.ended
    users = store.session_users(list({session for session, _ in watched}))
    open_pages = [each for each in watched if each[0] in users]
    texts = store.revisions({uuid for _, uuid in open_pages})
    revisions = {}
    for session, uuid in open_pages:
        user = users[session]
        viewer = repr(
            (user.uuid, user.name, user.is_admin, user.access.scope.value, user.access.service_uuid, user.access.stack)
        )
        revisions[session, uuid] = Revision(viewer, texts.get(uuid, ""), now_s, ended)
    return revisions
