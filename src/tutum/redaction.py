"""Keeps handler UUIDs, which are passwords, out of logs and error texts."""

import logging
import re

# A handler's UUID in a path or filter, and the token of a call's status URL.
_SECRET_IN_PATH = re.compile(
    r"(?i)(?:(?:webhook(?:/|%(?:25)*2f)+(?:handler|group)|(?:/|%2f)trigger)(?:/|%(?:25)*2f)+(?:\?(?:[^\s\"']*&)?uuid(?:__startswith)?=)?"
    r"|/api/v1/status(?:/|%(?:25)*2f)+)(?P<secret>(?:(?!%(?:25)*(?:2f|3f))[^/\s\"'?&])+)"
)
_CREDENTIALS_IN_URL = re.compile(r"(://)[^/@\s]+@")

# httpx2 logs each request's URL at INFO; httpcore2 logs response headers at DEBUG.
_TRANSPORT_LOGGERS = ("httpx2", *(f"httpcore2.{part}" for part in ("connection", "http11", "http2", "proxy", "socks")))


def redact(text: str, *, known_from: str = "") -> str:
    """Return `text` with handler UUIDs and status tokens cut to eight characters, and no credentials in URLs.

    A secret is recognized by a path in `text` or in `known_from`. The secret is also cut in the rest of `text`.
    """
    for secret in {match["secret"] for match in _SECRET_IN_PATH.finditer(f"{text}\n{known_from}")}:
        text = text.replace(secret, shorten(secret))
    return _CREDENTIALS_IN_URL.sub(r"\1", text)


def shorten(handler_uuid: str) -> str:
    """Return the eight characters of a handler UUID that may be shown."""
    return f"{handler_uuid[:8]}…" if len(handler_uuid) > 8 else handler_uuid


def _redact_record(record: logging.LogRecord) -> bool:
    record.msg, record.args = redact(record.getMessage()), ()
    return True


def guard_transport_logs() -> None:
    """Make the HTTP library's loggers cut handler UUIDs. Calling it again changes nothing."""
    for name in _TRANSPORT_LOGGERS:
        logging.getLogger(name).addFilter(_redact_record)
