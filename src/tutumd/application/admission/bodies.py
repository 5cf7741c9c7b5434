"""Bodies of calls: as a variable of the new containers, and truncated for storage."""

import base64
from collections.abc import Iterable
from dataclasses import dataclass

from tutumd.reasons import Reason

MAX_VARIABLE_BYTES = 32 * 1024
MAX_STORED_BYTES = 16 * 1024
MIN_SECRET_LENGTH = 8
"""Shorter secrets are not searched for within texts: they would match by chance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBody:
    """The stored part of a body: base64 if `is_base64`, incomplete if `is_cut`."""

    text: str
    is_base64: bool
    is_cut: bool


def to_variable(body: bytes) -> tuple[str | None, Reason | None]:
    """Return the body as the value of a variable, or None and why it cannot be one.

    The limit of 32 KiB is below that of a kernel (Linux: 128 KiB, MAX_ARG_STRLEN).
    """
    if len(body) > MAX_VARIABLE_BYTES:
        return None, Reason("body-too-large", (str(len(body)), str(MAX_VARIABLE_BYTES)))
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return None, Reason("body-not-text")
    if "\0" in text:
        return None, Reason("body-has-nul")
    return text, None


def remove_secrets(body: bytes, secrets: Iterable[str]) -> bytes:
    """Return the body without secrets of 8 or more characters: some senders send the secret that they sign with."""
    for secret in secrets:
        if len(secret) >= MIN_SECRET_LENGTH:
            body = body.replace(secret.encode(), "…".encode())
    return body


def truncate(body: bytes) -> StoredBody:
    """Return the first 16 KiB of a body as text, or as base64 if it is not text."""
    part = body[:MAX_STORED_BYTES]
    is_cut = len(body) > len(part)
    for shorter in range(4 if is_cut else 1):  # the cut may split a character of up to four bytes
        try:
            text = part[: len(part) - shorter].decode()
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return StoredBody(text=text, is_base64=False, is_cut=is_cut)
    return StoredBody(text=base64.b64encode(part).decode(), is_base64=True, is_cut=is_cut)
