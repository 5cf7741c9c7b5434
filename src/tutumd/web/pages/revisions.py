"""Revisions of what open pages show. One read serves all open pages of a process, and only while pages ask."""

import asyncio
import time
from collections.abc import Callable

import anyio.to_thread

from tutumd.ports.store import Store

FRESH_S = 1.0
"""Older revisions, and with them the knowledge that a session goes on, do not count."""
ASKED_S = 10.0
"""A page counts as open for this time after it asked."""
_READ_AT_ONCE = 500

Watched = tuple[str, str]
"""SHA-256 of the token of a session, and the UUID of the service or action that its page is about; empty for all."""


class Revisions:
    """The revisions of the pages that are open on one event loop.

    A revision is a text that changes with the subject of a page, and with what its viewer may see and do.
    """

    def __init__(self, store: Store, clock_s: Callable[[], float] = time.monotonic) -> None:
        """Watch nothing yet. `clock_s` is monotonic."""
        self._store, self._clock_s = store, clock_s
        self._asked_s: dict[Watched, float] = {}
        self._known: dict[Watched, str] = {}
        self._read_s, self._ended = 0.0, -1
        self._batch: list[Watched] = []
        self._reading: asyncio.Future[None] | None = None

    def recall(self, watched: Watched) -> str | None:
        """Return the revision that was read last, if it is fresh."""
        now_s = self._clock_s()
        if watched not in self._known or now_s - self._read_s > FRESH_S or self._ended != self._store.ended:
            return None
        self._asked_s[watched] = now_s
        return self._known[watched]

    async def read(self, watched: Watched) -> str | None:
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
        read_s, ended, known = self._clock_s(), self._store.ended, dict[Watched, str]()
        for start in range(0, len(batch), _READ_AT_ONCE):
            some = batch[start : start + _READ_AT_ONCE]
            known |= await anyio.to_thread.run_sync(read_revisions, self._store, some)
        self._known, self._read_s, self._ended = known, read_s, ended
        # Invented sessions are not read again.
        gone = set(batch) - known.keys()
        self._asked_s = {each: self._asked_s[each] for each in (*batch, *self._asked_s) if each not in gone}


def read_revisions(store: Store, watched: list[Watched]) -> dict[Watched, str]:
    """Return the revisions of at most 500 pages, except those of sessions that have ended."""
    users = store.session_users(list({session for session, _ in watched}))
    texts = store.revisions({uuid for session, uuid in watched if session in users})
    return {(session, uuid): repr((users[session], texts.get(uuid))) for session, uuid in watched if session in users}
