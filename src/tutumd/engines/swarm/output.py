"""Output of tasks as the engine sends it: framed by stream, and from several tasks one after the other."""

from collections.abc import Iterator

_HEADER = 8
_SYSTEM_ERROR = 3
"""Stream of the engine's own complaints, such as that a task has no output yet (moby: pkg/stdcopy)."""
MOST_BYTES = 64 * 1024


def unframed(raw: bytes, *, tty: bool) -> bytes:
    """Take the frames off (Docker Engine API v1.44, "Stream format"); a terminal's output has none."""
    return raw if tty else b"".join(_frames(raw))


def in_order(raw: bytes, *, tty: bool, lines: int) -> str:
    """Bring the timestamped lines of all tasks in order of time; return the last ones without their times."""
    dated = [line.partition(b" ") for line in unframed(raw, tty=tty).splitlines()]
    # RFC 3339 with nine digits in UTC sorts as text.
    ordered = sorted(dated, key=lambda parts: parts[0])
    return text(b"\n".join(line for _, _, line in ordered), lines=lines)


def text(output: bytes, *, lines: int) -> str:
    """Return the last lines, at most 64 KiB, as text."""
    if lines <= 0:
        return ""
    return "\n".join(output[-MOST_BYTES:].decode(errors="replace").splitlines()[-lines:])


def _frames(raw: bytes) -> Iterator[bytes]:
    at = 0
    while at + _HEADER <= len(raw):
        size = int.from_bytes(raw[at + 4 : at + _HEADER], "big")
        if raw[at] != _SYSTEM_ERROR:
            yield raw[at + _HEADER : at + _HEADER + size]
        at += _HEADER + size
