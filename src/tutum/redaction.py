"""Keeps handler UUIDs, which are passwords, out of logs and error texts."""

from __future__ import annotations

import logging
import re

_HANDLER_IN_PATH = re.compile(
    r"(/(?:webhook/+handler|trigger)/+(?:\?(?:[^\s\"']*&)?uuid(?:__startswith)?=)?)([^/\s\"'?&]+)"
)
# A call's status URL.
_TICKET_IN_PATH = re.compile(r"(/api/v1/status/+)([^/\s\"'?&]+)")
_CREDENTIALS_IN_URL = re.compile(r"(://)[^/@\s]+@")

# httpx2 logs each request's URL at INFO; httpcore2 logs answer headers at DEBUG.
_TRANSPORT_LOGGERS = ("httpx2", *(f"httpcore2.{part}" for part in ("connection", "http11", "http2", "proxy", "socks")))


def redact(text: str, *, known_from: str = "") -> str:
    """Return `text` with handler UUIDs and tickets of calls cut to eight characters, and no credentials in URLs.

    A handler UUID is known by a path that it stands in, in `text` or in `known_from`; it is cut
    where it stands alone as well.
    """
    both = f"{text}\n{known_from}"
    for secret in {match[2] for pattern in (_HANDLER_IN_PATH, _TICKET_IN_PATH) for match in pattern.finditer(both)}:
        text = text.replace(secret, shorten(secret))
    return _CREDENTIALS_IN_URL.sub(r"\1", text)


def shorten(handler_uuid: str) -> str:
    """Return the eight characters of a handler UUID that may be shown in an error text."""
    return f"{handler_uuid[:8]}…" if len(handler_uuid) > 8 else handler_uuid


class _HandlerFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        cut = redact(text)
        if cut != text:
            record.msg, record.args = cut, ()
        return True


_FILTER = _HandlerFilter()


def guard_transport_logs() -> None:
    """Make the HTTP library's loggers cut handler UUIDs. Calling it again changes nothing."""
    for name in _TRANSPORT_LOGGERS:
        logging.getLogger(name).addFilter(_FILTER)
