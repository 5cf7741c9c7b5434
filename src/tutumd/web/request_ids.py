"""IDs of requests, which appear in each log line of a request and in its response."""

import re
import secrets
from collections.abc import Iterable
from itertools import count

HEADER = b"x-request-id"
_SENT = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_prefix = secrets.token_hex(6)
_numbers = count(1)


def make() -> bytes:
    """Return a new ID, unique across processes."""
    return b"%b-%x" % (_prefix.encode(), next(_numbers))


def parse(headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
    """Return the ID that a client or proxy sent; None if there is none, or if it must not be logged."""
    sent = [value for name, value in headers if name == HEADER]
    return sent[0] if len(sent) == 1 and _SENT.fullmatch(sent[0]) else None


def choose(sent: bytes | None, path: str) -> bytes:
    """Return the ID of a request: the received ID, unless it contains a part of the path, which may be a secret.

    Dashes are ignored: many clients write a UUID without them.
    """
    if sent is None:
        return make()
    given = sent.decode().lower().replace("-", "")
    # Shorter parts are no secrets.
    parts = (part for part in path.lower().replace("-", "").split("/") if len(part) >= 8)
    return make() if any(part in given for part in parts) else sent
