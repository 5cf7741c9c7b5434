"""Stamps of what open pages show, read once a second for all pages of a process, and only while pages ask."""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

import anyio.to_thread

from tutumd.errors import UnavailableError
from tutumd.model import User
from tutumd.ports.store import Store

POLL_S = 1.0
ASKED_S = 10.0
"""How long a page is taken for open after it asked."""
FRESH_S = 2.0
"""Older stamps, and with them the knowledge that a session goes on, do not count."""
MAX_WATCHED = 5_000
"""Pages that a process watches. What others show is read when they ask."""

# The pause after a read, as a multiple of it: a slow database is read a twentieth of the time.
_PAUSE_PER_READ = 20.0
_MAX_PAUSE_S = 0.75 * FRESH_S  # else each page would be read for itself until the next round
_READ_AT_ONCE = 500


class Kind(Enum):
    """What a page is about."""

    SERVICE = "service"
    ACTION = "action"
    OVERVIEW = "overview"


@dataclass(frozen=True, slots=True)
class Watched:
    """The subject of an open page: a service, an action, or all that the viewer sees.

    Attributes:
        session: SHA-256 of the session's token.
        uuid: Of the service or action; empty for an overview.
    """

    session: str
    kind: Kind
    uuid: str = ""


@dataclass(frozen=True, slots=True)
class Stamp:
    """How a subject was when it was read.

    Attributes:
        viewer: Who the viewer is, and what they may see and do.
        text: Changes with the subject; empty if there is none.
        read_s: When it was read, on the clock of `Stamps`.
        ended: `Store.ended` before it was read.
    """

    viewer: str
    text: str
    read_s: float
    ended: int


Waiter = asyncio.Future[Stamp | None | UnavailableError]


class Stamps:
    """The stamps of the pages that are open on one event loop."""

    def __init__(self, store: Store, clock_s: Callable[[], float] = time.monotonic) -> None:
        """Watch nothing yet. `clock_s` is monotonic."""
        self._store, self._clock_s = store, clock_s
        self._asked_s: dict[Watched, float] = {}
        self._stamps: dict[Watched, Stamp] = {}
        self._waiting: dict[Watched, Waiter] = {}
        self._is_asked = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def recall(self, watched: Watched) -> Stamp | None:
        """Return the stamp that was read last, if it is fresh, and go on to read it."""
        stamp, now_s = self._stamps.get(watched), self._clock_s()
        if stamp is None or now_s - stamp.read_s > FRESH_S or stamp.ended != self._store.ended:
            return None
        self._asked_s[watched] = now_s
        return stamp

    async def read(self, watched: Watched) -> Stamp | None:
        """Return the stamp as it is now, or None if the session has ended, and go on to read it.

        Raises:
            UnavailableError: The database cannot be read.
        """
        if watched in self._asked_s or len(self._asked_s) < MAX_WATCHED:
            self._asked_s[watched] = self._clock_s()
        waiter = self._waiting.get(watched)
        if waiter is None:
            waiter = self._waiting[watched] = asyncio.get_running_loop().create_future()
        self._is_asked.set()
        if self._task is None or self._task.done():
            self._task = asyncio.ensure_future(self._poll())
        found = await asyncio.shield(waiter)  # others wait for it, too
        if isinstance(found, UnavailableError):
            raise found
        return found

    async def _poll(self) -> None:
        """Read what is waited for at once, and what pages asked for lately once a second, until no page asks."""
        due_s = 0.0
        while self._asked_s or self._waiting:
            self._is_asked.clear()
            began_s = self._clock_s()
            waiting, self._waiting = self._waiting, {}
            if began_s >= due_s:
                self._forget(before_s=began_s - ASKED_S)
                await self._read({*self._asked_s, *waiting}, waiting)
                took_s = self._clock_s() - began_s
                due_s = self._clock_s() + max(POLL_S, min(_PAUSE_PER_READ * took_s, _MAX_PAUSE_S))
            else:
                await self._read(waiting, waiting)
            try:
                await asyncio.wait_for(self._is_asked.wait(), max(0.0, due_s - self._clock_s()))
            except TimeoutError:
                pass

    def _forget(self, *, before_s: float) -> None:
        self._asked_s = {watched: asked_s for watched, asked_s in self._asked_s.items() if asked_s >= before_s}
        self._stamps = {watched: stamp for watched, stamp in self._stamps.items() if watched in self._asked_s}

    async def _read(self, all_watched: Iterable[Watched], waiting: Mapping[Watched, Waiter]) -> None:
        watched = list(all_watched)
        stamps: dict[Watched, Stamp] = {}
        failure: UnavailableError | None = None
        try:
            for start in range(0, len(watched), _READ_AT_ONCE):
                some = watched[start : start + _READ_AT_ONCE]
                stamps |= await anyio.to_thread.run_sync(read_stamps, self._store, some, self._clock_s())
        except UnavailableError as error:
            failure = error
        for each in watched:
            if each in stamps and each in self._asked_s:
                self._stamps[each] = stamps[each]
            else:
                self._stamps.pop(each, None)
                if failure is None and each not in stamps:  # invented sessions take no place of real ones
                    self._asked_s.pop(each, None)
        for each, waiter in waiting.items():
            waiter.set_result(stamps.get(each) or failure)


def read_stamps(store: Store, watched: list[Watched], now_s: float) -> dict[Watched, Stamp]:
    """Return the stamps of at most 500 subjects, except those of sessions that have ended."""
    ended = store.ended
    users = store.session_users(list({each.session for each in watched}))
    by_viewer: dict[str, User] = {describe(user): user for user in users.values()}
    watched = [each for each in watched if each.session in users]
    kinds = {kind: {each.uuid for each in watched if each.kind is kind} for kind in Kind}
    texts: dict[tuple[Kind, str], str] = {}
    if kinds[Kind.SERVICE]:
        found = store.service_stamps(list(kinds[Kind.SERVICE]))
        texts |= {(Kind.SERVICE, uuid): text for uuid, text in found.items()}
    if kinds[Kind.ACTION]:
        found = store.action_stamps(list(kinds[Kind.ACTION]))
        texts |= {(Kind.ACTION, uuid): text for uuid, text in found.items()}
    if kinds[Kind.OVERVIEW]:
        viewers = sorted({describe(users[each.session]) for each in watched if each.kind is Kind.OVERVIEW})
        overviews = store.overview_stamps([by_viewer[viewer] for viewer in viewers])
        texts |= {(Kind.OVERVIEW, viewer): text for viewer, text in zip(viewers, overviews, strict=True)}
    stamps = {}
    for each in watched:
        viewer = describe(users[each.session])
        text = texts.get((each.kind, each.uuid or viewer), "")
        stamps[each] = Stamp(viewer=viewer, text=text, read_s=now_s, ended=ended)
    return stamps


def describe(user: User) -> str:
    """Return who a user is, and what they may see and do with their credentials."""
    access = user.access
    return repr((user.uuid, user.name, user.is_admin, access.scope.value, access.service_uuid, access.stack))
