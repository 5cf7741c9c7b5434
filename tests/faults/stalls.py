"""How long processes of this machine waited for processors, disks and memory."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

Mark = tuple[float, float]
"""A monotonic time, and for how many seconds some process had waited until then."""

_PRESSURE = tuple(Path(f"/proc/pressure/{name}") for name in ("cpu", "io", "memory"))
_LOOK_S = 0.1


@contextmanager
def marked() -> Iterator[list[Mark]]:
    """Make marks all the time. The list stays empty on a kernel that does not measure this."""
    marks: list[Mark] = []
    ended = Event()

    def mark() -> None:
        while True:
            marks.append((time.monotonic(), sum(_waited_s(path.read_text()) for path in _PRESSURE)))
            if ended.wait(_LOOK_S):
                return

    thread = Thread(target=mark, name="stalls")
    if _is_measured():
        thread.start()
    try:
        yield marks
    finally:
        ended.set()
        if thread.ident is not None:
            thread.join()


def stalled_s(marks: Sequence[Mark], begin: float, end: float) -> float:
    """Return for how many seconds some process waited between two monotonic times, or little more."""
    if not marks:
        return 0.0
    before = [waited for at, waited in marks if at <= begin] or [marks[0][1]]
    after = [waited for at, waited in marks if at >= end] or [marks[-1][1]]
    return after[0] - before[-1]


def _is_measured() -> bool:
    try:
        return all(path.read_text() for path in _PRESSURE)
    except OSError:  # a kernel that is told not to measure may have the files all the same
        return False


def _waited_s(text: str) -> float:
    # Source: Documentation/accounting/psi.rst of Linux. The first line is `some avg10=0.00 ... total=MICROSECONDS`.
    return int(text.partition("\n")[0].rpartition("total=")[2]) / 1e6
