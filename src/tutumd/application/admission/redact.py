"""Redaction: the content of a call as stored for the handler's owner, without anything that grants access."""

import base64
import re
from collections.abc import Iterable, Sequence
from itertools import compress
from typing import Any
from urllib.parse import urlencode

from tutumd.application.admission.headers import Headers, hash_key, is_secret
from tutumd.application.admission.verify import Verification

MAX_HEADER_BYTES = 8 * 1024
MAX_BODY_BYTES = 16 * 1024
MIN_SECRET_LENGTH = 8
"""Shorter secrets are not searched for within texts, because they would match by chance."""

# Proxies repeat the URL of a call in headers. A handler's UUID is a password, and the user or query of a URL may be a
# password, too.
_CALL_PATH = re.compile(
    r"((?:handler|trigger|webhook(?:/|%(?:25)*2f)+group)(?:/|%(?:25)*2f)+)(?:(?!%(?:25)*(?:2f|3f|23))[^/\s?#,;])+",
    re.IGNORECASE,
)
_URL_SECRETS = re.compile(r"(?<=://)[^/\s@]+(?=@)|(?<=\?)[^\s\"'>]+")


def redact_call(
    headers: Headers, query: Sequence[tuple[str, str]], body: bytes, verification: Verification | None
) -> dict[str, Any]:
    """Return the storable content of a call, as JSON values.

    It omits headers and parameters with the name of a secret, the header that `verify` reads, and every value that
    contains a secret of the handler. `left_out` names what a redelivery lacks, except headers that no filter sees.
    """
    verified_header = verification.header.lower() if verification else ""
    secrets = _secret_forms(verification)
    visible = [(name, value) for name, value in headers if not is_secret(name) and name.lower() != verified_header]
    safe = [(name, value) for name, value in visible if not contains_secret(value, secrets)]
    stored_headers = redact_headers(safe)
    named = [(name, value) for name, value in query if not contains_secret(name, secrets)]
    is_stored = [not is_secret(name) and not contains_secret(value, secrets) for name, value in named]
    stored_query = list(compress(named, is_stored))
    redacted_body = remove_secrets(body, verification.secrets if verification else ())
    left_out = [f"header {name.lower()[:100]}" for name, value in visible if contains_secret(value, secrets)]
    left_out += [
        f"query parameter {''.join(char if char.isprintable() else '?' for char in name[:100])}"
        for (name, _), stored in zip(named, is_stored, strict=True)
        if not stored
    ]
    others = {
        "a query parameter": len(named) < len(query),
        "headers beyond 8 KiB": len(stored_headers) < len(safe),
        "secrets in the body": redacted_body != body,
    }
    left_out += [part for part, is_left_out in others.items() if is_left_out]
    content: dict[str, Any] = {"headers": stored_headers, **truncate(redacted_body)}
    if query:
        content["query"] = urlencode(stored_query)
    if left_out:
        content["left_out"] = list(dict.fromkeys(left_out))[:20]
    return content


def redact_headers(headers: Headers) -> tuple[tuple[str, str], ...]:
    """Return the storable headers: none with the name of a secret, at most 8 KiB, names in lower case."""
    stored: list[tuple[str, str]] = []
    size = 0
    for name, value in headers:
        lower = name.lower()
        if is_secret(lower):
            continue
        if "/" in value or "%" in value or "\0" in value:
            value = _URL_SECRETS.sub("…", _CALL_PATH.sub(r"\1…", value.replace("\0", "")))
        size += len(lower.encode("utf-8", "replace")) + len(value.encode("utf-8", "replace"))
        if size > MAX_HEADER_BYTES:
            break
        stored.append((lower, value))
    return tuple(stored)


def contains_secret(value: str, secrets: Iterable[str]) -> bool:
    """Return whether a value equals one of several secrets, or contains a secret of 8 or more characters."""
    return any(secret in value if len(secret) >= MIN_SECRET_LENGTH else secret == value.strip() for secret in secrets)


def remove_secrets(body: bytes, secrets: Iterable[str]) -> bytes:
    """Return the body without secrets of 8 or more characters: some senders include the secret that they sign with."""
    for secret in secrets:
        if len(secret) >= MIN_SECRET_LENGTH:
            body = body.replace(secret.encode(), "…".encode())
    return body


def truncate(body: bytes) -> dict[str, Any]:
    """Return the first 16 KiB of a body as `body`, with `is_base64` if the body is not text and `is_cut` if it is
    longer.
    """
    part = body[:MAX_BODY_BYTES]
    cut = {"is_cut": True} if len(body) > len(part) else {}
    for shorter in range(4 if cut else 1):  # the cut may split a character of up to four bytes
        try:
            text = part[: len(part) - shorter].decode()
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return {"body": text, **cut}
    return {"body": base64.b64encode(part).decode(), "is_base64": True, **cut}


def redact_key(key: str | None, verification: Verification | None) -> str | None:
    """Return the storable form of a delivery key: its hash if it contains a secret of the handler."""
    if key is None or not contains_secret(key.partition(":")[2], _secret_forms(verification)):
        return key
    return hash_key(key)


def _secret_forms(verification: Verification | None) -> list[str]:
    """Return the secrets as they are, and as they appear in a header, whose bytes are decoded as Latin-1."""
    secrets = verification.secrets if verification else ()
    return [form for secret in secrets for form in (secret, secret.encode().decode("latin-1"))]
