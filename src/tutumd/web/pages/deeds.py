"""What a form did, as the page that it leads to says once: its address names the deed.

`app.js` takes it out of the address, so that neither a reload nor a bookmark says it again.
"""

from collections.abc import Mapping

DEEDS: Mapping[str, str] = {
    "created": "The handler is created. Show its URL and give it to the sender.",
    "changed": "The change is saved. Calls from now on follow it.",
    "unchanged": "Nothing was different, so nothing is changed.",
    "enabled": "The handler is enabled: calls count again.",
    "disabled": "The handler is disabled.",
    "rotated": "The handler has a new URL. Show it and give it to the sender.",
    "revoked": "The handler is revoked: its URL returns 404, for good.",
    "forgotten": "The service is forgotten, and its handlers are revoked.",
    "scaled": "The number of containers is set: as many start with the service.",
    "key-revoked": "The key is revoked: requests with it are refused.",
    "session-ended": "The session is ended.",
    "sessions-ended": "All other sessions are ended.",
}


def with_deed(address: str, deed: str) -> str:
    """Return the address of a page that says what was done: a key of `DEEDS`."""
    return f"{address}?did={deed}"
