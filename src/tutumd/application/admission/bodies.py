"""The body of a call: for a variable of the new containers, and for looking at it later."""

import base64
from collections.abc import Iterable
from dataclasses import dataclass

MAX_VARIABLE_BYTES = 32 * 1024
MAX_KEPT_BYTES = 16 * 1024
_LONG = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What is stored of a body. `text` is in base64 where `is_base64`; `is_cut` where there was more."""

    text: str
    is_base64: bool
    is_cut: bool


def to_variable(body: bytes) -> tuple[str | None, str]:
    """Make the value of a variable: at most 32 KiB of UTF-8 without NUL. Else None, and why.

    The limit is below what a kernel takes for one variable (Linux: 128 KiB, MAX_ARG_STRLEN).
    """
    if len(body) > MAX_VARIABLE_BYTES:
        return None, f"the body was not passed on: it has {len(body)} bytes, more than {MAX_VARIABLE_BYTES}"
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return None, "the body was not passed on: it is not UTF-8"
    if "\0" in text:
        return None, "the body was not passed on: it has a NUL character"
    return text, ""


def without(body: bytes, secrets: Iterable[str]) -> bytes:
    """Take secrets of 8 or more characters out of a body: some senders put the secret that they sign with into it."""
    for secret in secrets:
        if len(secret) >= _LONG:
            body = body.replace(secret.encode(), "…".encode())
    return body


def keep(body: bytes) -> Kept:
    """Take the first 16 KiB of a body for looking at it later."""
    part = body[:MAX_KEPT_BYTES]
    is_cut = len(body) > len(part)
    for shorter in range(4 if is_cut else 1):  # the cut may go through a character of up to four bytes
        try:
            text = part[: len(part) - shorter].decode()
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return Kept(text=text, is_base64=False, is_cut=is_cut)
    return Kept(text=base64.b64encode(part).decode(), is_base64=True, is_cut=is_cut)
