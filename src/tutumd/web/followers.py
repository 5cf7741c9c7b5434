"""Clients that follow the logs of services: their cursors, and how many there may be.

A client follows by polling: each response has a cursor, from which the next read continues. The server keeps nothing
for a client but the time of its last read, so any web process can continue.
"""

import secrets
import time
import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from threading import Lock

from pydantic import ConfigDict, TypeAdapter

from tutumd.errors import InvalidInputError, TooManyCallsError, UnavailableError
from tutumd.model import SINCE, Output, User

MAX_FOLLOWERS, MAX_FOLLOWERS_OF_USER = 32, 8
PAUSE_S = 1.0
"""Minimum time between two reads of a follower."""
LASTS_S = 20.0
"""Time after its last read during which a follower counts."""
_MAX_POSITION = 64_000
"""Maximum bytes of a position. A cursor has it compressed, because proxies refuse addresses above 8 KB."""
_POSITION = TypeAdapter(dict[str, str], config=ConfigDict(strict=True))


class Followers:
    """The clients that follow logs, in one process."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._reads: dict[tuple[str, str], float] = {}
        self._lock = Lock()

    def read(
        self, viewer: User, cursor: str, since: str, ask: Callable[[Mapping[str, str] | None], Output]
    ) -> tuple[str, str]:
        """Return the lines after a cursor, and the next cursor. The first read, without a cursor, is not limited here.

        Args:
            since: Time in ISO 8601 before which lines are left out, for the first read; empty: none.
            ask: Reads the engine from a position.

        Raises:
            InvalidInputError: The cursor is not from a response.
            TooManyCallsError: The follower reads too often, or the user has too many followers.
            UnavailableError: There are too many followers.
        """
        follower, after = _parse_cursor(cursor) if cursor else (secrets.token_hex(8), {SINCE: since} if since else None)
        if cursor:
            self._admit(viewer.uuid, follower)
        output = ask(after)
        packed = zlib.compress(_POSITION.dump_json(dict(output.position)))
        return output.text, f"{follower}.{urlsafe_b64encode(packed).decode()}"

    def _admit(self, user: str, follower: str) -> None:
        now = self._monotonic()
        with self._lock:
            self._reads = {key: at for key, at in self._reads.items() if now - at < LASTS_S}
            last = self._reads.get((user, follower))
            if last is not None and now - last < PAUSE_S:
                raise TooManyCallsError(f"wait at least {PAUSE_S:g} s between two reads of a log that you follow", 1)
            if last is None and sum(owner == user for owner, _ in self._reads) >= MAX_FOLLOWERS_OF_USER:
                raise TooManyCallsError(f"you follow {MAX_FOLLOWERS_OF_USER} logs already: end one of them first", 60)
            if last is None and len(self._reads) >= MAX_FOLLOWERS:
                raise UnavailableError(f"users of this server follow {MAX_FOLLOWERS} logs already; try again later")
            self._reads[user, follower] = now


def _parse_cursor(text: str) -> tuple[str, dict[str, str]]:
    follower, _, packed = text.partition(".")
    try:
        position = zlib.decompressobj().decompress(urlsafe_b64decode(packed), _MAX_POSITION)
        return follower[:16], _POSITION.validate_json(position)
    except (ValueError, zlib.error) as error:
        raise InvalidInputError("after must be `next` of an earlier response") from error
