"""The headers of a call: finding one, knowing its delivery's ID, and keeping what is no secret."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

Headers = Sequence[tuple[str, str]]
"""Names in any case, as they came; a name may be there more than once."""

MAX_KEPT_BYTES = 8 * 1024
MAX_KEY_LENGTH = 200

_SECRET = re.compile(
    r"auth|cookie|token|secret|signature|passw|passphrase|credential|session|jwt|csrf|bearer|key"
    r"|(?:^|[-_.])(?:sig|hmac|pwd|pass|pin|otp)(?:[-_.]|$)"
)
_NO_SECRETS = {"idempotency-key", "x-event-key"}
# Proxies tell the URL of a call in headers: a handler's UUID is a password, and so may be a user or a query.
_CALL_PATH = re.compile(r"(/(?:handler|trigger)/)[^/\s?#,;]+", re.IGNORECASE)
_OF_URL = re.compile(r"(?<=://)[^/\s@]+(?=@)|(?<=\?)[^\s\"'>]+")
_LONG = 8
# Each stays the same when its sender tries again, and is another for another event.
# GitLab's is Idempotency-Key (since 17.4), and webhook-id where it signs: X-Gitlab-Webhook-UUID names the webhook,
# X-Gitlab-Event-UUID a chain of events, of which the second must not be lost. Bitbucket documents no such header, and
# Docker Hub, Quay and Harbor send none.
DELIVERY_IDS = (
    "idempotency-key",
    "webhook-id",
    "x-github-delivery",
    "x-forgejo-delivery",
    "x-gitea-delivery",
    "x-gogs-delivery",
)


def find_all(headers: Headers, name: str) -> list[str]:
    """List the values of a header, whose name is in any case."""
    wanted = name.lower()
    return [value for key, value in headers if key.lower() == wanted]


@lru_cache(1024)
def is_secret(name: str) -> bool:
    """Tell whether a header's name says that its value lets somebody in."""
    return bool(_SECRET.search(name.lower())) and name.lower() not in _NO_SECRETS


def delivery_key(headers: Headers) -> str | None:
    """Find what stays the same when a sender repeats a delivery: `header:value`, at most 200 characters.

    A longer value is kept as its SHA-256. None where no such header is there, or it is empty or not unique.
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
            return hashed_key(key)
    return None


def hashed_key(key: str) -> str:
    """Write a delivery's key such that nobody reads its value."""
    return f"{key.partition(':')[0]}:sha256:{hashlib.sha256(key.encode('utf-8', 'backslashreplace')).hexdigest()}"


def keep(headers: Headers) -> tuple[tuple[str, str], ...]:
    """Take what may be stored of headers: none that is secret by its name, at most 8 KiB, names in lower case."""
    kept: list[tuple[str, str]] = []
    size = 0
    for name, value in headers:
        lower = name.lower()
        if is_secret(lower):
            continue
        if "/" in value or "\0" in value:
            value = _OF_URL.sub("…", _CALL_PATH.sub(r"\1…", value.replace("\0", "")))
        size += _size(lower) + _size(value)
        if size > MAX_KEPT_BYTES:
            break
        kept.append((lower, value))
    return tuple(kept)


def holds(value: str, secrets: Iterable[str]) -> bool:
    """Tell whether a value is one of some secrets, or has one of 8 or more characters in it."""
    return any(secret in value if len(secret) >= _LONG else secret == value.strip() for secret in secrets)


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


def as_document(headers: Iterable[tuple[str, str]], secret: str) -> dict[str, str]:
    """Make the `headers` of expressions: names in lower case, several values joined by `, `, nothing secret.

    Args:
        secret: The header that the handler's `verify` looks at, whatever it is called; empty where it names none.
    """
    document: dict[str, str] = {}
    secret = secret.lower()
    for name, value in headers:
        lower = name.lower()
        if not is_secret(lower) and lower != secret:
            document[lower] = f"{document[lower]}, {value}" if lower in document else value
    return document
