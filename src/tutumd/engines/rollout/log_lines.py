"""Output of several containers, merged in order of time."""

import re
from collections.abc import Iterable

# What has no time was not written by the container: some engines answer with a sentence of their own.
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\S+")
_MAX_BYTES = 64 * 1024


def merge_log_lines(texts: Iterable[str], limit: int) -> str:
    """Return the last `limit` lines of timestamped outputs, at most 64 KiB, in order of time and without the times."""
    if limit <= 0:
        return ""
    dated = [line.rstrip("\r").partition(" ") for text in texts for line in text.split("\n") if _TIME.match(line)]
    # RFC 3339 times in UTC sort as text. The sort is stable, so equal times keep their order.
    ordered = sorted(dated, key=lambda parts: parts[0])
    merged = "\n".join(line for _, _, line in ordered[-limit:])
    return merged.encode()[-_MAX_BYTES:].decode(errors="ignore")
