"""Headers of calls: lookup, the delivery key, and the names of secret headers."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

Headers = Sequence[tuple[str, str]]
"""Names in any case, as received; a name may occur more than once."""

MAX_KEY_LENGTH = 200

_SECRET_NAME = re.compile(
    r"auth|cookie|token|secret|signature|passw|passphrase|credential|session|jwt|csrf|bearer|key"
    r"|(?:^|[-_.])(?:sig|hmac|pwd|pass|pin|otp)(?:[-_.]|$)"
)
_NOT_SECRET = {"idempotency-key", "x-event-key"}
# Each of these headers stays the same when the sender retries, and differs between events. GitLab sends Idempotency-Key
# (since 17.4), and webhook-id if it signs. X-Gitlab-Webhook-UUID names the webhook. X-Gitlab-Event-UUID names a chain
# of events, of which the second must not be lost. Bitbucket documents no such header, and Docker Hub, Quay and Harbor
# send none.
_SENDERS_IDS = ("x-github-delivery", "x-forgejo-delivery", "x-gitea-delivery", "x-gogs-delivery")
# The first header is the only header that a signature can cover (Standard Webhooks, GitLab): a replay of a signed
# delivery can change any other header. The other presets sign the body alone, and two events may have the same body.
DELIVERY_IDS = ("webhook-id", "idempotency-key", *_SENDERS_IDS)


def find_all(headers: Headers, name: str) -> list[str]:
    """Return the values of a header. The case of the name does not matter."""
    lower = name.lower()
    return [value for key, value in headers if key.lower() == lower]


@lru_cache(1024)  # with this check: for calls with a query, 0.88 of the calls per second without it
def is_secret(name: str) -> bool:
    """Return whether a header's name says that its value grants access."""
    return bool(_SECRET_NAME.search(name.lower())) and name.lower() not in _NOT_SECRET


def delivery_key(headers: Headers) -> str | None:
    """Return the value that stays the same when a sender repeats a delivery: `header:value`, at most 200 characters.

    A longer value is replaced by its SHA-256. None if there is no such header, or if it is empty or ambiguous.
    """
    names = {name.lower() for name, _ in headers}
    for name in DELIVERY_IDS:
        if name not in names:
            continue
        values = {value.strip() for value in find_all(headers, name)} - {""}
        if len(values) == 1:
            key = f"{name}:{values.pop()}"
            if len(key) <= MAX_KEY_LENGTH and key.isascii() and key.isprintable():
                return key
            return hash_key(key)
    return None


def hash_key(key: str) -> str:
    """Return a delivery key whose value is replaced by its SHA-256."""
    return f"{key.partition(':')[0]}:sha256:{hashlib.sha256(key.encode('utf-8', 'backslashreplace')).hexdigest()}"


def as_document(headers: Iterable[tuple[str, str]], signature_header: str) -> dict[str, str]:
    """Return the `headers` of expressions: names in lower case, repeated values joined by `, `, no secrets.

    Args:
        signature_header: The header that the handler's `verify` reads, whatever its name; empty if it names none.
    """
    document: dict[str, str] = {}
    for name, value in headers:
        lower = name.lower()
        if not is_secret(lower) and lower != signature_header.lower():
            document[lower] = f"{document[lower]}, {value}" if lower in document else value
    return document
