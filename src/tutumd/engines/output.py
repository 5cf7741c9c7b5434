"""Output of containers: lines with their times, merged in order, and the position from which a later read continues."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tutumd.errors import InvalidInputError
from tutumd.model import LINES_MISSING, SINCE, Output

_LAG = timedelta(minutes=1)
_EPOCH = datetime.fromtimestamp(0, UTC)
"""No line is older. Engines refuse negative times."""
# A line without a time was not written by the container: some engines respond with their own sentence.
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\S+")
MAX_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Output of one container.

    Attributes:
        id: The key of the container in positions.
        text: The output. Each line begins with its time in RFC 3339; other lines are ignored.
        label: Text at the start of each merged line.
    """

    id: str
    text: str
    label: str = ""


def merge_output(sources: Collection[Source], limit: int, after: Mapping[str, str] | None = None) -> Output:
    """Return the last `limit` lines, at most 64 KiB for each source, in order of time and without the times.

    The position of a source is the time of its last line, and the number of its lines with that time. A time may be as
    coarse as a second, and an engine may repeat all lines of the second from which it reads.

    Args:
        after: Position of an earlier read. Lines up to it are left out.
    """
    after = after or {}
    position = {SINCE: after[SINCE]} if SINCE in after else {}
    dated: list[tuple[str, str]] = []
    is_cut = False
    for source in sources:
        lines = [line.rstrip("\r").partition(" ") for line in source.text.split("\n") if _TIME.match(line)]
        # Without the Z, times in RFC 3339 sort as text, whatever the number of their decimals.
        timed = [(time.removesuffix("Z"), source.label + text) for time, _, text in lines]
        last, _, seen = after.get(source.id, "").partition(" ")
        repeated = [line for line in timed if line[0] == last]
        is_cut |= bool(last) and not repeated and (len(timed) >= limit or len(source.text) >= MAX_BYTES)
        dated += repeated[read_count(seen) :] + [line for line in timed if line[0] > last]
        if timed:
            newest = max(time for time, _ in timed)
            position[source.id] = f"{newest} {sum(time == newest for time, _ in timed)}"
        elif source.id in after:
            position[source.id] = after[source.id]
    # The sort is stable, so equal times keep their order.
    ordered = sorted(dated, key=lambda line: line[0])
    merged = "\n".join(text for _, text in ordered[max(0, len(ordered) - max(limit, 0)) :]).encode()
    most = MAX_BYTES * max(1, len(sources))
    text = merged[-most:].decode(errors="ignore")
    is_cut |= len(ordered) > limit or len(merged) > most
    return Output(text=f"{LINES_MISSING}\n{text}" if after and is_cut else text, position=position)


def since_of(after: Mapping[str, str] | None, sources: Collection[str]) -> datetime | None:
    """Return the time from which an engine has to read these sources together, in whole seconds; None: from the start.

    A source that wrote nothing for a minute does not make the engine repeat the output of the others.

    Raises:
        InvalidInputError: The position contains something else than times.
    """
    after = after or {}
    positions = [after[source] for source in sources if source in after] or [after.get(SINCE, "")]
    try:
        times = [datetime.fromisoformat(text.partition(" ")[0]) for text in positions if text]
    except ValueError as error:
        raise InvalidInputError("after must be `next` of an earlier response") from error
    if not times:
        return None
    moments = [max(_EPOCH, time.replace(microsecond=0, tzinfo=time.tzinfo or UTC)) for time in times]
    return max(min(moments), max(moments) - _LAG)


def read_count(text: str) -> int:
    """Return the number in a position; 0 for any other text."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 15 else 0
