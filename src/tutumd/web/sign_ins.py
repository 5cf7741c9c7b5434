"""Sign-ins with a key or a link, limited per client."""

import math
import time
from collections.abc import Callable

from tutumd.application.accounts import authenticate
from tutumd.application.digests import sha256_hex
from tutumd.application.refused_calls import RefusedCalls
from tutumd.errors import TooManyCallsError, UnauthorizedError
from tutumd.model import NewSession, Origin, User
from tutumd.ports import Accounts

MAX_FAILURES = 20
_ALL_USERS = ""


class SignIns:
    """Authenticates users. A client that failed 20 times within a minute is refused until the minute is over.

    Credentials that signed in from the same client before are still accepted, so that others behind the address can
    continue.
    """

    def __init__(self, accounts: Accounts, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._accounts, self._refused = accounts, RefusedCalls(monotonic, MAX_FAILURES)
        # Apart, so that clients that fail do not displace credentials that signed in.
        self._known = RefusedCalls(monotonic)

    def authenticate(self, client: str, user_name: str, key: str) -> User:
        """Return the user with a name and key. Raises UnauthorizedError, or TooManyCallsError without a check."""
        digest = sha256_hex(f"{user_name}:{key}")
        if not self._known.knows_secret(digest, client):
            self._check(client)
        try:
            user = authenticate(self._accounts, user_name, key)
        except UnauthorizedError:
            self._refused.record(_ALL_USERS, client, is_refused=True)
            raise
        self._known.record(digest, client, is_refused=False)
        return user

    def use_link(self, client: str, token: str, new: NewSession, origin: Origin) -> None:
        """Begin a session for the user of a link, which works once. Raises as `authenticate`."""
        self._check(client)
        if self._accounts.use_login_link(sha256_hex(token), new, origin) is None:
            self._refused.record(_ALL_USERS, client, is_refused=True)
            raise UnauthorizedError(
                "this link does not work: it was used or has expired, or a part of it is missing. Make another one on"
                " the server with: tutumd login-link USER"
            )

    def _check(self, client: str) -> None:
        wait_s = math.ceil(self._refused.wait_s(_ALL_USERS, client))
        if wait_s > 0:
            raise TooManyCallsError(f"too many wrong keys came from this address: try again in {wait_s} s", wait_s)
