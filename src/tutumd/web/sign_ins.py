"""Limits of failed sign-ins per client, in memory."""

import time
from collections.abc import Callable
from threading import Lock
from typing import Any

from tutumd.application.accounts import authenticate
from tutumd.application.digests import sha256_hex
from tutumd.errors import TooManyCallsError, UnauthorizedError
from tutumd.model import NewSession, Origin, User
from tutumd.ports.store import Accounts

MAX_FAILURES = 20
WINDOW_S = 60
MAX_REMEMBERED = 10_000


class SignIns:
    """Authenticates users. A client that failed 20 times within a minute is refused until the minute is over.

    Credentials that signed in from there before are still accepted, so that others behind the same address go on.
    """

    def __init__(self, accounts: Accounts, clock: Callable[[], float] = time.monotonic) -> None:
        self._accounts, self._clock = accounts, clock
        self._failures: dict[str, tuple[float, int]] = {}
        self._known: dict[str, None] = {}
        self._lock = Lock()

    def authenticate(self, client: str, user_name: str, key: str) -> User:
        """Return the user with a name and key. Raises UnauthorizedError, or TooManyCallsError without a look."""
        digest = sha256_hex(f"{client} {user_name}:{key}")
        if digest not in self._known:
            self._refuse_many(client)
        try:
            user = authenticate(self._accounts, user_name, key)
        except UnauthorizedError:
            self._note_failure(client)
            raise
        with self._lock:
            self._known[digest] = None
            _forget_oldest(self._known)
        return user

    def use_link(self, client: str, token: str, new: NewSession, origin: Origin) -> None:
        """Begin a session of the user of a link, which works once. Raises as `authenticate`."""
        self._refuse_many(client)
        if self._accounts.use_login_link(sha256_hex(token), new, origin) is None:
            self._note_failure(client)
            raise UnauthorizedError(
                "this link does not work: it was used or has expired, or a part of it is missing. Make another one on"
                " the server with: tutumd login-link USER"
            )

    def _refuse_many(self, client: str) -> None:
        began, count = self._failures_of(client)
        if count >= MAX_FAILURES:
            wait_s = int(began + WINDOW_S - self._clock()) + 1
            raise TooManyCallsError(f"too many wrong keys came from this address: try again in {wait_s} s", wait_s)

    def _note_failure(self, client: str) -> None:
        with self._lock:
            began, count = self._failures_of(client)
            self._failures[client] = (began, count + 1)
            _forget_oldest(self._failures)

    def _failures_of(self, client: str) -> tuple[float, int]:
        """Return when the client's present minute of failures began, and how many there were."""
        now = self._clock()
        began, count = self._failures.get(client, (now, 0))
        return (began, count) if now - began < WINDOW_S else (now, 0)


def _forget_oldest(table: dict[str, Any]) -> None:
    if len(table) > MAX_REMEMBERED:
        del table[next(iter(table))]
