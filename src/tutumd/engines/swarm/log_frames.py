"""The frames in which the engine sends the output of tasks."""

from collections.abc import Iterator

_HEADER = 8
# Stream of the engine's own messages, such as that a task has no output yet (moby: pkg/stdcopy).
_SYSTEM_ERROR = 3


def remove_frames(raw: bytes, *, tty: bool) -> bytes:
    """Return output without its frames (Docker Engine API v1.44, "Stream format"); a terminal's output has none."""
    return raw if tty else b"".join(_frames(raw))


def _frames(raw: bytes) -> Iterator[bytes]:
    at = 0
    while at + _HEADER <= len(raw):
        size = int.from_bytes(raw[at + 4 : at + _HEADER], "big")
        if raw[at] != _SYSTEM_ERROR:
            yield raw[at + _HEADER : at + _HEADER + size]
        at += _HEADER + size
