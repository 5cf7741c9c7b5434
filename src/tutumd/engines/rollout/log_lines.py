"""Output of several containers, merged in order of time."""

from collections.abc import Iterable

_MAX_BYTES = 64 * 1024


def merge_log_lines(texts: Iterable[str], limit: int) -> str:
    """Return the last `limit` lines of timestamped outputs, at most 64 KiB, in order of time and without the times."""
    if limit <= 0:
        return ""
    dated = [line.rstrip("\r").partition(" ") for text in texts for line in text.split("\n") if line]
    # RFC 3339 times in UTC sort as text. The sort is stable, so equal times keep their order.
    ordered = sorted(dated, key=lambda parts: parts[0])
    merged = "\n".join(line for _, _, line in ordered[-limit:])
    return merged.encode()[-_MAX_BYTES:].decode(errors="ignore")
