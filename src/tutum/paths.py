"""Paths of requests, and parts of URLs."""

from urllib.parse import quote, urlsplit

from tutum.errors import TutumApiError


def path_of(segments: tuple[str, ...]) -> str:
    """Return path segments, encoded and joined, with a slash at the end.

    Raises:
        TutumApiError: A segment is empty or consists of dots, and would name another object.
    """
    if any(segment.strip(".") == "" for segment in segments):
        raise TutumApiError("an identifier is empty; save the object first, or name one")
    return "".join(f"{quote(segment, safe='')}/" for segment in segments)


def origin_of(url: str) -> str:
    """Return scheme, host and port of `url`, without credentials or path."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port else "")
